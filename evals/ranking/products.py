"""Dot products of queries and documents: float32 for whole blocks, float64 for single pairs.

The block product is faster than `queries @ docs.T` on a CPU because oneDNN is called directly, and
is never less exact because TF32 and bfloat16 are switched off around it. benchmarks.recall times it
beside a bare torch.mm.

Shapes: q queries, n documents, d dimensions, c queries and b documents of a block, pairs of a query
and a document.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from evals.embeddings.threads import over_rows, row_blocks
from evals.ranking.shapes import PairFloats, Pairs

if TYPE_CHECKING:
    import torch

BLOCK_MULTIPLE = 256  # documents: on a CPU a block is filled up to a multiple of them


def block_products(queries: "torch.Tensor", docs: "torch.Tensor") -> "torch.Tensor":
    """The float32 dot products `c b` of a block, on the device where its rows lie."""
    import torch

    if queries.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return torch.mm(queries, docs.T)
    # torch.mm would take MKL, which is slower than oneDNN here
    products: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        queries, padded(docs), None, "none", [], "none"
    )
    return products[:, : len(docs)]


def padded(docs: "torch.Tensor") -> "torch.Tensor":
    """The documents of a block, on a CPU with rows of zeros up to a multiple of BLOCK_MULTIPLE."""
    import torch

    # oneDNN compiles and keeps a kernel for every shape that it meets
    missing = -len(docs) % BLOCK_MULTIPLE if docs.device.type == "cpu" else 0
    return torch.nn.functional.pad(docs, (0, 0, 0, missing)) if missing else docs


@contextmanager
def full_float32() -> Iterator[None]:
    """Matmuls without TF32 or bfloat16, whatever the process has set."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def as_tensor(values: np.ndarray, device: "str | torch.device" = "cpu") -> "torch.Tensor":
    """The same values as a tensor on the device."""
    import torch

    # torch takes no read-only memory, as memory maps often are: that is copied
    return torch.from_numpy(np.require(values, requirements=["C", "W"])).to(device)


def pair_scores(
    queries: np.ndarray,
    docs: np.ndarray,
    pair_queries: Pairs,
    pair_docs: Pairs,
) -> PairFloats:
    """The float64 dot products of pairs: a float32 row of `queries` and one of `docs` each."""
    scores = np.empty(len(pair_queries))
    for part in row_blocks(len(pair_queries), queries.shape[1]):
        products = queries[pair_queries[part]].astype(np.float64)
        products *= docs[pair_docs[part]]
        scores[part] = products.sum(axis=1)
    return scores


def many_pair_scores(
    queries: np.ndarray,
    docs: np.ndarray,
    pair_queries: Pairs,
    pair_docs: Pairs,
) -> PairFloats:
    """`pair_scores`, in threads."""
    scores = np.empty(len(pair_queries))

    def fill(part: slice) -> None:
        scores[part] = pair_scores(queries, docs, pair_queries[part], pair_docs[part])

    over_rows(fill, len(scores), queries.shape[1])
    return scores
