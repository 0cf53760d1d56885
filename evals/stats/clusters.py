"""Which queries vary together: those that share relevant documents, directly or by way of others.

The five captions of one image stand or fall with that image's embedding. Intervals and tests that
took them as five independent queries would be too narrow, so `evals.stats.bootstrap` draws whole
clusters. A cluster is a connected component of the relevance judgements, in which queries and their
relevant documents are the nodes.
"""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from jaxtyping import Int, Int64


def query_clusters(relevant: Sequence[Iterable[Hashable]]) -> Int64[np.ndarray, "q"]:
    """For each query the first query of its cluster, from the relevant documents of each query.

    A query that shares none, or has none, is a cluster by itself: its own index.
    """
    first_query: dict[Hashable, int] = {}
    edges = []
    # A document joins its first query with each of the others that it is relevant to.
    for query, docs in enumerate(relevant):
        edges += [(first_query.setdefault(doc, query), query) for doc in docs]
    return components(np.array(edges, dtype=np.int64).reshape(-1, 2), len(relevant))


def components(edges: Int[np.ndarray, "edges 2"], n: int) -> Int64[np.ndarray, "n"]:
    """For each of n nodes the smallest node that it is connected with, by any number of edges."""
    # A forest of disjoint sets (Galler and Fischer 1964): an edge joins the roots of two trees, and
    # each walk to a root halves its path, so that the time is about proportional to the edges.
    parent = list(range(n))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in edges.tolist():
        # The smaller root stays one: in the end it names the component.
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.array([root(node) for node in range(n)], dtype=np.int64)
