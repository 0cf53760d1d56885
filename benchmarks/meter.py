"""What nvidia-smi says of a card while something runs: the share of time in which a kernel ran, and the power it drew.

with Meter("cuda") as meter:
    run()
meter.mean(start, end)      by time.perf_counter; None where nvidia-smi is not there, or told nothing in that time
"""

import shutil
import subprocess
import threading
import time
from typing import NamedTuple

EVERY_MS = 100
# "utilization.gpu": the share of the last sampling period in which at least one kernel ran
QUERY = ("utilization.gpu", "power.draw")


class Sample(NamedTuple):
    """The share of busy time (0 to 1) and the power (W) at one moment; a value that the card does not tell is None."""

    at: float
    busy: float | None
    watts: float | None


class Mean(NamedTuple):
    """The means of all samples of a stretch of time; None where none told a value."""

    busy: float | None
    watts: float | None


class Meter:
    """Samples of one card, taken by a child process while the context is open; none on a CPU or without nvidia-smi."""

    def __init__(self, device: str) -> None:
        self.samples: list[Sample] = []
        self._card = device.partition(":")[2] or "0"
        self._wanted = device.startswith("cuda") and shutil.which("nvidia-smi") is not None
        self._child: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> "Meter":
        if self._wanted:
            command = ["nvidia-smi", f"--id={self._card}", f"--query-gpu={','.join(QUERY)}"]
            command += ["--format=csv,noheader,nounits", f"--loop-ms={EVERY_MS}"]
            self._child = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None and self._reader is not None:
            self._child.terminate()
            self._reader.join()
            self._child.wait()

    def mean(self, start: float, end: float) -> Mean:
        """Of the samples between two moments of time.perf_counter."""
        samples = [sample for sample in self.samples if start <= sample.at <= end]
        return Mean(
            _mean([sample.busy for sample in samples]), _mean([sample.watts for sample in samples])
        )

    def _read(self) -> None:
        assert self._child is not None
        assert self._child.stdout is not None
        with self._child.stdout as lines:
            for line in lines:
                busy, watts = (_number(cell) for cell in line.split(","))
                self.samples.append(
                    Sample(time.perf_counter(), None if busy is None else busy / 100, watts)
                )


def _number(cell: str) -> float | None:
    """A cell of nvidia-smi; None for "[N/A]" and the like."""
    try:
        return float(cell)
    except ValueError:
        return None


def _mean(values: list[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
