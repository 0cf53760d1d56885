"""Ranks of a gallery that is read block by block are those of the gallery in memory, bit for bit."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.embeddings.precision import quantise
from evals.embeddings.truncation import truncate
from evals.ranking import definition
from evals.ranking.ranks import ranks
from evals.ranking.relevance import Relevant
from evals.ranking.streamed import blocks_of, streamed_ranks
from tests.ranking import assert_defined, hard_case, random_rows, rows, same

DIMS = (33, 16, 3)


@pytest.mark.parametrize("size", [1, 7, 59, 60, 61])
def test_every_size_of_block_gives_the_ranks_of_the_rows_in_memory(size: int) -> None:
    images, texts, image_of_text = hard_case()
    t2i = Relevant.single(image_of_text)
    for queries, docs, relevant in ((texts, images, t2i), (images, texts, t2i.inverse(60))):
        streamed = streamed_ranks(queries, lambda docs=docs: blocks_of(docs, size), relevant, DIMS)
        for dim in DIMS:
            assert same(
                streamed[dim, "float32"],
                ranks(truncate(queries, dim), truncate(docs, dim), relevant),
            )


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_gallery_cut_anywhere_has_the_ranks_of_the_definition(data: st.DataObject) -> None:
    # few values, so that most scores tie; -0.0 and a last bit apart are among them
    values = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, float(np.float32(1 + 2.0**-23))])
    n_docs = data.draw(st.integers(1, 12))
    docs = rows(
        *data.draw(
            st.lists(st.lists(values, min_size=4, max_size=4), min_size=n_docs, max_size=n_docs)
        )
    )
    queries = rows(
        *data.draw(st.lists(st.lists(values, min_size=4, max_size=4), min_size=1, max_size=4))
    )
    answers = st.sets(st.integers(0, n_docs - 1), min_size=1)
    relevant_docs = [sorted(data.draw(answers)) for _ in queries]
    bounds = np.cumsum([0, *map(len, relevant_docs)])
    relevant = Relevant(bounds, np.concatenate(relevant_docs))
    cuts = sorted(data.draw(st.sets(st.integers(1, n_docs))))

    def gallery() -> Iterator[np.ndarray]:
        yield from np.split(docs, cuts)

    kinds = ("float32", "float16", "int8", "binary")
    for (dim, kind), streamed in streamed_ranks(queries, gallery, relevant, (4, 2), kinds).items():
        cut_queries = quantise(truncate(queries, dim), kind)
        cut_docs = quantise(truncate(docs, dim), kind)
        assert same(streamed, ranks(cut_queries, cut_docs, relevant))
        assert_defined(streamed, definition.ranks(cut_queries, cut_docs, relevant))


def test_a_last_block_of_zeros_leaves_the_margins_of_the_whole_gallery() -> None:
    images, texts, image_of_text = hard_case()
    zeros = np.zeros((5, 33), dtype=np.float32)
    relevant = Relevant.single(image_of_text)
    streamed = streamed_ranks(texts, lambda: iter([images, zeros]), relevant, [33])
    docs = truncate(np.concatenate([images, zeros]), 33)
    assert same(streamed[33, "float32"], ranks(truncate(texts, 33), docs, relevant))


def test_a_memory_map_on_disk_is_ranked(tmp_path: Path) -> None:
    docs = random_rows(50, 8, 0)
    np.save(tmp_path / "rows.npy", docs)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    relevant = Relevant.single(np.arange(50))
    streamed = streamed_ranks(docs, lambda: blocks_of(mapped, 9), relevant, [8])
    assert same(streamed[8, "float32"], ranks(truncate(docs, 8), truncate(docs, 8), relevant))


def test_a_document_that_is_not_finite_is_named_by_its_place_in_the_gallery() -> None:
    docs = random_rows(9, 4, 0)
    docs[7, 2] = np.nan
    with pytest.raises(ValueError, match="document 7 holds NaN"):
        streamed_ranks(docs[:1], lambda: blocks_of(docs, 2), Relevant.single(np.array([0])), [4])


def test_a_gallery_that_can_be_read_only_once_is_refused() -> None:
    docs = random_rows(9, 4, 0)
    once = blocks_of(docs, 2)
    with pytest.raises(ValueError, match="9 documents when it was read first, and then 0"):
        streamed_ranks(docs[:1], lambda: once, Relevant.single(np.array([0])), [4])


def test_relevant_documents_beyond_the_gallery_are_refused() -> None:
    docs = random_rows(9, 4, 0)
    with pytest.raises(ValueError, match="do not fit 1 queries and 9 documents"):
        streamed_ranks(docs[:1], lambda: blocks_of(docs), Relevant.single(np.array([9])), [4])


def test_a_block_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot have 0 rows"):
        list(blocks_of(random_rows(2, 2, 0), 0))
