"""Exact search finds what sorting all scores finds, whatever the blocks, in memory that nothing makes grow."""

import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness import peak_memory
from evals.ranking import search
from evals.ranking.best_docs import Hits
from evals.ranking.search import top_k


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def joined(found: Iterator[Hits]) -> Hits:
    """All chunks as one; each must begin where the one before it has ended."""
    parts = list(found)
    assert [part.first for part in parts] == np.cumsum([0, *(len(part.docs) for part in parts)])[
        :-1
    ].tolist()
    return Hits(
        0,
        np.concatenate([part.docs for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def sorted_all(queries: np.ndarray, docs: np.ndarray, k: int) -> Hits:
    scores = queries @ docs.T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Hits(0, best, np.take_along_axis(scores, best, axis=1))


def rows(*values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def unit_rows(n: int, dim: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_best_come_first() -> None:
    docs = rows([0, 1], [1, 0], [0.6, 0.8], [-1, 0])
    found = joined(top_k(rows([1, 0], [0, 1]), docs, 3))
    assert found.docs.tolist() == [[1, 2, 0], [0, 2, 1]]
    np.testing.assert_array_equal(found.scores, rows([1, 0.6, 0], [1, 0.8, 0]))
    assert (found.docs.dtype, found.scores.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("block", [1, 2, 3, 6])
def test_of_equal_scores_the_smaller_index_comes_first_and_stays_in(block: int) -> None:
    docs = rows([0.5], [1], [0.5], [1], [0.5], [1])
    assert joined(top_k(rows([1]), docs, 4, block=block)).docs.tolist() == [[1, 3, 5, 0]]
    assert joined(top_k(rows([-1]), docs, 4, block=block)).docs.tolist() == [[0, 2, 4, 1]]


def test_minus_zero_ties_with_zero() -> None:
    assert joined(
        top_k(rows([1, 0]), rows([-0.0, 0], [0, 1], [-0.0, -1]), 2, block=1)
    ).docs.tolist() == [[0, 1]]


def test_with_few_documents_all_are_found() -> None:
    found = joined(top_k(rows([1, 0], [0, 1]), rows([0, 1], [1, 0]), 1000))
    assert found.docs.tolist() == [[1, 0], [0, 1]]


def test_no_queries_find_nothing() -> None:
    assert list(top_k(np.empty((0, 2), dtype=np.float32), rows([1, 0]), 3)) == []


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_shape_chunk_and_block_finds_what_sorting_finds(data: st.DataObject) -> None:
    q, n, d = (
        data.draw(st.integers(1, most), label) for most, label in ((12, "q"), (60, "n"), (4, "d"))
    )
    seed = data.draw(st.integers(0, 2**32 - 1), "seed")
    k, chunk, block = (
        data.draw(st.integers(1, most), label)
        for most, label in ((70, "k"), (14, "chunk"), (70, "block"))
    )
    rng = np.random.default_rng(
        seed
    )  # products of small whole numbers are exact in any kernel, and many of them tie
    queries, docs = (rng.integers(-3, 4, (count, d)).astype(np.float32) for count in (q, n))
    found, expected = (
        joined(top_k(queries, docs, k, chunk=chunk, block=block)),
        sorted_all(queries, docs, k),
    )
    np.testing.assert_array_equal(found.docs, expected.docs)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("order", ["as they come", "best last", "best first"])
def test_the_order_of_the_documents_does_not_matter(order: str, three_threads: None) -> None:
    rng = np.random.default_rng(1)
    queries, docs = (
        rng.integers(1, 9, (40, 8)).astype(np.float32),
        rng.integers(-9, 9, (3000, 8)).astype(np.float32),
    )
    if order != "as they come":
        docs = docs[np.argsort(docs.sum(axis=1) * (1 if order == "best last" else -1))]
    found, expected = (
        joined(top_k(queries, docs, 50, chunk=7, block=64)),
        sorted_all(queries, docs, 50),
    )
    np.testing.assert_array_equal(found.docs, expected.docs)


def test_random_rows_find_the_same_to_the_last_bits(three_threads: None) -> None:
    queries, docs = unit_rows(70, 96), unit_rows(5000, 96, seed=1)
    found, expected = joined(top_k(queries, docs, 100, chunk=16)), sorted_all(queries, docs, 100)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(
        found.scores, np.take_along_axis(queries @ docs.T, found.docs, axis=1), atol=1e-6
    )
    assert all(len(set(own)) == 100 for own in found.docs.tolist())
    assert (np.diff(found.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_rows_without_a_finite_length_are_refused_by_name(value: float) -> None:
    good, bad = unit_rows(300, 4), unit_rows(300, 4)
    bad[270, 2] = value
    with pytest.raises(ValueError, match="query 270 has NaN"):
        top_k(bad, good, 3)
    with pytest.raises(ValueError, match="document 270 has NaN"):
        top_k(good, bad, 3)


@pytest.mark.parametrize("sizes", [{"k": 0}, {"chunk": 0}, {"block": -1}])
def test_sizes_below_one_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cannot find"):
        top_k(unit_rows(2, 4), unit_rows(5, 4), **{"k": 3, **sizes})


def test_no_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="of 0 documents"):
        top_k(unit_rows(2, 4), np.empty((0, 4), dtype=np.float32), 3)


def test_an_error_in_a_thread_reaches_the_caller(
    monkeypatch: pytest.MonkeyPatch, three_threads: None
) -> None:
    def fail(queries: torch.Tensor, docs: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(f"no product on {threading.current_thread().name}")

    monkeypatch.setattr(search, "block_products", fail)
    with pytest.raises(RuntimeError, match="no product on ThreadPool"):
        list(top_k(unit_rows(9, 4), unit_rows(5, 4), 3, chunk=2))


def test_between_two_chunks_nothing_runs_and_settings_are_the_callers(three_threads: None) -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        before, found = (
            threading.active_count(),
            top_k(unit_rows(90, 4), unit_rows(500, 4), 3, chunk=2),
        )
        next(found)
        assert (threading.active_count(), torch.get_num_threads()) == (before, 3)
        assert torch.get_float32_matmul_precision() == "medium"
        found.close()  # type: ignore[attr-defined]
        assert (threading.active_count(), torch.get_num_threads()) == (before, 3)
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc"
)
def test_memory_does_not_grow_with_the_queries() -> None:
    docs, many = unit_rows(2000, 16, seed=1), unit_rows(16_384, 16)

    def peak(n: int) -> float:
        return peak_memory(lambda: [found.first for found in top_k(many[:n], docs, 500, chunk=128)])

    few = max(peak(1024), peak(1024))
    assert (
        peak(16_384) < few + 70
    )  # MB, of which the allocator may keep some; the hits of 16,384 queries are 98


def test_a_read_only_memory_map_is_never_copied_as_a_whole(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", unit_rows(100_000, 64))
    docs = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert not docs.flags.writeable
    tracemalloc.start()
    found = joined(top_k(docs[:4], docs, 1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.docs.tolist() == [[0], [1], [2], [3]]
    assert peak < 8e6  # the rows are 25.6e6


@pytest.mark.gpu
def test_an_accelerator_finds_the_same() -> None:
    rng = np.random.default_rng(0)
    queries, docs = (rng.integers(-3, 4, (n, 16)).astype(np.float32) for n in (300, 20_000))
    found, expected = (
        joined(top_k(queries, docs, 100, device="cuda")),
        sorted_all(queries, docs, 100),
    )
    np.testing.assert_array_equal(found.docs, expected.docs)
    np.testing.assert_array_equal(found.scores, expected.scores)
