"""Files are there whole or not at all, whatever happens to their writers."""

import contextlib
import errno
import fcntl
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

from evals import files
from evals.files import put_if_absent, replacement, sweep_parts, write_atomically

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[1]
# What else writes in place, and why that is no fault.
IN_PLACE = {
    "evals/dashboard/site.py": "into a folder that nobody knows yet",
    "evals/regress/__main__.py": "appends to GitHub's summary, as other steps do",
    "jina_clip/checkpoint.py": "to a part, which it renames",
    "jina_clip/weights.py": "to a part, which it renames",
}
WRITING = re.compile(
    r"\.write_(text|bytes)\(|open\([^)]*[\"'][wax]|save_file\(|\.to_(csv|parquet|json)\([^)]"
    r"|savefig\((?![^)]*format=)"
)

WRITER = """
import sys
from pathlib import Path
import evals.files as files
files.os.fsync = lambda descriptor: (print("half", flush=True), input())
files.write_atomically(Path(sys.argv[1]), b"x" * 10_000)
"""


def killed_while_writing(path: Path) -> None:
    """A process that is killed with its part written and not yet renamed."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)


def test_whatever_is_written_is_written_whole():
    found = {
        path.relative_to(ROOT).as_posix()
        for package in ("evals", "jina_clip")
        for path in (ROOT / package).rglob("*.py")
        if WRITING.search(path.read_text())
    }
    assert found == set(IN_PLACE)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("write", [write_atomically, put_if_absent])
def test_a_file_that_cannot_be_written_is_named_and_not_its_part(write, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "x.bin"
    with pytest.raises(FileNotFoundError) as error:
        write(path, b"data")
    assert str(error.value.filename) == str(path)


def test_the_next_write_of_a_file_takes_over_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    killed_while_writing(path)
    assert names(tmp_path) == [".x.bin.part"]
    write_atomically(path, b"short")
    assert names(tmp_path) == ["x.bin"] and path.read_bytes() == b"short"


def test_a_sweep_removes_the_parts_of_dead_writers_and_no_others(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "dead")
    living = tmp_path / ".living.part"
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sweep_parts(tmp_path)
        assert names(tmp_path) == [".living.part"]
    sweep_parts(tmp_path)
    assert names(tmp_path) == []


def test_a_writer_whose_part_is_swept_before_it_holds_it_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, waited = fcntl.flock, []

    def swept_first(file: object, operation: int) -> None:
        if not waited:
            waited.append(file)
            (tmp_path / ".x.bin.part").unlink()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", swept_first)
    write_atomically(tmp_path / "x.bin", b"data")
    assert names(tmp_path) == ["x.bin"] and (tmp_path / "x.bin").read_bytes() == b"data"


@pytest.fixture
def unclosed() -> Iterator[None]:
    """A file that Ctrl-C kept from its name is closed by Python, at the latest when the test ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def interrupted_at(step: int, work: Callable[[], object], *modules: ModuleType) -> bool:
    """Work until a step of the bytecode of these modules, Ctrl-C there; False where it has fewer."""
    sources = [module.__file__ for module in modules]
    left = step

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in sources:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:  # Python ends the tracing with it: there is one Ctrl-C
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.usefixtures("unclosed")
@pytest.mark.parametrize("write", [write_atomically, put_if_absent])
def test_ctrl_c_at_any_step_of_a_write_leaves_the_file_whole_or_absent_and_no_part(tmp_path, write):
    path = tmp_path / "x.bin"
    step = 1
    while interrupted_at(step, lambda: write(path, b"data"), files, contextlib):
        left = names(tmp_path)
        assert left in ([], ["x.bin"]), f"{left} after step {step}"
        if left:
            assert path.read_bytes() == b"data"
            path.unlink()
        step += 1
    assert step > 300 and names(tmp_path) == ["x.bin"]


@pytest.mark.usefixtures("unclosed")
def test_ctrl_c_while_a_folder_is_replaced_leaves_the_old_or_the_new_one_and_nothing_beside(
    tmp_path,
):
    def replace() -> None:
        with replacement(tmp_path / "site") as new:
            (new / "page").write_text("new")

    (tmp_path / "site").mkdir()
    page = tmp_path / "site/page"
    page.write_text("old")
    step = 1
    while interrupted_at(step, replace, files):
        assert names(tmp_path) == ["site"], f"after step {step}"
        assert page.read_text() in ("old", "new")
        page.write_text("old")
        step += 1
    assert step > 300 and page.read_text() == "new"


def test_many_writers_of_one_file_leave_one_of_their_versions(tmp_path: Path) -> None:
    versions = [bytes([65 + i]) * (1000 * (i + 1)) for i in range(8)]
    threads = [
        threading.Thread(target=write_atomically, args=(tmp_path / "x.bin", data))
        for data in versions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == ["x.bin"]
    assert (tmp_path / "x.bin").read_bytes() in versions


def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    write_atomically(tmp_path / "ours", b"")
    (tmp_path / "theirs").write_bytes(b"")
    modes = {os.stat(tmp_path / name).st_mode for name in ("ours", "theirs")}  # noqa: PTH116
    assert len(modes) == 1


def filled(folder: Path, text: str) -> None:
    with replacement(folder) as new:
        (new / "sub").mkdir()
        (new / "sub" / "file").write_text(text)


def test_a_folder_takes_the_place_of_another_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for text in ("one", "two"):
        filled(tmp_path / "site", text)
        assert (tmp_path / "site" / "sub" / "file").read_text() == text
        assert names(tmp_path) == ["site"]


def test_a_folder_that_cannot_be_built_leaves_the_old_one(tmp_path: Path) -> None:
    filled(tmp_path / "site", "old")
    with pytest.raises(KeyError), replacement(tmp_path / "site") as new:
        (new / "half").write_text("new")
        raise KeyError
    assert names(tmp_path) == ["site"] and names(tmp_path / "site") == ["sub"]


def test_a_place_that_cannot_be_written_is_named_and_not_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, *_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(PermissionError) as caught:
        filled(tmp_path / "site", "new")
    assert caught.value.filename == str(tmp_path / "site")


def test_a_folder_whose_name_cannot_be_taken_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "site", "old")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == ".site.new.part":
            raise OSError(5, "Input/output error", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output error"):
        filled(tmp_path / "site", "new")
    assert names(tmp_path) == ["site"]
    assert (tmp_path / "site" / "sub" / "file").read_text() == "old"


def test_a_folder_that_a_killed_process_moved_away_is_there_before_the_next_begins(
    tmp_path: Path,
) -> None:
    filled(tmp_path / "site", "old")
    (tmp_path / "site").rename(tmp_path / ".site.old.part")
    (tmp_path / ".site.new.part").mkdir()
    with replacement(tmp_path / "site"):
        assert (tmp_path / "site" / "sub" / "file").read_text() == "old"


def test_half_of_a_folder_that_was_being_removed_does_not_come_back(tmp_path: Path) -> None:
    (tmp_path / ".site.old.part").mkdir()
    with replacement(tmp_path / "site"):
        assert not (tmp_path / "site").exists()
    assert names(tmp_path) == ["site"]


def test_many_writers_of_one_folder_leave_one_of_their_versions(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=filled, args=(tmp_path / "site", str(number)))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == ["site"]
    assert (tmp_path / "site" / "sub" / "file").read_text() in "01234567"


def test_of_two_writers_of_an_absent_file_the_first_is_right(tmp_path):
    file = tmp_path / "file"
    assert put_if_absent(file, b"first")
    assert not put_if_absent(file, b"second, and longer")
    assert file.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [file]


def test_a_disk_without_hard_links_gets_the_file_once_as_well(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert put_if_absent(tmp_path / "file", b"first")
    assert not put_if_absent(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("write", [write_atomically, put_if_absent])
def test_a_part_that_was_linked_before_its_writer_was_killed_is_not_written_into(tmp_path, write):
    file = tmp_path / "file"
    file.write_bytes(b"committed")
    os.link(file, tmp_path / ".file.part")
    aside = tmp_path / "aside"
    file.rename(aside)
    write(file, b"new")
    assert (file.read_bytes(), aside.read_bytes()) == (b"new", b"committed")
    assert not (tmp_path / ".file.part").exists()


def test_a_pipe_or_a_device_is_refused_and_stays_what_it_is(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="name a file"):
        write_atomically(pipe, b"rows")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
