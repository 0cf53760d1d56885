"""Rows on disk have the ranks of rows in memory, bit for bit, however little memory there is."""

from pathlib import Path

import numpy as np
import pytest

from evals.embeddings.rows import HeldRows, RowSource
from evals.embeddings.store import Store
from evals.embeddings.truncation import truncate
from evals.ranking.relevance import Relevant
from evals.ranking.stored import LARGEST_BLOCK, plan_of, stored_ranks
from evals.ranking.sweep import ranks_at
from tests.ranking import hard_case, random_rows, same
from tests.toys import HashEncoder, image_text

DIMS = (33, 16, 3)
PRECISIONS = ("float32", "float16", "int8", "binary", "int8+rescore10", "binary+rescore10")
BYTES_OF_A_QUERY = 2 * (4 * (33 + 4 * sum(DIMS)) + 2 * 5 * 8 * 10 * len(DIMS) * 4)


@pytest.mark.parametrize("queries_at_once", [59, 1000])
def test_every_precision_and_dimension_has_the_ranks_of_rows_in_memory(
    queries_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, texts, image_of_text = hard_case()
    # rows of different lengths, so that the largest value of a side is in one strip alone
    images = images * np.linspace(0.5, 3, len(images), dtype=np.float32)[:, None]
    t2i = Relevant.single(image_of_text)
    expected = ranks_at(images, texts, t2i, DIMS, PRECISIONS)
    monkeypatch.setattr("evals.ranking.stored.SMALLEST_BLOCK", 13)
    memory = queries_at_once * BYTES_OF_A_QUERY
    held: dict[str, RowSource] = {"images": HeldRows(images), "texts": HeldRows(texts)}
    by_texts = stored_ranks(held["texts"], held["images"], t2i, DIMS, PRECISIONS, memory=memory)
    i2t = t2i.inverse(60)
    by_images = stored_ranks(held["images"], held["texts"], i2t, DIMS, PRECISIONS, memory=memory)
    assert by_texts.keys() == by_images.keys() == expected.keys()
    for key, both in expected.items():
        assert same(by_texts[key], both.t2i), key
        assert same(by_images[key], both.i2t), key


def test_a_plan_fits_the_memory_and_never_reads_single_documents() -> None:
    queries = HeldRows(random_rows(100, 33, 0))
    kinds = ("float32", "float16", "int8", "binary")
    assert plan_of(queries, DIMS, kinds, 17 * BYTES_OF_A_QUERY).queries == 17
    assert plan_of(queries, DIMS, kinds, 1) == (1, 2048)
    assert plan_of(queries, DIMS, kinds, 2**40).docs == LARGEST_BLOCK


def test_rows_of_the_store_are_ranked_where_they_lie(tmp_path: Path) -> None:
    data, encoder = image_text([0, 0, 1, 1, 2, 3, 4, 5]), HashEncoder(12)
    store = Store(tmp_path, shard_rows=3)
    sources, arrays = {}, {}
    for side in data.sides:
        store.encode(encoder, side)
        sources[side.kind] = store.rows(encoder, side)
        arrays[side.kind] = encoder.encode(side)
    relevant = Relevant.single(data.image_of_text)
    precisions = ("float32", "int8")
    stored = stored_ranks(
        sources["text"], sources["image"], relevant, (12, 5), precisions, memory=1
    )
    expected = ranks_at(arrays["image"], arrays["text"], relevant, (12, 5), precisions)
    for key, both in expected.items():
        assert same(stored[key], both.t2i), key


def test_fewer_documents_than_candidates_are_all_rescored() -> None:
    rows = random_rows(6, 4, 0)
    relevant = Relevant.single(np.arange(6))
    held = HeldRows(rows)
    stored = stored_ranks(held, held, relevant, [4], ["binary+rescore10"], memory=1)
    exact = ranks_at(truncate(rows, 4), rows, relevant, [4], ["float32"])
    assert stored[4, "binary+rescore10"].better.tolist() == exact[4, "float32"].t2i.better.tolist()
