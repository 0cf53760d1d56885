"""Nearest-neighbour indexes of faiss and usearch behind one protocol: built from rows, searched by rows.

Rows are unit rows of one width, and scores dot products. Both libraries are the extra `index`.

Shapes: q queries, n documents, d dimensions, k documents of a query.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

from evals.analysis.index_cards import Card, Home, Memory
from evals.config.indexes import CUDA, IndexRow
from evals.schema import ConfigError, MissingError

HOMES: dict[str, Callable[[Any], Home]] = {"cpu": Memory, CUDA: Card}
Queries = Float32[np.ndarray, "q d"]
Docs = Float32[np.ndarray, "n d"]
Places = Int64[np.ndarray, "q k"]

ENOUGH_FOR_BYTES = 256  # documents from which 256 centroids can be learnt
PART = 4  # dimensions of a part of a product quantiser
CONNECTIVITY, EXPANSION_ADD = 16, 128  # of usearch: its own defaults, stated
CHUNK = 1024  # queries whose candidates are rescored at once


@runtime_checkable
class Engine(Protocol):
    """An index that was built."""

    def nbytes(self, value: int | None) -> int:
        """What it takes as a file, with the rows that a search with this value needs."""
        ...

    def search(self, queries: Queries, k: int, value: int | None) -> Places:
        """The k best documents of each query by its own judgement, -1 where it has no more."""
        ...


def build(row: IndexRow, docs: Docs, *, threads: int) -> Engine:
    """Build the index of a row. MissingError without its library, ConfigError for what it refuses."""
    return ENGINES[row.library](row, docs, threads)


def import_faiss(threads: int) -> Any:
    """faiss with so many threads. MissingError when it is not installed."""
    try:
        import faiss
    except ImportError:
        raise MissingError(
            "faiss is not installed. Run: pip install 'jina-clip-evals[index]'."
        ) from None
    faiss.omp_set_num_threads(threads)
    return faiss


class FaissIndex:
    """What faiss's index_factory makes of a string."""

    def __init__(self, row: IndexRow, docs: Docs, threads: int) -> None:
        self._faiss = import_faiss(threads)
        self._home: Home = HOMES[row.device](self._faiss)
        self._parameter = row.parameter
        text = (row.build or "").format(
            lists=max(1, round(len(docs) ** 0.5)),
            parts=parts_of(docs.shape[1], self._home.parts),
            bits=8 if len(docs) >= ENOUGH_FOR_BYTES else self._home.fewest_bits,
        )
        try:
            empty = self._faiss.index_factory(docs.shape[1], text, self._faiss.METRIC_INNER_PRODUCT)
            self._index = self._home.moved(empty)
            _learn_from_few(self._faiss, self._index)
            self._index.train(docs)
            self._index.add(docs)
        except RuntimeError as error:
            raise ConfigError(
                f"{row.name}: faiss refuses {text} for {len(docs):,} documents: {_short(error)}. "
                f"Leave {row.name} out, with the others in --only, or index more documents."
            ) from None

    def nbytes(self, value: int | None) -> int:
        """The length of what faiss would write."""
        return int(self._faiss.serialize_index(self._home.in_memory(self._index)).nbytes)

    def search(self, queries: Queries, k: int, value: int | None) -> Places:
        """As the protocol says."""
        if value is not None:
            self._home.parameters().set_index_parameter(self._index, self._parameter, value)
        places: Places = self._index.search(queries, k)[1]
        return places


class BinaryIndex:
    """A bit per dimension, by Hamming distance; the float32 rows rank the candidates again."""

    def __init__(self, row: IndexRow, docs: Docs, threads: int) -> None:
        faiss = import_faiss(threads)
        self._docs = docs
        bits = as_bits(docs)
        self._index = faiss.IndexBinaryFlat(8 * bits.shape[1])
        self._index.add(bits)
        self._bits = int(bits.nbytes)

    def nbytes(self, value: int | None) -> int:
        """The bits, and for rescoring the float32 rows, too."""
        return self._bits + (self._docs.nbytes if value else 0)

    def search(self, queries: Queries, k: int, value: int | None) -> Places:
        """As the protocol says; of candidates of equal scores the earlier one in Hamming order."""
        candidates = min(max(k, value or 0), len(self._docs))
        places = self._index.search(as_bits(queries), candidates)[1]
        if not value:
            return np.asarray(places[:, :k], dtype=np.int64)
        best = []
        for start in range(0, len(queries), CHUNK):
            part = slice(start, start + CHUNK)
            rows = self._docs[places[part]]
            scores = np.einsum("qcd,qd->qc", rows, queries[part])
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            best.append(np.take_along_axis(places[part], order, axis=1))
        return np.concatenate(best).astype(np.int64)


class UsearchIndex:
    """A graph of usearch, over vectors of one of its types: f32, f16, i8 or b1."""

    def __init__(self, row: IndexRow, docs: Docs, threads: int) -> None:
        try:
            from usearch.index import Index
        except ImportError:
            raise MissingError(
                "usearch is not installed. Run: pip install 'jina-clip-evals[index]'."
            ) from None
        self._threads = threads
        self._binary = row.build == "b1"
        self._index = Index(
            ndim=8 * as_bits(docs).shape[1] if self._binary else docs.shape[1],
            metric="hamming" if self._binary else "ip",
            dtype=row.build or "f32",
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION_ADD,
        )
        self._index.add(np.arange(len(docs)), self._rows(docs), threads=threads)

    def nbytes(self, value: int | None) -> int:
        """The length of what usearch would write."""
        return int(self._index.serialized_length)

    def search(self, queries: Queries, k: int, value: int | None) -> Places:
        """As the protocol says."""
        if value is not None:
            # Its stub declares no setter, and there is one.
            self._index.expansion_search = max(value, k)  # type: ignore[misc]
        matches = self._index.search(self._rows(queries), k, threads=self._threads)
        return np.asarray(matches.keys, dtype=np.int64).reshape(len(queries), -1)

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        return as_bits(rows) if self._binary else rows


ENGINES: dict[str, Callable[[IndexRow, np.ndarray, int], Engine]] = {
    "faiss": FaissIndex,
    "binary": BinaryIndex,
    "usearch": UsearchIndex,
}


def as_bits(rows: Float32[np.ndarray, "m d"]) -> np.ndarray:
    """A bit per value, 1 above 0, in whole bytes: as the precision `binary` of sweeps."""
    return np.packbits(rows > 0, axis=1)


def parts_of(dim: int, known: Sequence[int] | None = None) -> int:
    """How many parts a product quantiser cuts a vector into: a divisor of its width, of those known."""
    most = max(1, dim // PART)
    numbers = known or range(1, most + 1)
    return max(parts for parts in numbers if parts <= most and dim % parts == 0)


def _learn_from_few(faiss: Any, index: Any) -> None:
    """Let centroids be learnt from as many documents as there are, without a warning for each."""
    # faiss warns below 39 points per centroid: a benchmark's gallery is what it is.
    inner = faiss.downcast_index(index)
    for holder in (inner, getattr(inner, "pq", None)):
        clustering = getattr(holder, "cp", None)
        if clustering is not None:
            clustering.min_points_per_centroid = 1


def _short(error: RuntimeError) -> str:
    return str(error).rpartition("Error: ")[2].split("\n")[0]
