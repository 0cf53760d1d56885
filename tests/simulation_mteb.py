"""Simulated tasks of mteb whose queries share documents: how often intervals from clusters cover.

It is a part of `python -m tests.simulation`.

A query's margin is the sum of what its relevant documents share (a normal effect of each, of which
the query has the mean, blown up to unit variance) and of its own, half of the variance each. So
queries that share a document stand or fall together, those of a chain of documents less so. From
the judgements alone evals.stats.clusters finds which queries those are, as in a record.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from evals.stats.clusters import query_clusters
from evals.stats.intervals import mean_intervals
from tests.simulation import BATCH, caption_ndcg, holds

Judgements = list[list[int]]  # the relevant documents of each query


class Design(NamedTuple):
    """A kind of retrieval task, and its judgements by a generator of random numbers."""

    name: str
    judgements: Callable[[np.random.Generator], Judgements]


class Coverage(NamedTuple):
    """The clusters of the judgements, and how often intervals hold each true mean.

    `clustered` is None where all queries hang together, and there is no interval. `independent`
    takes each query for a cluster of its own.
    """

    clusters: int
    clustered: list[float] | None
    independent: list[float]


def one_each(rng: np.random.Generator) -> Judgements:
    return [[query] for query in range(300)]


def captions(rng: np.random.Generator) -> Judgements:
    """As the tasks of MIEB that search images by their five captions."""
    return [[query // 5] for query in range(1500)]


def uneven(rng: np.random.Generator) -> Judgements:
    """Documents that one to twelve queries search."""
    sizes = rng.integers(1, 13, 150)
    return [[doc] for doc in np.repeat(np.arange(150), sizes)]


def chains(rng: np.random.Generator) -> Judgements:
    """One to three neighbours of 2,000 documents, so that queries hang together by way of others."""
    first = rng.integers(0, 2000, 600)
    return [list(range(doc, doc + rng.integers(1, 4))) for doc in first]


def entangled(rng: np.random.Generator) -> Judgements:
    """As NFCorpus: 323 queries, and of 3,633 documents 38 are relevant to each."""
    return [rng.choice(3633, 38, replace=False).tolist() for _ in range(323)]


DESIGNS = (
    Design("a document for each of 300 queries", one_each),
    Design("300 documents with 5 queries each", captions),
    Design("150 documents with 1 to 12 queries", uneven),
    Design("600 queries of 1 to 3 neighbours", chains),
    Design("323 queries of 38 of 3,633 documents", entangled),
)


def margins(rng: np.random.Generator, judgements: Judgements, runs: int) -> np.ndarray:
    """Standard normal margins of each query, runs x queries, of which its documents have half."""
    documents = 1 + max(max(docs) for docs in judgements)
    weight = np.zeros((documents, len(judgements)))
    for query, docs in enumerate(judgements):
        weight[docs, query] = len(docs) ** -0.5
    of_documents = rng.standard_normal((runs, documents)) @ weight
    return (of_documents + rng.standard_normal(of_documents.shape)) / 2**0.5


def coverage(design: Design, shares: Sequence[float], runs: int) -> Coverage:
    """How often the interval of a mean nDCG@10 holds the true one, for each."""
    rng = np.random.default_rng(0)
    judgements = design.judgements(rng)
    clusters, alone = query_clusters(judgements), np.arange(len(judgements))
    covered = np.zeros((2, len(shares)))
    for start in range(0, runs, BATCH):
        margin = margins(rng, judgements, min(BATCH, runs - start))
        for place, share in enumerate(shares):
            columns = dict(enumerate(caption_ndcg(margin, share)))
            for way, groups in enumerate((clusters, alone)):
                intervals = mean_intervals(columns, groups).values()
                covered[way, place] += sum(holds(interval, share) for interval in intervals)
    clustered, independent = (covered / runs).tolist()
    number = len(np.unique(clusters))
    return Coverage(number, clustered if number > 1 else None, independent)


def row(design: Design, shares: Sequence[float], runs: int) -> list[str | float]:
    """A line of the table."""
    result = coverage(design, shares, runs)
    clustered = result.clustered or ["none"] * len(shares)
    return [design.name, f"{result.clusters:,}", *clustered, *result.independent]
