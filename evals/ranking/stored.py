"""Ranks of rows that lie on disk, queries and gallery alike, in memory that the caller limits.

Queries are taken some at a time, and for each such strip the gallery is streamed
(evals.ranking.streamed). Each query's ranks are its own, so strips and blocks change no bit, and
the ranks are those of `evals.ranking.sweep.ranks_at` with all rows in memory. Less memory means more
strips, and so more readings of the gallery.

Shapes: q queries, n documents, d dimensions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from evals.embeddings.precision import KINDS, Precision, parse_precision
from evals.embeddings.rows import RowSource
from evals.embeddings.truncation import truncate
from evals.ranking.definition import DEPTH, Ranks
from evals.ranking.products import pair_scores
from evals.ranking.relevance import Relevant
from evals.ranking.rescore import ROWS, Candidates, Rescored, with_candidates
from evals.ranking.shapes import DocRows, QueryRows
from evals.ranking.streamed import Calibration, Key, cut_rows, largest_values, streamed_ranks

LARGEST_BLOCK = 2**15  # documents: all that an accelerator takes at once
SMALLEST_BLOCK = 2**11  # documents that the engine scores at once anyway
COPIES = 4  # of a block: as read, in float64, cut, quantised


class Strip(NamedTuple):
    """Neighbouring queries, and what is relevant to them."""

    first: int
    queries: QueryRows
    relevant: Relevant


class Plan(NamedTuple):
    """How many queries are held at once, and how many documents are read at once."""

    queries: int
    docs: int


def stored_ranks(
    queries: RowSource,
    gallery: RowSource,
    relevant: Relevant,
    dims: Sequence[int],
    precisions: Sequence[str],
    *,
    memory: int,
    device: str = "cpu",
) -> dict[Key, Ranks]:
    """The ranks of one direction at every dimension and precision, in about `memory` bytes.

    Keys have the names of `precisions`, rescored ones too. Raises ValueError as `streamed_ranks`
    does, and ConfigError for a name that is no precision.
    """
    named = {name: parse_precision(name) for name in precisions}
    kinds = list(dict.fromkeys(precision.kind for precision in named.values()))
    plan = plan_of(queries, dims, kinds, memory)
    calibration = calibration_of(queries, gallery, dims, kinds, plan.docs)
    # Strips outside, blocks inside: levels of all queries at once could be larger than their rows.
    parts: dict[Key, list[Ranks]] = {(dim, name): [] for dim in dims for name in named}
    for strip in strips(queries, relevant, plan.queries):
        candidates = _Rescoring(strip, gallery, named, dims, calibration)
        by_kind = streamed_ranks(
            strip.queries,
            lambda: (block.rows for block in gallery.blocks(plan.docs)),
            strip.relevant,
            dims,
            kinds,
            calibration=calibration,
            seen=candidates.seen,
            device=device,
        )
        for dim, name in parts:
            kind, rescore = named[name]
            coarse = by_kind[dim, kind]
            ranks = coarse if rescore is None else candidates.rescored(coarse, (dim, kind), rescore)
            parts[dim, name].append(ranks)
    return {key: joined_ranks(ranks) for key, ranks in parts.items()}


def plan_of(queries: RowSource, dims: Sequence[int], kinds: Sequence[str], memory: int) -> Plan:
    """Strips of queries in one half of the memory, blocks of documents in the other."""
    _, width = queries.shape
    n_queries = memory // 2 // bytes_per_query(width, dims, kinds)
    n_docs = memory // 2 // (COPIES * 4 * width)
    # At least a query: a limit that is too small costs readings, and refuses nothing.
    return Plan(max(1, n_queries), min(max(SMALLEST_BLOCK, n_docs), LARGEST_BLOCK))


def bytes_per_query(width: int, dims: Sequence[int], kinds: Sequence[str]) -> int:
    """What a query takes while it is counted: its row, its cuts and its levels."""
    row_bytes = 4 * (width + len(kinds) * sum(dims))
    # of each level five numbers, and twice: while the scores of an answer are sorted
    level_bytes = 2 * 5 * 8 * DEPTH * len(dims) * len(kinds)
    return row_bytes + level_bytes


def calibration_of(
    queries: RowSource, docs: RowSource, dims: Sequence[int], kinds: Sequence[str], size: int
) -> Calibration:
    """The scales of both sides, read `size` rows at a time; nothing is read where none is needed."""
    if not any(KINDS[kind].calibrated for kind in kinds):
        return Calibration({}, {})
    largest_of_side = [
        largest_values((block.rows for block in side.blocks(size)), dims)
        for side in (queries, docs)
    ]
    return Calibration(*largest_of_side)


def strips(queries: RowSource, relevant: Relevant, size: int) -> Iterator[Strip]:
    """The queries, `size` at a time, each time with what is relevant to them."""
    n_queries, _ = queries.shape
    for first in range(0, n_queries, size):
        yield strip_of(queries, relevant, slice(first, min(first + size, n_queries)))


def strip_of(queries: RowSource, relevant: Relevant, part: slice) -> Strip:
    """The queries of a part, read at once."""
    rows = queries.take(np.arange(part.start, part.stop))
    return Strip(part.start, rows, relevant.part(part))


def joined_ranks(parts: Sequence[Ranks]) -> Ranks:
    """The ranks of neighbouring strips as one."""
    names = [field.name for field in fields(Ranks)]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Ranks(**columns)


class _Rescoring:
    """The candidates of a strip's queries, gathered while the gallery is counted."""

    def __init__(
        self,
        strip: Strip,
        gallery: RowSource,
        named: Mapping[str, Precision],
        dims: Sequence[int],
        calibration: Calibration,
    ) -> None:
        self.strip, self.gallery = strip, gallery
        self._best: dict[tuple[Key, int], Candidates] = {}
        self._queries: dict[Key, QueryRows] = {}
        n_queries, (n_docs, _) = len(strip.queries), gallery.shape
        counts = {name: precision for name, precision in named.items() if precision.rescore}
        for kind, rescore in counts.values():
            assert rescore is not None
            cut = cut_rows(strip.queries, dims, [kind], calibration.queries)
            for key, rows in cut:
                self._queries[key] = rows
                self._best[key, rescore] = Candidates(n_queries, min(rescore, n_docs), n_docs)

    def seen(self, key: Key, docs: DocRows, first: int) -> None:
        """Look at some documents as they are counted."""
        for (candidate_key, _), best in self._best.items():
            if candidate_key != key:
                continue
            # a part of the block at a time: its scores are float64
            for start in range(0, len(docs), SMALLEST_BLOCK):
                part = docs[start : start + SMALLEST_BLOCK]
                best.add(self._queries[key], part, first + start)

    def rescored(self, coarse: Ranks, key: Key, rescore: int) -> Ranks:
        """The ranks with the candidates in the order of their float32 rows."""
        chosen = self._best[key, rescore].docs()
        dim, _ = key
        queries = truncate(self.strip.queries, dim)
        parts = (
            self._scored(queries[start : start + ROWS], chosen[start : start + ROWS], dim)
            for start in range(0, len(queries), ROWS)
        )
        return with_candidates(coarse, parts, self.strip.relevant)

    def _scored(self, queries: QueryRows, chosen: Int[np.ndarray, "c k"], dim: int) -> Rescored:
        docs, place = np.unique(chosen, return_inverse=True)
        rows = truncate(self.gallery.take(docs), dim)
        pair_queries = np.repeat(np.arange(len(queries)), chosen.shape[1])
        scores = pair_scores(queries, rows, pair_queries, place.ravel())
        return Rescored(chosen, scores.reshape(chosen.shape))
