"""What counting by Triton kernels must give, on a card or on a CPU in Triton's interpreter: the ranks and hits of the CPU.

TRITON_INTERPRET=1 python -m tests.kernel_checks    prints a line of JSON: what is wrong with each check, "" if nothing

Triton decides when it is imported whether it interprets: hence a process of its own. The tests
marked `gpu` call the same checks with a card.
"""

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from unittest.mock import patch

import numpy as np
import torch

from evals.embeddings.truncation import truncate
from evals.ranking import cuda, definition, dispatch, search
from evals.ranking.definition import Both, Places
from evals.ranking.kernel import BlockScales, Bounds, count_block, list_close
from evals.ranking.places import places
from evals.ranking.ranks import cross_ranks, ranks
from evals.ranking.relevance import Relevant
from evals.ranking.search import top_k
from evals.ranking.search_kernel import KernelBestDocs
from evals.ranking.streamed import blocks_of, streamed_ranks
from evals.ranking.sweep import ranks_at, sweep_cross_ranks
from tests.ranking import assert_defined, hard_case, random_rows, same

Ranked = TypeVar("Ranked")


@contextmanager
def by_kernels(device: str, *, host_values: int = cuda.HOST_VALUES) -> Iterator[None]:
    """Blocks of 100 documents are counted by the kernels, also those on a CPU.

    With `host_values` of 0 each block with a close call is multiplied again in float64.
    """
    with (
        patch.object(dispatch, "DOC_BLOCK", 100),
        patch.object(dispatch, "DEVICE_BLOCK", 100),
        patch.object(cuda, "DENSE_DOCS", 70),
        patch.object(cuda, "HOST_VALUES", host_values),
        patch.object(dispatch, "_counting", cuda.counting),
        one_thread(),
    ):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """The interpreter takes no threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def both_ways(device: str, work: Callable[[str], Ranked], **options: int) -> tuple[Ranked, Ranked]:
    """What a function of the device gives on the CPU, and by the kernels."""
    expected = work("cpu")
    with by_kernels(device, **options):
        return expected, work(device)


def assert_same(expected: Both, counted: Both) -> None:
    """Both directions are equal in all bits."""
    for one_way, other in zip(expected, counted, strict=True):
        assert same(one_way, other), (one_way, other)


def check_counts_of_any_shape(device: str) -> None:
    """A block smaller than a tile, of a tile, and larger; scaled or not; float32 and float64."""
    rng = np.random.default_rng(0)
    for n_queries, n_docs, query_places, doc_places in (
        (1, 1, 1, 1),
        (64, 128, 2, 0),
        (65, 257, 3, 1),
        (7, 300, 0, 2),
    ):
        for dtype in (np.float32, np.float64):
            # few values, so that scores lie on bounds as well
            scores = rng.integers(-3, 4, (n_queries, n_docs)).astype(dtype)
            scores[rng.random(scores.shape) < 0.1] = -np.inf
            low = rng.integers(-3, 3, (query_places, n_queries)).astype(dtype)
            low[rng.random(low.shape) < 0.2] = np.inf
            doc_low = rng.integers(-3, 3, (doc_places, n_docs)).astype(dtype)
            sides = [bounds_of(low, device), bounds_of(doc_low, device)]
            tensor = torch.from_numpy(scores).to(device)
            near = count_block(tensor, None, *sides)
            calls = []
            for side, (levels, table) in enumerate(((low, scores), (doc_low, scores.T))):
                above = table > levels[:, :, None] + 1
                close = (table >= levels[:, :, None]) & ~above
                assert near[side].above.tolist() == above.sum(axis=2).tolist()
                assert near[side].close.tolist() == close.sum(axis=2).tolist()
                for place, item, match in np.argwhere(close).tolist():
                    pair = (item, match) if side == 0 else (match, item)
                    calls.append([*pair, place + side * query_places])
            listed = list_close(tensor, None, *sides, len(calls))
            assert sorted(listed.tolist()) == sorted(calls)


def bounds_of(low: np.ndarray, device: str) -> Bounds:
    """Bounds of levels that are 1 wide."""
    bounds = torch.from_numpy(low).to(device)
    return Bounds(bounds, bounds + 1)


def check_scales_are_of_queries_and_of_documents(device: str) -> None:
    """Scores are sums times both scales: 2, 12 and 6, 36 of which two are above 6."""
    sums = torch.tensor([[1.0, 2.0], [1.0, 2.0]], device=device)
    scales = BlockScales(
        torch.tensor([2.0, 6.0], device=device), torch.tensor([1.0, 3.0], device=device)
    )
    level = torch.tensor([[6.0, 6.0]], device=device)
    near = count_block(sums, scales, Bounds(level, level), Bounds(level, level))
    assert near.queries.above.tolist() == [[1, 1]] and near.queries.close.tolist() == [[0, 1]]
    assert near.docs.above.tolist() == [[0, 2]] and near.docs.close.tolist() == [[1, 0]]
    calls = list_close(sums, scales, Bounds(level, level), Bounds(level, level), 2)
    assert sorted(calls.tolist()) == [[1, 0, 0], [1, 0, 1]]


def check_duplicates_and_ties_in_both_directions(device: str) -> None:
    images, texts, image_of_text = hard_case()
    t2i = Relevant.single(image_of_text)
    brute_force = definition.cross_ranks(images, texts, t2i)
    for chunk, host_values in ((17, cuda.HOST_VALUES), (200, 0)):
        ranked = both_ways(
            device,
            lambda where, chunk=chunk: cross_ranks(images, texts, t2i, chunk=chunk, device=where),
            host_values=host_values,
        )
        assert_same(*ranked)
        for counted, expected in zip(ranked[1], brute_force, strict=True):
            assert_defined(counted, expected)


def check_a_sweep_of_dimensions(device: str) -> None:
    rng = np.random.default_rng(1)
    images, texts = rng.standard_normal((61, 48)), rng.standard_normal((233, 48))
    images, texts = images.astype(np.float32), texts.astype(np.float32)
    texts[40:60] = texts[40]
    # all of a row's prefix but its last bits are those of another: only float64 tells them apart
    images[5] = images[6] * np.float32(1 + 2.0**-23)
    t2i = Relevant.single(rng.permutation(np.arange(233) % 61))
    expected, counted = both_ways(
        device, lambda where: sweep_cross_ranks(images, texts, t2i, [1, 7, 32, 48], device=where)
    )
    for dim, both in expected.items():
        assert_same(both, counted[dim])
        brute_force = definition.cross_ranks(truncate(images, dim), truncate(texts, dim), t2i)
        for ranked, defined in zip(counted[dim], brute_force, strict=True):
            assert_defined(ranked, defined)


def check_fewer_bits(device: str) -> None:
    """int8 and binary scores are whole numbers: every level has ties."""
    rng = np.random.default_rng(2)
    images, texts = random_rows(40, 24, 3), random_rows(130, 24, 4)
    t2i = Relevant.single(rng.permutation(np.arange(130) % 40))
    precisions = ["float16", "int8", "binary", "binary+rescore10"]
    expected, counted = both_ways(
        device, lambda where: ranks_at(images, texts, t2i, [8, 24], precisions, device=where)
    )
    assert expected[8, "binary"].t2i.tied.mean() > 1
    for key, both in expected.items():
        assert_same(both, counted[key])


def check_collapsed_rows(device: str) -> None:
    """All rows are one, or within a few last bits of one: every call is close."""
    rng = np.random.default_rng(3)
    row = random_rows(1, 40, 5)
    noise = 1 + rng.integers(-2, 3, (300, 40)).astype(np.float32) * np.float32(2.0**-23)
    for docs in (np.repeat(row, 300, axis=0), row * noise):
        queries = docs[:50].copy()
        t2i = Relevant.single(np.arange(300) % 50)
        for host_values in (2**12, 2**30):  # multiplied again on the device, and by pairs
            ranked = both_ways(
                device,
                lambda where, queries=queries, docs=docs, t2i=t2i: cross_ranks(
                    queries, docs, t2i, device=where
                ),
                host_values=host_values,
            )
            assert_same(*ranked)


def check_several_relevant_documents(device: str) -> None:
    """From one to thirty for a query, so that most levels are past the tenth place."""
    rng = np.random.default_rng(4)
    queries, docs = random_rows(37, 16, 6), random_rows(211, 16, 7)
    docs[100:120] = docs[100]
    pairs = [
        [query, doc]
        for query in range(37)
        for doc in rng.choice(211, size=1 + query % 30, replace=False)
    ]
    relevant = Relevant.from_pairs(np.array(pairs), 37)
    expected, counted = both_ways(
        device, lambda where: ranks(queries, docs, relevant, device=where)
    )
    assert same(expected, counted)
    gains = rng.integers(1, 4, len(pairs)).astype(float)

    def all_places(where: str) -> Places:
        return places(queries, docs, relevant, gains, device=where)

    before, after = both_ways(device, all_places)
    for name, values in vars(before).items():
        assert np.array_equal(values, getattr(after, name)), name


def check_a_gallery_read_block_by_block(device: str) -> None:
    """The tallies of a block start from what the blocks before have given."""
    queries, docs = random_rows(30, 20, 8), random_rows(150, 20, 9)
    docs[60:80] = docs[60]
    relevant = Relevant.single(np.arange(30) * 5)

    def streamed(where: str) -> dict:
        gallery = lambda: blocks_of(docs, 40)  # noqa: E731
        kinds = ("float32", "binary")
        return streamed_ranks(queries, gallery, relevant, [8, 20], kinds, device=where)

    expected, counted = both_ways(device, streamed)
    for key, ranked in expected.items():
        assert same(ranked, counted[key]), key


def check_the_best_documents(device: str) -> None:
    """Of rows with many equal scores, zeros of both signs and few values; in blocks of all sizes."""
    rng = np.random.default_rng(10)
    for n_docs, block, k in ((1, 1, 1), (40, 7, 3), (1000, 300, 100), (700, 64, 200), (50, 16, 99)):
        queries = rng.integers(-2, 3, (19, 3)).astype(np.float32)
        docs = rng.integers(-2, 3, (n_docs, 3)).astype(np.float32) * rng.choice([1, -0.5])
        docs = docs.astype(np.float32)
        scores = queries @ docs.T  # whole numbers and halves: exact
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        with patch.object(search, "best_docs", KernelBestDocs), one_thread():
            hits = next(top_k(queries, docs, k, chunk=30, block=block, device=device))
        assert hits.docs.tolist() == best.tolist(), (n_docs, block, k)
        assert np.array_equal(hits.scores, np.take_along_axis(scores, best, axis=1))


def check_the_best_documents_where_bars_rise_late(device: str) -> None:
    """Rows fill at different times: scores rise throughout, fall throughout, or rise in places."""
    rng = np.random.default_rng(11)
    scores = rng.integers(0, 50, (6, 900)).astype(np.float32)
    scores[0].sort()
    scores[1] = np.sort(scores[1])[::-1]
    for query in range(2, 6):
        for first in rng.choice(800, 4, replace=False):
            part = slice(first, first + 100)
            scores[query, part] = 50 + first + np.sort(scores[query, part])
    best = KernelBestDocs(6, 5, block=40, device=device)
    for first in range(0, 900, 40):
        best.add(torch.from_numpy(scores[:, first : first + 40].copy()).to(device), first)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    assert best.hits(0).docs.tolist() == expected.tolist()


def check_minus_zero_ties_with_zero(device: str) -> None:
    """Of equal scores the first documents are the best."""
    best = KernelBestDocs(1, 3, block=2, device=device)
    for first, pair in enumerate(([-0.0, 0.0], [-1.0, 0.0])):
        best.add(torch.tensor([pair], device=device), 2 * first)
    assert best.hits(0).docs.tolist() == [[0, 1, 3]]


CHECKS: dict[str, Callable[[str], None]] = {
    name.removeprefix("check_"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}


def main() -> None:
    """Run all checks on this CPU."""
    faults = {}
    for name, check in CHECKS.items():
        try:
            check("cpu")
            faults[name] = ""
        except Exception:
            faults[name] = traceback.format_exc()
    print(json.dumps(faults))


if __name__ == "__main__":
    main()
