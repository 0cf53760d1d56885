"""Places of all relevant documents where queries and documents lie on disk, for graded judgements.

Queries are taken some at a time, and for each such strip the documents are streamed as for ranks
(evals.ranking.stored), with a level for every relevant document and not for the ten best alone.
Each query's counts are whole numbers of its own, so strips and blocks change no bit: the places are
those of `evals.ranking.places` with all rows in memory.

Shapes: q queries, n documents, d dimensions, pairs of a query and a document relevant to it.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from evals.embeddings.rows import RowSource
from evals.ranking.definition import Places
from evals.ranking.places import ALL_LEVELS, PairCounts, pair_counts, places_of, query_parts
from evals.ranking.relevance import Relevant
from evals.ranking.shapes import PairFloats
from evals.ranking.stored import calibration_of, plan_of, strip_of
from evals.ranking.streamed import Key, streamed_tallies

PAIR_BYTES = 5 * 8  # what stays of a relevant document at each key: its score and four counts
CELL_BYTES = 2 * 5 * 8  # of each level five numbers, and twice: while the scores are sorted


def stored_places(
    queries: RowSource,
    docs: RowSource,
    relevant: Relevant,
    gains: PairFloats,
    dims: Sequence[int],
    kinds: Sequence[str],
    *,
    memory: int,
    device: str = "cpu",
) -> Iterator[tuple[Key, Places]]:
    """The places at every dimension and precision, in about `memory` bytes.

    What `places` gives of `quantise(truncate(rows))`, bit for bit; `gains` are in the order of
    `relevant`. Documents are read for all keys at once, so the counts of all are held, PAIR_BYTES
    each. Raises ValueError as `evals.ranking.streamed.streamed_ranks` does.
    """
    keys = [(dim, kind) for dim in dims for kind in kinds]
    plan = plan_of(queries, dims, kinds, memory)
    calibration = calibration_of(queries, docs, dims, kinds, plan.docs)
    scores = {key: np.empty(len(relevant.docs)) for key in keys}
    counts: dict[Key, list[PairCounts]] = {key: [] for key in keys}
    _, width = queries.shape
    parts = query_parts(
        relevant.counts,
        # as in `plan_of`, the other half is for the documents
        memory // 2 - PAIR_BYTES * len(keys) * len(relevant.docs),
        row=4 * (width + len(kinds) * sum(dims)),
        cell=CELL_BYTES * len(keys),
    )
    for part in parts:
        strip = strip_of(queries, relevant, part)
        tallies = streamed_tallies(
            strip.queries,
            lambda: (block.rows for block in docs.blocks(plan.docs)),
            strip.relevant,
            dims,
            kinds,
            calibration=calibration,
            depth=ALL_LEVELS,
            device=device,
        )
        pairs = slice(relevant.indptr[part.start], relevant.indptr[part.stop])
        for key, counted in tallies.items():
            scores[key][pairs] = counted.scores
            counts[key].append(pair_counts(counted.tally, strip.relevant))
    for key in keys:
        yield key, places_of(scores[key], relevant, gains, counts[key])
