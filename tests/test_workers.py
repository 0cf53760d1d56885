"""`--workers N`: processes that share the encoding and may die, and a run that is the same without them."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from evals.evaluation.workers import environment_of
from evals.settings import Settings
from tests.commands import PATIENCE, ROOT, process, until
from tests.faults import ALL
from tests.test_encode import bytes_of

pytestmark = pytest.mark.faults

WORK = ("scenes", "--model", "tiny", "--subsets", "en", "--limit", "260", "--store", "store")
COMMAND = [sys.executable, "-m", "evals.run", *WORK, "--results", "runs"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """What a process alone leaves."""
    folder = tmp_path_factory.mktemp("alone")
    # a process of its own: in this one other tests may have set fewer threads, and the last bits differ
    done = process(*WORK, "--results", "runs", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def started(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # what Ctrl-C is sent to
    )


def workers_of(process: "subprocess.Popen[str]") -> list[int]:
    """The processes that a run has started, but for Python's tracker of resources."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = []
    for pid in listed:
        with suppress(OSError):  # of a program that has ended since it was listed
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                workers.append(int(pid))
    return workers


def stored(folder: Path) -> list[Path]:
    return list(folder.glob("store/*/*.safetensors"))


def measured(folder: Path) -> list[bytes]:
    """What stands in the record but for times."""
    return [
        path.read_bytes()
        for name in ("metrics.jsonl", "queries.parquet")
        for path in folder.glob(f"runs/*/*/*/{name}")
    ]


def test_two_workers_make_the_store_and_the_record_of_one_process(alone, tmp_path):
    process = started(tmp_path, "--workers", "2")
    until(lambda: len(workers_of(process)) == 2, process)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "Encoded now: 260 images and 468 texts" in out
    assert measured(tmp_path) == measured(alone)
    assert bytes_of(tmp_path / "store") == bytes_of(alone / "store")
    # all is stored: none is started for nothing
    again = started(tmp_path, "--workers", "2")
    out, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0 and "Encoded now: 0 images and 0 texts" in out


def test_a_worker_has_the_threads_of_a_process_alone():
    # with fewer, sums are added in another order: last bits differ, on some processors
    command = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
    settings = Settings(device="cpu")
    processes = [
        subprocess.Popen(command, env={**os.environ, **given}, stdout=subprocess.PIPE)
        for given in ({}, environment_of(0, settings), environment_of(1, settings))
    ]
    threads = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert int(threads[0]) > 0 and threads == threads[:1] * 3


@pytest.mark.parametrize("killed", [1, 2] if ALL else [2])
def test_what_killed_workers_were_at_is_encoded_again(alone, tmp_path, killed):
    process = started(tmp_path, "--workers", "2")
    until(lambda: stored(tmp_path), process)
    for pid in workers_of(process)[:killed]:
        os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert err.count("of 2 ended by itself (SIGKILL); what it was at is encoded again") == killed
    assert measured(tmp_path) == measured(alone)
    assert bytes_of(tmp_path / "store") == bytes_of(alone / "store")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, 143)][: None if ALL else 2],
)
def test_no_worker_outlives_the_run_and_the_run_goes_on(alone, tmp_path, number, code):
    process = started(tmp_path, "--workers", "2")
    until(lambda: stored(tmp_path), process)
    workers = workers_of(process)
    if number == signal.SIGINT:  # as a terminal does, to all of them
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid, number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code and "Traceback" not in err
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    if number != signal.SIGKILL:  # whose workers are killed too, in time
        assert not list(tmp_path.glob("store/*/.*"))
    again = started(tmp_path)
    _, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, err
    assert measured(tmp_path) == measured(alone)
    assert bytes_of(tmp_path / "store") == bytes_of(alone / "store")


def test_an_error_of_the_workers_is_that_of_the_run(tmp_path):
    broken = tmp_path / "captions"
    broken.mkdir()
    (broken / "captions.jsonl").write_text('{"image": "a.jpg", "captions": ["a"]}\n')
    (broken / "a.jpg").write_bytes(b"no image")
    command = [*COMMAND[:3], f"captions:{broken}", "--model", "tiny", "--workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 3
    assert "a.jpg" in done.stderr.splitlines()[-1]
