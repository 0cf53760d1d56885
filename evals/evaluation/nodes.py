"""What runs on the nodes of a cluster, and how many workers a node has room for.

Nothing here imports ray: actors are made of these by `cluster.py`. Nothing heavy is imported before
a worker has its environment, which torch reads when it is imported.
"""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evals.evaluation.dealing import Finished, Shard, ShardEnded
from evals.os_errors import as_eval_error
from evals.schema import EvalError
from evals.settings import Settings

if TYPE_CHECKING:
    from evals.evaluation.worker import Job


class Seats(NamedTuple):
    """How many workers a node has room for, and what each takes of it."""

    workers: int
    cpus: float
    gpus: float


def seats_of(resources: Mapping[str, float], *, gpus: float, threads: int) -> Seats:
    """The room of a node, by what Ray says that it has.

    With `gpus` of a GPU per worker, its CPUs are shared out evenly: they decode. Without, a worker
    takes the CPUs of its `threads`, and all of a node that has fewer.
    """
    cpus = int(resources.get("CPU", 0))
    if gpus:
        # Ray gives a worker no pieces of two GPUs.
        workers = int(resources.get("GPU", 0)) * int(1 / gpus + 1e-9)
        return Seats(workers, float(cpus // workers) if workers else 0.0, gpus)
    return Seats(cpus // min(threads, cpus) if cpus else 0, float(min(threads, cpus)), 0.0)


def reads(probe: str, text: str) -> str | None:
    """Why this node does not see the file that the command has written, None when it does."""
    try:
        content = Path(probe).read_text()
    except OSError as error:
        return error.strerror or str(error)
    return None if content == text else "another file is there"


class NodeWorker:
    """A worker of a node: a `Worker` with the environment and the folder of the command."""

    def __init__(self, settings: Settings, environment: Mapping[str, str], folder: str) -> None:
        # Ctrl-C is sent to all processes of a terminal: the command ends its workers by itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.environ.update(environment)
        # Paths mean what they mean to the command; where the folder is not, they are whole paths,
        # or are not found.
        with suppress(OSError):
            os.chdir(folder)
        from evals.evaluation.worker import Worker

        self._worker = Worker(settings)

    def ready(self) -> None:
        """Answered when the worker has started."""

    def encode(self, job: "Job", lease: Sequence[Shard]) -> Iterator[ShardEnded | Finished]:
        """Encode a lease; the last answer is that the worker is done with it."""
        try:
            yield from self._worker.encode(job, lease)
        except (EvalError, OSError) as error:
            yield Finished(str(as_eval_error(error)))
            return
        yield Finished(None)
