"""Dot products of queries and documents: float32 for all pairs of a block, float64 for single pairs.

Shapes: q queries, n documents, d dimensions, c queries and b documents of a block, pairs of a query and a document.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from evals.embeddings.threads import row_blocks

if TYPE_CHECKING:
    import torch

BLOCK_MULTIPLE = 256  # documents of a block: a multiple of it on a CPU


def products(queries: "torch.Tensor", docs: "torch.Tensor") -> "torch.Tensor":
    """Float32 dot products `c b`: on a CPU by oneDNN, where torch.mm would take MKL, which is slower."""
    import torch

    if queries.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return torch.mm(queries, docs.T)
    scores: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        queries, padded(docs), None, "none", [], "none"
    )
    return scores[:, : len(docs)]


def padded(docs: "torch.Tensor") -> "torch.Tensor":
    """On a CPU zero rows up to a multiple of BLOCK_MULTIPLE: oneDNN compiles and keeps a kernel for every shape that it meets."""
    import torch

    missing = -len(docs) % BLOCK_MULTIPLE if docs.device.type == "cpu" else 0
    return torch.nn.functional.pad(docs, (0, 0, 0, missing)) if missing else docs


@contextmanager
def full_float32() -> Iterator[None]:
    """Matmuls without TF32 or bfloat16, whatever the process has set: scores are float32 wherever they are compared."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def as_tensor(device: "str | torch.device", values: np.ndarray) -> "torch.Tensor":
    """The same values as a tensor on the device; torch takes no read-only memory."""
    import torch

    return torch.from_numpy(np.require(values, requirements=["C", "W"])).to(device)


def pair_scores(
    queries: np.ndarray, docs: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> Float64[np.ndarray, "pairs"]:
    """Float64 dot products of pairs of float32 rows."""
    out = np.empty(len(rows))
    for part in row_blocks(len(rows), queries.shape[1]):
        products = queries[rows[part]].astype(np.float64)
        products *= docs[cols[part]]
        out[part] = products.sum(axis=1)
    return out
