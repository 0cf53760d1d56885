"""Whatever step of a write the disk fails, the old state stays or the new one is there, and a second try succeeds."""

import itertools
import os
from pathlib import Path

import pytest

from evals.os_errors import as_eval_error
from evals.schema import EvalError
from tests.faults import leftovers
from tests.faults.disk import FAULTS, FailingDisk, Fault
from tests.faults.works import WORKS, fresh

# Steps that a work does not have, because its folder is there.
NONE = {("file", "mkdir"), ("embeddings", "mkdir")}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("name", WORKS)
def test_the_disk_fails_at_each_step(name, fault, tmp_path, record_property):
    work, root = WORKS[name], tmp_path / "root"
    for n in itertools.count(1):
        fresh(work, root)
        with FailingDisk(root, fault, n) as disk:
            try:
                work.act(root)
            except (EvalError, OSError) as error:
                assert disk.failed
                assert str(root) in str(as_eval_error(error))
        work.whole(root)
        assert not leftovers(root)
        if not disk.failed:
            break
        work.act(root)
        work.done(root)
    assert n > 1 or (name, fault.step) in NONE
    record_property("faults", n - 1)


@pytest.mark.parametrize("name", WORKS)
def test_a_file_is_on_disk_before_its_name_and_its_name_before_anything_else(name, tmp_path):
    """What a power cut would show: no kill can, because the system keeps what a dead process wrote."""
    work, root = WORKS[name], fresh(WORKS[name], tmp_path / "root")
    with FailingDisk(root, FAULTS[0], n=10**9) as disk:
        work.act(root)
    renamed = [number for number, (kind, _) in enumerate(disk.log) if kind == "rename"]
    assert renamed
    for number in renamed:
        part = disk.log[number][1]
        assert disk.log[number - 1] == ("fsync", part)
        assert disk.log[number + 1] == ("fsync", str(Path(part).parent))


def test_the_failing_disk_fails(tmp_path):
    """Each kind of step of a file that is written by hand."""
    for number, fault in enumerate(FAULTS):
        folder = tmp_path / str(number)
        with FailingDisk(tmp_path, fault, 1) as disk, pytest.raises(OSError) as raised:
            folder.mkdir()
            with (folder / "file").open("wb") as file:
                file.write(b"12345678")
                os.fsync(file.fileno())
            (folder / "file").rename(folder / "renamed")
        assert raised.value.errno == fault.number and disk.steps == 1
        assert not (folder / "renamed").exists()
        if fault.short:
            assert (folder / "file").read_bytes() == b"1234"


def test_what_lies_elsewhere_is_left_alone(tmp_path):
    (tmp_path / "here").mkdir()
    with FailingDisk(tmp_path / "here", Fault("open", 28), 1) as disk:
        (tmp_path / "there").write_text("")
    assert disk.steps == 0
