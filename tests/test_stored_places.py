"""Relevant documents of rows on disk stand where they stand in memory, bit for bit, however little memory there is."""

from dataclasses import fields

import numpy as np
import pytest

from evals.embeddings.precision import quantise
from evals.embeddings.rows import HeldRows
from evals.embeddings.truncation import truncate
from evals.ranking import definition
from evals.ranking.definition import Places
from evals.ranking.places import places, query_parts
from evals.ranking.relevance import Relevant
from evals.ranking.stored_places import stored_places
from tests.ranking import hard_case

DIMS = (33, 3)
KINDS = ("float32", "float16", "int8", "binary")


def graded_case() -> tuple[np.ndarray, np.ndarray, Relevant, np.ndarray]:
    """180 queries, 60 documents: duplicates, zero rows, and one to twenty judgements per query."""
    docs, queries, doc_of_query = hard_case()
    # rows of different lengths, so that the largest value of a side is in one strip alone
    docs = docs * np.linspace(0.5, 3, len(docs), dtype=np.float32)[:, None]
    rng = np.random.default_rng(3)
    judged = [np.union1d(rng.integers(0, 60, rng.integers(0, 20)), doc) for doc in doc_of_query]
    relevant = Relevant(np.cumsum([0, *map(len, judged)]), np.concatenate(judged))
    return queries, docs, relevant, rng.integers(1, 4, len(relevant.docs)).astype(float)


@pytest.mark.parametrize("memory", [0, 2**21, 2**30])
def test_every_precision_and_dimension_has_the_places_of_rows_in_memory(
    memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.ranking.stored.SMALLEST_BLOCK", 23)
    queries, docs, relevant, gains = graded_case()
    if memory == 0:  # a reading of the documents per query: a few of them show it
        part = slice(88, 92)
        gains = gains[relevant.indptr[88] : relevant.indptr[92]]
        queries, relevant = queries[part], relevant.part(part)
    sources = HeldRows(queries), HeldRows(docs)
    stored = dict(stored_places(*sources, relevant, gains, DIMS, KINDS, memory=memory))
    assert list(stored) == [(dim, kind) for dim in DIMS for kind in KINDS]
    for (dim, kind), ours in stored.items():
        rows = [quantise(truncate(side, dim), kind) for side in (queries, docs)]
        expected = places(*rows, relevant, gains)
        by_definition = definition.places(*rows, relevant, gains)
        for field in fields(Places):
            name, value = field.name, getattr(ours, field.name)
            np.testing.assert_array_equal(value, getattr(expected, name), strict=True)
            # equal documents stand in any order, each with its gain and the last bit of its score
            if name not in ("score", "gain"):
                assert value.tolist() == getattr(by_definition, name).tolist(), (dim, kind, name)


def test_a_part_costs_no_more_than_the_limit_unless_it_is_a_single_query() -> None:
    counts = np.array([1, 1, 1, 5, 2, 2, 40, 1])
    parts = list(query_parts(counts, 30, row=4, cell=2))
    assert [(part.start, part.stop) for part in parts] == [(0, 3), (3, 5), (5, 6), (6, 7), (7, 8)]
    assert list(query_parts(counts[:0], 30)) == []
    everything = query_parts(counts, -1)
    assert [part.stop - part.start for part in everything] == [1] * 8


def test_the_documents_are_read_twice_for_all_keys_and_once_more_for_int8() -> None:
    queries, docs, relevant, gains = graded_case()

    class Counted(HeldRows):
        readings = 0

        def blocks(self, size: int = 7):
            self.readings += 1
            return super().blocks(size)

    for kinds, readings in ((("float32", "binary"), 2), (KINDS, 3)):
        source = Counted(docs)
        list(stored_places(HeldRows(queries), source, relevant, gains, DIMS, kinds, memory=2**30))
        assert source.readings == readings
