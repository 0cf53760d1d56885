"""What a card is said to do while something runs, by a stand-in for nvidia-smi; and what stays unknown."""

import os
import time

import pytest

from benchmarks.harness import race
from benchmarks.meter import Meter, Sample
from tests.commands import until

# Says what it was asked, then a line every 5 ms, as nvidia-smi --loop-ms does; the card does not tell every second power.
FAKE = """#!/bin/sh
echo "$@" > "$(dirname "$0")/asked"
while :; do
  echo "80, 300.50"
  echo "40, [N/A]"
  sleep 0.005
done
"""


@pytest.fixture
def card(tmp_path, monkeypatch):
    """A folder at the head of the path with nvidia-smi in it."""
    program = tmp_path / "nvidia-smi"
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def until_seen(meter: Meter) -> None:
    until(lambda: len(meter.samples) >= 10)


def test_busy_time_is_a_share_and_what_is_not_told_is_left_out(card):
    start = time.perf_counter()
    with Meter("cuda:1") as meter:
        until_seen(meter)
    mean = meter.mean(start, time.perf_counter())
    assert mean.busy == pytest.approx(0.6, abs=0.04)  # the last line may be the first of a pair
    assert mean.watts == 300.5
    assert "--id=1 --query-gpu=utilization.gpu,power.draw" in (card / "asked").read_text()


def test_its_process_ends_with_it(card):
    with Meter("cuda") as meter:
        until_seen(meter)
    assert meter._child is not None
    assert meter._child.poll() is not None
    assert meter._reader is not None
    assert not meter._reader.is_alive()


def test_the_mean_is_of_a_stretch_of_time():
    meter = Meter("cpu")
    meter.samples = [Sample(1.0, 0.1, 100.0), Sample(2.0, 0.5, 200.0), Sample(3.0, None, 400.0)]
    assert meter.mean(1.5, 3.0) == (0.5, 300.0)
    assert meter.mean(3.5, 9.0) == (None, None)


def test_a_processor_and_a_machine_without_nvidia_smi_tell_nothing(card, monkeypatch):
    with Meter("cpu") as meter:
        pass
    assert meter.samples == []
    monkeypatch.setenv("PATH", "/nonexistent")
    with Meter("cuda") as meter:
        pass
    assert meter.samples == []


def test_a_lap_has_no_power_where_nothing_tells_it():
    laps, _ = race({"a": lambda: 1}, rounds=1)
    assert laps["a"].watts is None
