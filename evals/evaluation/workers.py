"""Local processes that encode together, `--workers N`: each claims shards, and any may die at any time.

    with Workers(4, settings, reporter) as workers:
        workers.encode(item, ref, loaded, encoder, costs)    returns when all is stored

Nothing rests on the processes: what one was at when it died the others take, and what all of them
left the caller encodes. They end with the block, with Ctrl-C, and when the caller dies.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from evals.config.catalog import Benchmark
from evals.config.models import ModelRef
from evals.config.own_data import DataRef
from evals.evaluation.encoding import count_missing, encode_missing
from evals.evaluation.load import Loaded, build_encoder, load_item
from evals.evaluation.recording import Costs
from evals.os_errors import as_eval_error
from evals.progress import Reporter
from evals.schema import EvalError
from evals.settings import Settings

if TYPE_CHECKING:
    from evals.schema import Encoder

# Seconds that a process has to end by itself: it is in the middle of a pass.
PATIENCE = 10.0


class Job(NamedTuple):
    """A benchmark or data of one's own, and a model."""

    item: Benchmark | DataRef
    ref: ModelRef


class Committed(NamedTuple):
    """A shard was stored: of which kind its items are, and how many."""

    kind: str
    items: int


class Finished(NamedTuple):
    """A process is done with a job; `error` says why it could not go on (None: all is stored)."""

    error: str | None


class _Process(NamedTuple):
    """A worker, and our end of the pipe to it."""

    number: int
    process: BaseProcess
    connection: Connection


class Workers:
    """So many processes, started when there is something to encode."""

    def __init__(self, count: int, settings: Settings, reporter: Reporter) -> None:
        self.count, self.settings, self.reporter = count, settings, reporter
        self._processes: dict[int, _Process] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._processes.values():
            worker.process.terminate()
        deadline = time.monotonic() + PATIENCE
        for worker in self._processes.values():
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
            worker.process.join()
            # Last: a worker that met a closed pipe would be ended by the signal while it clears up,
            # and Python would print a traceback of that.
            worker.connection.close()

    def encode(self, job: Job, loaded: Loaded, encoder: "Encoder", costs: Costs) -> None:
        """See to it that the rows of a benchmark are stored, and count the work in `costs`.

        What the processes cannot do is told, and left to the caller, who meets the same error.
        """
        from evals.embeddings.store import Store

        total = count_missing(loaded, encoder, Store(self.settings.store))
        if not total:
            return
        self._start()
        busy = {}
        for number, worker in self._processes.items():
            with suppress(OSError):  # it has just died, and is started again for the next job
                worker.connection.send(job)
                busy[number] = worker
        title = f"{encoder.name}: encoding by {len(busy)} processes"
        done = 0
        since = time.monotonic()
        with self.reporter.progress(title) as progress:
            progress(0, total)
            while busy:
                for number in _ready(busy):
                    message = self._received(busy[number])
                    if isinstance(message, Committed):
                        costs.encoded[message.kind] += message.items
                        done += message.items
                        progress(done, total)
                        continue
                    del busy[number]
        costs.add("encode_by_workers", since)

    def _start(self) -> None:
        """Start those that are not there, or not any more."""
        for number in range(self.count):
            worker = self._processes.get(number)
            if worker is None or not worker.process.is_alive():
                self._processes[number] = _started(number, self.settings)

    def _received(self, worker: _Process) -> Committed | None:
        """What a worker says; None when nothing more is to come from it."""
        try:
            message: Committed | Finished = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            worker.connection.close()
            del self._processes[worker.number]
            self.reporter.info(
                f"worker {worker.number + 1} of {self.count} ended by itself "
                f"({_ending(worker.process.exitcode)}); the others take what it was at"
            )
            return None
        if isinstance(message, Committed):
            return message
        if message.error is not None:
            self.reporter.info(f"worker {worker.number + 1} of {self.count}: {message.error}")
        return None


def _ready(busy: dict[int, _Process]) -> list[int]:
    """The numbers of the workers that have something to say, or are dead."""
    connections = {worker.connection: number for number, worker in busy.items()}
    return [connections[connection] for connection in wait(list(connections))]  # type: ignore[index]


def _ending(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"


def _started(number: int, settings: Settings) -> _Process:
    # Spawned: CUDA cannot be used in a fork, and a fork would keep our locks and pipes.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, settings, _environment(number, settings))
    process = context.Process(target=serve, args=arguments, daemon=True)
    with _interrupts_blocked():
        process.start()
    # Ours must be the only end that is open here: a dead worker is then the end of the stream.
    theirs.close()
    return _Process(number, process, ours)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """What starts here gets no Ctrl-C, which a terminal sends to all: its parent ends it."""
    # Now: Python starts its tracker beside the first process, and unblocks SIGINT when it has.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment(number: int, settings: Settings) -> dict[str, str]:
    """What a worker has for itself: a GPU, where there are several.

    On a CPU each has all threads, as a process alone would: with fewer, products are summed in
    another order, and rows differ in their last bits. Threads that wait sleep, and leave their core
    to another worker's.
    """
    import torch

    environment = {"OMP_WAIT_POLICY": "PASSIVE"}
    gpus = torch.cuda.device_count()
    if settings.device in (None, "cuda") and gpus > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names: Sequence[object] = visible.split(",") if visible else range(gpus)
        environment["CUDA_VISIBLE_DEVICES"] = str(names[number % len(names)])
    return environment


def serve(connection: Connection, settings: Settings, environment: dict[str, str]) -> None:
    """The life of a worker: encode one job after the other, until the caller is gone."""
    from evals.embeddings.store import Store

    # The block of the start goes with the first tracker that a library starts in here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    # Before torch is imported, which reads them then.
    os.environ.update(environment)
    # That others are at the rest is how it is meant.
    logging.getLogger("evals.embeddings.encoding").setLevel(logging.ERROR)
    encoders: dict[ModelRef, Encoder] = {}
    try:
        while True:
            job: Job = connection.recv()
            try:
                if job.ref not in encoders:
                    encoders = {job.ref: build_encoder(job.ref, settings)}  # one in memory
                encode_missing(
                    load_item(job.item, settings),
                    encoders[job.ref],
                    Store(settings.store),
                    lambda kind, items: connection.send(Committed(kind, items)),
                )
                connection.send(Finished(None))
            except BrokenPipeError:
                raise
            except (EvalError, OSError) as error:
                connection.send(Finished(str(as_eval_error(error))))
    except (EOFError, BrokenPipeError):  # the caller is done with us, or dead
        # Nothing is open any more, so an exception would only be noise.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    # An exception, so that what is open is closed and what is claimed is released; one is enough.
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)
