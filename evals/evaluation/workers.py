"""Local processes that encode together, `--workers N`: each is dealt shards, and any may die at any time.

    with Workers(4, settings, reporter) as workers:
        workers.encode(item, ref, loaded, encoder, costs)    returns when all is stored

Nothing rests on the processes: one that dies is replaced, and what it was at is dealt again; what
none of them can do is left to the caller. They end with the block, with Ctrl-C, and when the caller
dies.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NamedTuple

from evals.embeddings.failures import HOPELESS, TRIES
from evals.evaluation.dealing import Dealing, Finished, Shard, ShardEnded
from evals.evaluation.pool import BY, Pool
from evals.evaluation.worker import Job, Worker
from evals.os_errors import as_eval_error
from evals.progress import Progress, Reporter
from evals.quiet import quiet_libraries
from evals.schema import EvalError
from evals.settings import Settings

# Seconds that a process has to end by itself: it is in the middle of a pass.
PATIENCE = 10.0


class Lease(NamedTuple):
    """What a worker is to encode now."""

    job: Job
    shards: list[Shard]


class _Process(NamedTuple):
    """A worker, and our end of the pipe to it."""

    number: int
    process: BaseProcess
    connection: Connection


class Workers(Pool):
    """So many processes, started when there is something to encode."""

    stage = f"{BY}workers"

    def __init__(self, count: int, settings: Settings, reporter: Reporter) -> None:
        super().__init__(settings, reporter)
        self.count, self.people = count, f"{count} processes"
        self.processes: dict[int, _Process] = {}

    def __exit__(self, *exception: object) -> None:
        for worker in self.processes.values():
            worker.process.terminate()
        deadline = time.monotonic() + PATIENCE
        for worker in self.processes.values():
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
            worker.process.join()
            # Last: a worker that met a closed pipe would be ended by the signal while it clears up,
            # and Python would print a traceback of that.
            worker.connection.close()

    def run(self, job: Job, dealing: Dealing, progress: Progress) -> None:
        """What keeps the workers from going on is told, and left to the caller, who meets it, too."""
        _Round(self, job, dealing, progress).run()

    def start(self, busy: Container[int]) -> None:
        """Start those that are not there, or not any more; how the busy ones are, their pipes say."""
        for number in range(self.count):
            worker = self.processes.get(number)
            if worker is not None and number not in busy and not worker.process.is_alive():
                self.bury(worker)
            if number not in self.processes:
                self.processes[number] = _started(number, self.settings)

    def bury(self, worker: _Process) -> str:
        """Clear away a worker that is dead, and say how it ended."""
        worker.process.join()
        worker.connection.close()
        del self.processes[worker.number]
        exit_code = worker.process.exitcode
        if exit_code is not None and exit_code < 0:
            return signal.Signals(-exit_code).name
        return f"exit code {exit_code}"

    def name(self, worker: _Process) -> str:
        """What messages call a worker."""
        return f"worker {worker.number + 1} of {self.count}"


class _Round:
    """One benchmark by one model: leases go out and ends of shards come in, until all have ended."""

    def __init__(self, pool: Workers, job: Job, dealing: Dealing, progress: Progress) -> None:
        self.pool, self.job, self.dealing, self.progress = pool, job, dealing, progress
        self._busy: dict[int, _Process] = {}
        self._unable: set[int] = set()
        # Deaths since a shard was stored: when no shard gets through any more, it is the machine.
        self._deaths = 0

    def run(self) -> None:
        """Return when all shards have ended, or no worker can go on."""
        while not self.dealing.finished:
            self._deal()
            if not self._busy:
                return
            for number in _ready(self._busy):
                self._hear(self._busy[number])

    def _deal(self) -> None:
        if self.dealing.waiting and self._deaths < HOPELESS * TRIES:
            self.pool.start(self._busy)
        able = {*self.pool.processes} - self._unable
        for number in sorted(able - {*self._busy}):
            shards = self.dealing.lease(number, able)
            if shards:
                worker = self.pool.processes[number]
                self._busy[number] = worker
                with suppress(OSError):  # it has just died, and is heard of as such
                    worker.connection.send(Lease(self.job, shards))

    def _hear(self, worker: _Process) -> None:
        try:
            message: ShardEnded | Finished = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if isinstance(message, ShardEnded):
            self.dealing.end(worker.number, message)
            self._deaths = 0 if message.items and message.error is None else self._deaths
            self.progress(self.dealing.done, self.dealing.total)
            return
        del self._busy[worker.number]
        if message.error is None:
            self.dealing.finish(worker.number)
            return
        self._unable.add(worker.number)
        self.dealing.take_back(worker.number)
        self.pool.reporter.info(f"{self.pool.name(worker)}: {message.error}")

    def _bury(self, worker: _Process) -> None:
        del self._busy[worker.number]
        self._deaths += 1
        ending = self.pool.bury(worker)
        self.dealing.take_back(worker.number, f"its worker ended by itself ({ending})")
        self.pool.reporter.info(
            f"{self.pool.name(worker)} ended by itself ({ending}); what it was at is encoded again"
        )


def _ready(busy: dict[int, _Process]) -> list[int]:
    """The numbers of the workers that have something to say, or are dead."""
    connections = {worker.connection: number for number, worker in busy.items()}
    return [connections[connection] for connection in wait(list(connections))]  # type: ignore[index]


def _started(number: int, settings: Settings) -> _Process:
    # Spawned: CUDA cannot be used in a fork, and a fork would keep our locks and pipes.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, settings, environment_of(number, settings))
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


def environment_of(number: int, settings: Settings) -> dict[str, str]:
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
    """The life of a worker: encode one lease after the other, until the caller is gone."""
    # The block of the start goes with the first tracker that a library starts in here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    # Before torch is imported, which reads them then.
    os.environ.update(environment)
    quiet_libraries()
    # That others are at the rest is how it is meant.
    logging.getLogger("evals.embeddings.encoding").setLevel(logging.ERROR)
    worker = Worker(settings)
    try:
        while True:
            lease: Lease = _received(connection)
            try:
                for ended in worker.encode(lease.job, lease.shards):
                    _send(connection, ended)
                _send(connection, Finished(None))
            except (EvalError, OSError) as error:
                _send(connection, Finished(str(as_eval_error(error))))
    except _CallerGoneError:
        # Nothing is open any more, so an exception would only be noise.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _CallerGoneError(Exception):
    """The caller is done with us, or dead."""


def _received(connection: Connection) -> Any:
    try:
        return connection.recv()
    except (EOFError, OSError):  # reset, where it died before it read what we had sent
        raise _CallerGoneError from None


def _send(connection: Connection, message: ShardEnded | Finished) -> None:
    try:
        connection.send(message)
    except OSError:
        raise _CallerGoneError from None


def _end(number: int, frame: FrameType | None) -> None:
    # An exception, so that what is open is closed and what is claimed is released; one is enough.
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)
