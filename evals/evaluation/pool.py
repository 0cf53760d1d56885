"""Runs workers beside a command: deals them what is missing, counts what is done, and checks it at the end."""

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from evals.config.catalog import Benchmark
from evals.config.models import ModelRef
from evals.config.own_data import DataRef
from evals.evaluation.dealing import Dealing, dealing_of
from evals.evaluation.load import Loaded
from evals.evaluation.recording import Costs
from evals.evaluation.worker import Job
from evals.progress import Progress, Reporter, encoding_progress
from evals.settings import Settings

if TYPE_CHECKING:
    from evals.schema import Encoder


BY = "encode_by_"  # begins the stages of all workers


class Pool(ABC):
    """Workers, from the first shard that there is to encode to the end of the block.

    `stage` is what a record calls the time that they take, `people` what messages call them.
    """

    stage: str
    people: str

    def __init__(self, settings: Settings, reporter: Reporter) -> None:
        self.settings, self.reporter = settings, reporter

    def __enter__(self) -> "Pool":
        """Refuse what is missing, before anything is loaded."""
        return self

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """End all of them."""

    def encode(
        self,
        item: Benchmark | DataRef,
        ref: ModelRef,
        loaded: Loaded,
        encoder: "Encoder",
        costs: Costs,
    ) -> None:
        """See to it that the rows of a benchmark are stored, and count the work in `costs`.

        FailedShardsError for shards that failed three times, when all others are stored; else what
        `run` raises.
        """
        dealing = dealing_of(loaded, encoder, self.settings)
        if not dealing.total:
            return
        since = time.monotonic()
        job = Job(item, ref, dict(encoder.fingerprint))
        title = f"{encoder.name}: encoding by {self.people}"
        with encoding_progress(self.reporter, title, None) as progress:
            progress(0, dealing.total)
            self.run(job, dealing, progress)
        for kind, items in dealing.encoded.items():
            costs.encoded[kind] += items
        costs.add(self.stage, since)
        dealing.check()

    @abstractmethod
    def run(self, job: Job, dealing: Dealing, progress: Progress) -> None:
        """Encode what is dealt, until all shards have ended or no worker can go on."""


class NoPool(Pool):
    """Nobody: the caller encodes by itself."""

    def __exit__(self, *exception: object) -> None:
        pass

    def encode(
        self,
        item: Benchmark | DataRef,
        ref: ModelRef,
        loaded: Loaded,
        encoder: "Encoder",
        costs: Costs,
    ) -> None:
        """Nothing."""

    def run(self, job: Job, dealing: Dealing, progress: Progress) -> None:
        """Nothing."""
