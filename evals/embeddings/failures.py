"""Shards that could not be encoded: which items they hold, and what was wrong each time.

They are told when the rest is stored. Nothing is scored without them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from evals.counts import counted
from evals.schema import InvalidError, Side

# Passes of one shard: what was wrong may have been the moment or the machine.
TRIES = 3
# When so many shards could not be encoded and none could, it is not the shards.
HOPELESS = 3
# Of the shards that could not be encoded, so many are named.
NAMED = 10


class FailedShard(NamedTuple):
    """A shard that was tried often enough: whose and which items it holds, and the last error."""

    model: str
    items: str
    error: str

    @classmethod
    def of(
        cls, model: str, side: Side, positions: Int[np.ndarray, "m"], error: str
    ) -> "FailedShard":
        """The shard of a side at some positions."""
        first, last = side.ids[positions[0]], side.ids[positions[-1]]
        if len(positions) == 1:
            return cls(model, f"{side.kind} {first}", error)
        return cls(model, f"{len(positions):,} {side.kind}s, {first} to {last}", error)


class FailedShardsError(InvalidError):
    """Shards failed `TRIES` times each; `rest` says what became of the others."""

    def __init__(
        self, shards: Sequence[FailedShard], *, rest: str = "All others are stored"
    ) -> None:
        self.shards = tuple(shards)
        self.rest = rest
        models = ", ".join(dict.fromkeys(shard.model for shard in shards))
        count = counted(len(shards), "shard")
        parts = [f"{shard.items}: {shard.error.rstrip('.')}" for shard in shards[:NAMED]]
        if len(shards) > NAMED:
            parts.append(f"and {len(shards) - NAMED:,} more")
        super().__init__(
            f"{models}: {count} could not be encoded, in {TRIES} tries each. {'; '.join(parts)}. "
            f"{rest}, and nothing is scored without them. Mend that, and run the same command again."
        )


def joined(errors: Sequence[FailedShardsError]) -> FailedShardsError:
    """All of them as one."""
    shards = [shard for error in errors for shard in error.shards]
    return FailedShardsError(shards, rest=errors[-1].rest)
