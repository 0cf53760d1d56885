"""What a worker does: it encodes the shards that it is dealt, one benchmark after the other.

It loads data and model by itself, from what a job says of them, so that paths go over the wire and
never rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from evals.config.catalog import Benchmark
from evals.config.models import ModelRef
from evals.config.own_data import DataRef
from evals.evaluation.dealing import Shard, ShardEnded
from evals.evaluation.encoding import sides_of
from evals.evaluation.load import build_encoder, load_item
from evals.schema import ConfigError, Side
from evals.settings import Settings

if TYPE_CHECKING:
    from evals.schema import Encoder


class Job(NamedTuple):
    """A benchmark or data of one's own, a model, and what its fingerprint is where shards are dealt."""

    item: Benchmark | DataRef
    ref: ModelRef
    fingerprint: Mapping[str, str]


class Worker:
    """The data and the model of the last job in memory, and one shard."""

    def __init__(self, settings: Settings) -> None:
        from evals.embeddings.store import Store

        self._settings = settings
        self._store = Store(settings.store)
        self._model: tuple[ModelRef, Encoder] | None = None
        self._sides: tuple[Job, dict[tuple[str, str], Side]] | None = None

    def encode(self, job: Job, lease: Sequence[Shard]) -> Iterator[ShardEnded]:
        """Encode shards, each of them once, and say of each part how it ended.

        ConfigError when this machine would make other rows, or has other data, than that which
        dealt the shards; else what `Store.embed` raises.
        """
        encoder = self._encoder(job)
        for (key, content), group in groupby(lease, lambda shard: (shard.key, shard.content)):
            shards = list(group)
            side = self._side(job, encoder, key, content)
            positions = [shard.positions for shard in shards]
            for ended in self._store.encoding(encoder, side, positions, tries=1):
                error = None if ended.error is None else str(ended.error)
                yield ShardEnded(shards[ended.number].number, ended.items, error)

    def _encoder(self, job: Job) -> "Encoder":
        if self._model is None or self._model[0] != job.ref:
            self._model = None  # one in memory
            self._model = (job.ref, build_encoder(job.ref, self._settings))
        encoder = self._model[1]
        if dict(encoder.fingerprint) != dict(job.fingerprint):
            raise ConfigError(
                f"{encoder.name}: this machine would make other rows than that of the command. "
                f"{_difference(encoder.fingerprint, job.fingerprint)}. Use machines of one kind, "
                "with the same packages, and start the command on one of them."
            )
        return encoder

    def _side(self, job: Job, encoder: "Encoder", key: str, content: str) -> Side:
        if self._sides is None or self._sides[0] != job:
            self._sides = None
            loaded = load_item(job.item, self._settings)
            sides = {(named.key, named.content): named.side for named in sides_of(loaded, encoder)}
            self._sides = (job, sides)
        side = self._sides[1].get((key, content))
        if side is None:
            raise ConfigError(
                f"{job.item.name}: this machine reads other data than that of the command. Name a "
                "place that all of them share."
            )
        return side


def _difference(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """What two fingerprints do not have in common."""
    names = sorted({*here, *there})
    differing = [name for name in names if here.get(name) != there.get(name)]
    parts = [
        f"{name}: {here.get(name, 'none')} here, {there.get(name, 'none')} there"
        for name in differing
    ]
    return ", ".join(parts)
