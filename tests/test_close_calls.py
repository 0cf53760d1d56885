"""Close calls that are few among many documents are found one by one, and decided in float64 as the definition has it."""

import numpy as np
import pytest

from evals.embeddings.truncation import truncate
from evals.ranking import cpu, definition
from evals.ranking.ranks import cross_ranks
from evals.ranking.relevance import Relevant
from evals.ranking.sweep import sweep_cross_ranks
from tests.ranking import assert_defined

IMAGES, TEXTS, WIDTH = 150, 400, 48
DIMS = [8, 24, WIDTH]


@pytest.fixture
def comparisons(monkeypatch):
    """How many comparisons each search for close calls was about, by side; the dense way is refused."""
    found: dict[bool, list[int]] = {True: [], False: []}
    find_close = cpu.find_close

    def noted(sums, query_scales, doc_scales, rows, low, high, starts, others, by_query):
        find_close(sums, query_scales, doc_scales, rows, low, high, starts, others, by_query)
        found[by_query].append(len(rows))

    def refuse(*arguments, **options):
        raise AssertionError("counted as if close calls were many")

    monkeypatch.setattr(cpu, "find_close", noted)
    monkeypatch.setattr(cpu, "_count_all", refuse)
    return found


def few_ties(seed: int) -> tuple[np.ndarray, np.ndarray, Relevant]:
    """Images with a twin, and images and texts that differ from another in the last bit of a value.

    What is equal, or nearly so, is what some query asks for. Rows have norms from 1/16 to 16.
    """
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((IMAGES, WIDTH)).astype(np.float32)
    image_of_text = np.arange(TEXTS) % IMAGES
    texts = images[image_of_text] + 2 * rng.standard_normal((TEXTS, WIDTH)).astype(np.float32)
    # The best captions of their images, so that their twins stand beside them.
    texts[:6] = images[:6] + 0.1 * rng.standard_normal((6, WIDTH)).astype(np.float32)
    images[140:143] = images[0:3]
    images[143:146] = images[3:6]
    images[143:146, 0] = np.nextafter(images[143:146, 0], np.float32(np.inf))
    texts[390:393] = texts[0:3]
    texts[393:396] = texts[3:6]
    texts[393:396, 1] = np.nextafter(texts[393:396, 1], np.float32(-np.inf))
    images *= np.exp2(rng.integers(-4, 5, (IMAGES, 1))).astype(np.float32)
    texts *= np.exp2(rng.integers(-4, 5, (TEXTS, 1))).astype(np.float32)
    return images, texts, Relevant.single(image_of_text)


@pytest.mark.parametrize("seed", range(4))
def test_few_close_calls_of_a_sweep_are_decided_as_the_definition_has_it(comparisons, seed):
    images, texts, t2i = few_ties(seed)
    for dim, both in sweep_cross_ranks(images, texts, t2i, DIMS).items():
        expected = definition.cross_ranks(truncate(images, dim), truncate(texts, dim), t2i)
        assert_defined(both.t2i, expected.t2i)
        assert_defined(both.i2t, expected.i2t)
        # The twins tie, and what differs in its last bit does not.
        assert expected.t2i.tied.sum() >= 9
        assert expected.i2t.tied.sum() >= 3
    for of_side in comparisons.values():
        assert len(of_side) >= len(DIMS)
        assert max(of_side) > 3


@pytest.mark.parametrize("chunk", [75, 150])
def test_they_are_in_any_block(comparisons, chunk):
    images, texts, t2i = few_ties(9)
    images, texts = truncate(images, WIDTH), truncate(texts, WIDTH)
    expected = definition.cross_ranks(images, texts, t2i)
    both = cross_ranks(images, texts, t2i, chunk=chunk)
    assert_defined(both.t2i, expected.t2i)
    assert_defined(both.i2t, expected.i2t)
    assert comparisons[True]
