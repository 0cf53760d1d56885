"""Rows and ranks that the tests of metrics, ranks and counting are written with."""

from dataclasses import astuple

import numpy as np
import pytest

from evals.embeddings import threads
from evals.embeddings.truncation import truncate
from evals.ranking import accelerator, dispatch
from evals.ranking import ranks as ranks_module
from evals.ranking.definition import Both, Ranks
from evals.ranking.ranks import ranks
from evals.ranking.relevance import Relevant

Rows = np.ndarray


def cross_ranks(images: Rows, texts: Rows, image_of_text: Rows, **options: int) -> Both:
    return ranks_module.cross_ranks(images, texts, Relevant.single(image_of_text), **options)


def rows(*values: list[float]) -> Rows:
    return np.array(values, dtype=np.float32)


def random_rows(n: int, d: int, seed: int) -> Rows:
    return truncate(np.random.default_rng(seed).standard_normal((n, d)), d)


def ranks_of(better: list[int], tied: list[int], tied_relevant: list[int]) -> Ranks:
    g, t, r = (np.array(x, dtype=np.int64) for x in (better, tied, tied_relevant))
    return Ranks(g, t, r, np.zeros(len(g), dtype=np.float32), np.zeros(len(g)))


def same(a: Ranks, b: Ranks) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(astuple(a), astuple(b), strict=True))


def assert_defined(ranks: Ranks, expected: Ranks) -> None:
    """Counts equal; scores and nDCG to within the rounding of float32 and of a sum."""
    for name in ("better", "tied", "tied_relevant"):
        assert getattr(ranks, name).tolist() == getattr(expected, name).tolist(), name
    assert ranks.score == pytest.approx(expected.score, abs=1e-6)
    assert ranks.ndcg10 == pytest.approx(expected.ndcg10, abs=1e-12)


def ndcg_of(order: list[bool]) -> float:
    gains = [1 / np.log2(i + 2) if hit and i < 10 else 0.0 for i, hit in enumerate(order)]
    return sum(gains) / sum(1 / np.log2(i + 2) for i in range(min(sum(order), 10)))


@pytest.fixture(params=["kernel", "groups"])
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, counted as on a CPU and as on an accelerator."""
    monkeypatch.setattr(dispatch, "DOC_BLOCK", 37)
    monkeypatch.setattr(accelerator, "GROUP", 5)
    monkeypatch.setattr(threads, "ROW_BLOCK", 1)
    if request.param == "groups":
        monkeypatch.setattr(dispatch, "_way_to_count", lambda device: accelerator.count)


def hard_case() -> tuple[Rows, Rows, np.ndarray]:
    """Duplicates, near-duplicates, binary codes, zero rows: 60 images, 3 captions each."""
    rng = np.random.default_rng(5)
    images, image_of_text = random_rows(60, 33, 2), rng.permutation(np.repeat(np.arange(60), 3))
    texts = truncate(
        images[image_of_text] + 0.4 * rng.standard_normal((180, 33)).astype(np.float32), 33
    )
    images[10:20] = images[10]
    images[20:30] = images[21] * np.float32(1 + 2.0**-23)
    images[30:45] = truncate(np.sign(images[30:45]), 33)
    texts[rng.permutation(180)[:60]] = truncate(np.sign(texts[:1]), 33)
    texts[50:80] = texts[50]
    texts[90], images[50] = 0, 0
    return images, texts, image_of_text


def both_ways(
    images: Rows, texts: Rows, image_of_text: np.ndarray, chunk: int = 1024
) -> tuple[Ranks, Ranks]:
    t2i = ranks(texts, images, Relevant.single(image_of_text), chunk=chunk)
    return t2i, ranks(
        images, texts, Relevant.single(image_of_text).inverse(len(images)), chunk=chunk
    )
