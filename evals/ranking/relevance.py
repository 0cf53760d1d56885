"""Which documents are relevant to each query: TREC's qrels with a single grade.

Shapes: q queries, pairs of a query and a document relevant to it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64

from evals.ranking.shapes import Pairs, QueryCounts


@dataclass(frozen=True)
class Relevant:
    """The documents relevant to each query, one or more.

    Those of query i are `docs[indptr[i] : indptr[i + 1]]`, which is how a sparse matrix in CSR form
    keeps the columns of its rows. Raises ValueError, with the number of the query, for bounds that
    do not fit, a query without relevant documents, and a document that a query has twice.
    """

    indptr: Int[np.ndarray, "bounds"]
    docs: Pairs

    def __post_init__(self) -> None:
        n_pairs = len(self.docs)
        if len(self.indptr) == 0 or self.indptr[0] != 0 or self.indptr[-1] != n_pairs:
            raise ValueError(f"indptr must run from 0 to the {n_pairs} relevant documents")
        # A query without an answer has no rank, and would count as neither hit nor miss.
        without = np.flatnonzero(self.counts < 1)
        if without.size:
            raise ValueError(f"query {without[0]} has no relevant document")
        # sorted by query and document, equal pairs stand beside each other
        order = np.lexsort((self.docs, self.queries))
        queries, docs = self.queries[order], self.docs[order]
        same_query, same_doc = np.diff(queries) == 0, np.diff(docs) == 0
        repeated = np.flatnonzero(same_query & same_doc)
        if repeated.size:
            pair = repeated[0]
            raise ValueError(f"query {queries[pair]} has document {docs[pair]} twice")

    @property
    def counts(self) -> QueryCounts:
        """How many documents are relevant to each query."""
        return np.diff(self.indptr).astype(np.int64)

    @property
    def queries(self) -> Int64[np.ndarray, "pairs"]:
        """The query of each pair; the pairs are in the order of the queries."""
        counts = self.counts
        return np.repeat(np.arange(len(counts)), counts)

    def docs_of(self, query: int) -> Int[np.ndarray, "_"]:
        """The documents relevant to a query."""
        return self.docs[self.indptr[query] : self.indptr[query + 1]]

    def part(self, queries: slice) -> "Relevant":
        """What is relevant to neighbouring queries, which are numbered anew; documents are not."""
        bounds = self.indptr[queries.start : queries.stop + 1]
        return Relevant(bounds - bounds[0], self.docs[bounds[0] : bounds[-1]])

    @staticmethod
    def single(docs: Int[np.ndarray, "q"]) -> "Relevant":
        """From the one document of each query, such as a text's image or an image's class."""
        return Relevant(np.arange(len(docs) + 1), docs)

    @staticmethod
    def from_pairs(pairs: Int[np.ndarray, "pairs 2"], n_queries: int) -> "Relevant":
        """From pairs of a query and a document, in any order.

        Raises ValueError for a query without any.
        """
        counts = np.bincount(pairs[:, 0], minlength=n_queries)
        by_query = np.argsort(pairs[:, 0], kind="stable")
        return Relevant(_bounds(counts), pairs[by_query, 1])

    def inverse(self, n_docs: int) -> "Relevant":
        """From texts that look for images to images that look for texts.

        Raises ValueError for an image without any, and for a text of an image that is not there.
        """
        counts = np.bincount(self.docs, minlength=n_docs)
        if len(counts) > n_docs:
            raise ValueError(
                f"a text describes image {len(counts) - 1}, but there are {n_docs} images"
            )
        without = np.flatnonzero(counts == 0)
        if without.size:
            raise ValueError(f"image {without[0]} has no text")
        return Relevant(_bounds(counts), self.queries[self.by_doc])

    @property
    def by_doc(self) -> Int64[np.ndarray, "pairs"]:
        """The places of the pairs in the order in which `inverse` has them: by document."""
        # stable, so that the texts of an image keep their order
        return np.argsort(self.docs, kind="stable")


def _bounds(counts: Int[np.ndarray, "q"]) -> Int[np.ndarray, "bounds"]:
    return np.concatenate([[0], np.cumsum(counts)])
