"""Whatever step of a write the disk fails, the old state stays or the new one is there, and a second try succeeds."""

import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from evals.files import PART
from evals.os_errors import as_eval_error
from evals.schema import EvalError
from tests.faults import ALL, SEED, leftovers
from tests.faults.disk import FAULTS, FailingDisk, Fault
from tests.faults.works import WORKS, fresh

# Steps that a work does not have: its folder is there, and a site alone links files of others, the
# store alone what may be there already.
NONE = {
    ("file", "mkdir"),
    ("embeddings", "mkdir"),
    ("embeddings", "rename"),  # shards are linked
    *((name, "link") for name in WORKS.keys() - {"embeddings", "site"}),
}
# Works of so many steps that `make test` lets only some of them fail.
LONG = {"baseline", "site", "prepared"}
SAMPLE = 2


def attempt(name: str, root: Path, fault: Fault, n: int) -> FailingDisk:
    """Do a work while the n-th step fails, which must leave the old state or the new one."""
    work = WORKS[name]
    fresh(work, root)
    with FailingDisk(root, fault, n) as disk:
        try:
            work.act(root)
        except (EvalError, OSError) as error:
            assert disk.failed
            assert str(root) in str(as_eval_error(error))
    work.whole(root)
    assert not leftovers(root)
    return disk


@pytest.fixture(scope="module")
def steps_of(tmp_path_factory) -> Callable[[str], list[tuple[str, str]]]:
    """The kind and path of each step of a work on a disk that fails nowhere."""

    @cache
    def steps(name: str) -> list[tuple[str, str]]:
        return attempt(name, tmp_path_factory.mktemp(name) / "root", FAULTS[0], n=10**9).log

    return steps


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("name", WORKS)
def test_the_disk_fails_at_each_step(name, fault, steps_of, tmp_path, record_property):
    work, root = WORKS[name], tmp_path / "root"
    steps = [kind for kind, _ in steps_of(name)].count(fault.step)
    assert steps or (name, fault.step) in NONE
    numbers = list(range(1, steps + 1))
    if name in LONG and not ALL:
        numbers = random.Random(f"{SEED} {fault}").sample(numbers, min(SAMPLE, steps))
    for n in numbers:
        assert attempt(name, root, fault, n).failed
        work.act(root)
        work.done(root)
    record_property("faults: of the disk", len(numbers))


@pytest.mark.parametrize("name", WORKS)
def test_a_file_is_on_disk_before_its_name_and_its_name_before_anything_else(name, steps_of):
    """What a power cut would show: no kill can, because the system keeps what a dead process wrote."""
    log = steps_of(name)
    # A link from a part gives a file its name, as a rename does.
    renamed = [
        number
        for number, (kind, path) in enumerate(log)
        if kind == "rename" or (kind == "link" and path.endswith(PART))
    ]
    assert renamed
    for number in renamed:
        source = log[number][1]
        unsynced = set()
        for kind, path in log[:number]:
            if kind == "write" and (path == source or path.startswith(f"{source}/")):
                unsynced.add(path)
            elif kind == "fsync":
                unsynced.discard(path)
        assert not unsynced
        following = next(step for step in log[number + 1 :] if step[0] != "rename")
        assert following == ("fsync", str(Path(source).parent))


def test_the_failing_disk_fails(tmp_path):
    """Each kind of step of a file that is written by hand."""
    for number, fault in enumerate(FAULTS):
        folder = tmp_path / str(number)
        with FailingDisk(tmp_path, fault, 1) as disk, pytest.raises(OSError) as raised:
            folder.mkdir()
            with (folder / "file").open("wb") as file:
                file.write(b"12345678")
                os.fsync(file.fileno())
            os.link(folder / "file", folder / "linked")
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
