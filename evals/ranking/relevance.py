"""Which documents are relevant to each query: what TREC calls qrels, without grades.

Shapes: q queries, pairs of a query and a document relevant to it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64


@dataclass(frozen=True)
class Relevant:
    """The documents relevant to each query, one or more: those of query i are `docs[indptr[i]:indptr[i + 1]]`."""

    indptr: Int[np.ndarray, "bounds"]
    docs: Int[np.ndarray, "pairs"]

    def __post_init__(self) -> None:
        if len(self.indptr) == 0 or self.indptr[0] != 0 or self.indptr[-1] != len(self.docs):
            raise ValueError(f"indptr must run from 0 to the {len(self.docs)} relevant documents")
        if (empty := np.flatnonzero(self.counts < 1)).size:
            raise ValueError(f"query {empty[0]} has no relevant document")
        order = np.lexsort((self.docs, self.queries))
        queries, docs = self.queries[order], self.docs[order]
        if (twice := np.flatnonzero((np.diff(queries) == 0) & (np.diff(docs) == 0))).size:
            raise ValueError(f"query {queries[twice[0]]} has document {docs[twice[0]]} twice")

    @property
    def counts(self) -> Int64[np.ndarray, "q"]:
        """How many documents are relevant to each query."""
        return np.diff(self.indptr).astype(np.int64)

    @property
    def queries(self) -> Int64[np.ndarray, "pairs"]:
        """The query of each pair; the pairs are in the order of the queries."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def docs_of(self, query: int) -> Int[np.ndarray, "_"]:
        """The documents relevant to a query."""
        return self.docs[self.indptr[query] : self.indptr[query + 1]]

    @staticmethod
    def one_of(image_of_text: Int[np.ndarray, "texts"]) -> "Relevant":
        """Texts are the queries: each has the one image that it describes."""
        return Relevant(np.arange(len(image_of_text) + 1), image_of_text)

    @staticmethod
    def of_pairs(pairs: Int[np.ndarray, "pairs 2"], n_queries: int) -> "Relevant":
        """From pairs of a query and a document, in any order. Raises ValueError for a query without any."""
        counts = np.bincount(pairs[:, 0], minlength=n_queries)
        return Relevant(
            np.concatenate([[0], np.cumsum(counts)]),
            pairs[np.argsort(pairs[:, 0], kind="stable"), 1],
        )

    def inverse(self, n_docs: int) -> "Relevant":
        """From texts that look for images to images that look for texts. Raises ValueError for an image without any."""
        counts = np.bincount(self.docs, minlength=n_docs)
        if len(counts) > n_docs:
            raise ValueError(
                f"a text describes image {len(counts) - 1}, but there are {n_docs} images"
            )
        if (empty := np.flatnonzero(counts == 0)).size:
            raise ValueError(f"image {empty[0]} has no text")
        return Relevant(
            np.concatenate([[0], np.cumsum(counts)]),
            self.queries[np.argsort(self.docs, kind="stable")],
        )
