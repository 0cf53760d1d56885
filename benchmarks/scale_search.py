"""Ranks of queries over a gallery on disk, by three ways that are timed by `benchmarks.scale`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

DIM, K = 256, 10
BLOCK = 1 << 16


def write_gallery(file: Path, n_queries: int, n_docs: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows on disk, and queries near some of them; the place of each query's document."""
    rng = np.random.default_rng(0)
    rows = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(n_docs, DIM))
    for start in range(0, n_docs, BLOCK):
        block = rng.standard_normal((min(BLOCK, n_docs - start), DIM), dtype=np.float32)
        rows[start : start + BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    rows.flush()
    answers = np.sort(rng.choice(n_docs, n_queries, replace=False))
    noise = rng.standard_normal((n_queries, DIM), dtype=np.float32)
    # Neither all nor none of the documents are among the first ten.
    queries = rows[answers] + noise * np.float32(0.22)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True), answers


def blocks(docs: np.ndarray) -> Iterator[np.ndarray]:
    """The gallery, read once."""
    from evals.ranking.streamed import blocks_of

    yield from blocks_of(docs)


def products(queries: np.ndarray, docs: np.ndarray) -> float:
    """Every score once, some queries at a time, into memory that is there."""
    import torch

    size = 1024
    memory = torch.empty(size, BLOCK)
    for block in blocks(docs):
        transposed = torch.from_numpy(np.array(block)).T
        for start in range(0, len(queries), size):
            some = torch.from_numpy(queries[start : start + size])
            torch.mm(some, transposed, out=memory[: len(some), : len(block)])
    return float(memory[0, 0])


def ranked(queries: np.ndarray, docs: np.ndarray, answers: np.ndarray) -> float:
    """R@10 by ranks, which nobody else gives: how many documents are better than the answer."""
    from evals.ranking.metrics import hit_at, mean
    from evals.ranking.relevance import Relevant
    from evals.ranking.streamed import streamed_ranks

    relevant = Relevant.single(answers)
    ranks = streamed_ranks(queries, lambda: blocks(docs), relevant, [DIM])
    return mean(hit_at(ranks[DIM, "float32"], K))


def by_faiss(queries: np.ndarray, docs: np.ndarray, answers: np.ndarray) -> float:
    """R@10 by the ten best documents of an index that holds all rows in memory."""
    import faiss

    index = faiss.IndexFlatIP(DIM)
    for block in blocks(docs):
        index.add(np.array(block))
    _, best = index.search(queries, K)
    return float((best == answers[:, None]).any(axis=1).mean())
