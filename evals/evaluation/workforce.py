"""Who encodes beside the command itself: nobody, processes of this machine, or the nodes of a Ray cluster."""

import re
from dataclasses import dataclass

from evals.evaluation.pool import NoPool, Pool
from evals.progress import Reporter
from evals.schema import ConfigError
from evals.settings import Settings


@dataclass(frozen=True)
class Workforce:
    """How many workers there are, and where.

    `cluster` is `local`, `auto` or HOST:PORT, None for processes of this machine. `workers` is the
    most there may be; None is as many as a cluster has room for, and nobody without one. A worker
    of a cluster takes `gpus_per_worker` of a GPU, where the model runs on one. ConfigError for
    what cannot be meant.
    """

    workers: int | None = None
    cluster: str | None = None
    gpus_per_worker: float | None = None

    def __post_init__(self) -> None:
        if self.gpus_per_worker is not None and self.cluster is None:
            raise ConfigError("--gpus-per-worker is for --cluster. Leave it out.")
        if self.gpus_per_worker is not None and not 0 < self.gpus_per_worker <= 1:
            raise ConfigError(
                f"--gpus-per-worker {self.gpus_per_worker}: a worker uses one GPU or a part of it. "
                "Give a number above 0 and up to 1."
            )
        if self.cluster is not None and self.cluster.startswith("ray://"):
            raise ConfigError(
                f"--cluster {self.cluster}: that is a door for clients. Start the command on a "
                "machine of the cluster, with --cluster auto or HOST:6379."
            )
        if self.cluster is not None and not re.fullmatch(
            r"local|auto|[^\s/]+:\d{1,5}", self.cluster
        ):
            raise ConfigError(f"--cluster {self.cluster}: give local, auto or HOST:PORT.")


ALONE = Workforce()


def open_pool(workforce: Workforce, settings: Settings, reporter: Reporter) -> Pool:
    """The workers of a workforce; none is started yet."""
    if workforce.cluster is not None:
        from evals.evaluation.cluster import Cluster, Shares

        shares = Shares(workforce.workers, workforce.gpus_per_worker)
        return Cluster(workforce.cluster, shares, settings, reporter)
    if workforce.workers is not None and workforce.workers > 1:
        from evals.evaluation.workers import Workers

        return Workers(workforce.workers, settings, reporter)
    return NoPool(settings, reporter)
