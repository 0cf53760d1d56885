"""Distractors are counted as the other documents of one gallery would be, however they are read."""

import numpy as np
import pytest

from evals.embeddings.truncation import truncate
from evals.ranking.distractors import count_around, level_queries
from evals.ranking.gallery_size import hit_at_sizes
from evals.ranking.metrics import hit_at
from evals.ranking.ranks import ranks
from evals.ranking.relevance import Relevant
from evals.ranking.streamed import blocks_of
from tests.ranking import hard_case, random_rows

DIMS = (33, 8)


def hard_distractors() -> np.ndarray:
    """Copies of images and of texts, rows of zeros, and others: 90 rows."""
    images, texts, _ = hard_case()
    near = images[:30] * np.float32(1 + 2.0**-23)
    return np.concatenate([near, texts[45:75], random_rows(28, 33, 9), np.zeros_like(images[:2])])


@pytest.mark.parametrize("size", [17, 90])
def test_they_add_to_the_ranks_what_one_gallery_of_all_has(size: int) -> None:
    images, texts, image_of_text = hard_case()
    distractors = hard_distractors()
    t2i = Relevant.single(image_of_text)
    for queries, docs, relevant in ((texts, images, t2i), (images, texts, t2i.inverse(60))):
        leveled = level_queries(queries, lambda docs=docs: blocks_of(docs, size), relevant, DIMS)
        [counts] = count_around([leveled], blocks_of(distractors, size))
        for dim in DIMS:
            unit_queries = truncate(queries, dim)
            alone = ranks(unit_queries, truncate(docs, dim), relevant)
            everything = truncate(np.concatenate([docs, distractors]), dim)
            together = ranks(unit_queries, everything, relevant)
            assert (alone.better + counts[dim].better).tolist() == together.better.tolist()
            assert (alone.tied + counts[dim].tied).tolist() == together.tied.tolist()
            assert counts[dim].tied.any() and counts[dim].total == 90


def test_all_distractors_drawn_is_the_recall_of_the_whole_gallery() -> None:
    images, texts, image_of_text = hard_case()
    distractors, relevant = hard_distractors(), Relevant.single(image_of_text)
    leveled = level_queries(texts, lambda: [images], relevant, [33])
    [counts] = count_around([leveled], blocks_of(distractors, 16))
    alone = ranks(truncate(texts, 33), truncate(images, 33), relevant)
    everything = truncate(np.concatenate([images, distractors]), 33)
    [hits] = hit_at_sizes(alone, counts[33], [90], 5)
    assert hits.tolist() == hit_at(ranks(truncate(texts, 33), everything, relevant), 5).tolist()


def test_a_distractor_that_is_not_finite_is_named_by_its_place() -> None:
    docs, distractors = random_rows(4, 3, 0), random_rows(9, 3, 1)
    distractors[7, 1] = np.inf
    leveled = level_queries(docs, lambda: [docs], Relevant.single(np.arange(4)), [3])
    with pytest.raises(ValueError, match="distractor 7 holds NaN or infinity"):
        count_around([leveled], blocks_of(distractors, 2))


def test_without_distractors_nothing_is_above_and_nothing_tied() -> None:
    docs = random_rows(4, 3, 0)
    [counts] = count_around(
        [level_queries(docs, lambda: [docs], Relevant.single(np.arange(4)), [3])], []
    )
    assert (counts[3].better.any(), counts[3].tied.any(), counts[3].total) == (False, False, 0)
