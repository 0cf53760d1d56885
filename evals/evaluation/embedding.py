"""The rows of a side for an evaluation: what is not stored yet is encoded first, and counted.

`embed` holds them in memory, `embed_on_disk` leaves them in the store, to be read block by block.
`embed_vectors` does so with the vectors of models that give several per item.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from evals.evaluation.recording import Costs
from evals.progress import SILENT, Progress, Reporter, encoding_progress
from evals.schema import Side

if TYPE_CHECKING:  # the rest is imported where it is used, so that --help answers at once
    from evals.embeddings.rows import StoredRows
    from evals.embeddings.store import Store
    from evals.embeddings.vectors import StoredVectors
    from evals.schema import Encoder, MultiVectorEncoder


def embed(
    store: "Store", encoder: "Encoder", side: Side, costs: Costs, *, reporter: Reporter = SILENT
) -> Any:
    """The full-width rows of a side, float32."""
    with _encoding(store, encoder, side, costs, reporter) as progress:
        rows, encoded = store.embed(encoder, side, progress=progress)
    costs.encoded[side.kind] += encoded
    return rows


def embed_on_disk(
    store: "Store", encoder: "Encoder", side: Side, costs: Costs, *, reporter: Reporter = SILENT
) -> "StoredRows":
    """The same rows where they lie in the store."""
    with _encoding(store, encoder, side, costs, reporter) as progress:
        costs.encoded[side.kind] += store.encode(encoder, side, progress=progress)
    return store.rows(encoder, side)


def embed_vectors(
    store: "Store",
    encoder: "MultiVectorEncoder",
    side: Side,
    costs: Costs,
    *,
    reporter: Reporter = SILENT,
) -> "StoredVectors":
    """The vectors of a side where they lie in the store."""
    since = time.monotonic()
    title = f"{encoder.name}: encoding {side.kind}s"
    with encoding_progress(reporter, title, side.kind) as progress:
        costs.encoded[side.kind] += store.encode(encoder, side, progress=progress)
    costs.add(f"encode_{side.kind}", since)
    return store.vectors(encoder, side)


@contextmanager
def _encoding(
    store: "Store", encoder: "Encoder", side: Side, costs: Costs, reporter: Reporter
) -> Iterator[Progress]:
    """A check before encoding, and the time that encoding takes.

    Images are decoded once, where they are encoded: a broken one is named then, and costs its shard.
    """
    from evals.encoders.objects import ArrayEncoder

    if isinstance(encoder, ArrayEncoder):
        encoder.check(side)
    since = time.monotonic()
    title = f"{encoder.name}: encoding {side.kind}s"
    with encoding_progress(reporter, title, side.kind) as progress:
        yield progress
    costs.add(f"encode_{side.kind}", since)
