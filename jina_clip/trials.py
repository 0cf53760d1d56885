"""Tries a kernel before it is used: on a small input, against plain torch in float32.

A kernel that is installed may not import, not compile, not run on this card, or be used wrongly by
us, where its package has changed. What is refused has its reason, and the plain way goes on.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from jina_clip.budget import out_of_memory

# The exponential of a card is off in several last bits of float32; what is wrong is so by far more.
FLOAT32 = 1e-5


def fault_of(
    compute: Callable[[], Tensor], plain: Tensor, dtype: torch.dtype, *, steps: float
) -> str | None:
    """What is wrong with a kernel whose result should be `plain`; None when roundings explain all.

    Both are [..., k]: rows, each compared as a whole. `plain` is float32 on the CPU. A row may be
    off by a share of its length: `steps` of the `dtype` at 1 (2^-7 for bfloat16, 2^-10 for
    float16), in which the kernel rounds. What is raised for a lack of memory goes on: a full card
    says nothing of the kernel.
    """
    try:
        rows = compute().float().cpu()
    except Exception as error:  # a compiler, a driver, a package: each has errors of its own
        if out_of_memory(error):
            raise
        return f"on a small input it fails: {type(error).__name__}: {error}"
    if rows.shape != plain.shape:
        shapes = f"{tuple(rows.shape)}, not {tuple(plain.shape)}"
        return f"on a small input it gives values of the shape {shapes}"
    if not rows.isfinite().all():
        return "on a small input it gives numbers that are not finite"
    off = float(((rows - plain).norm(dim=-1) / plain.norm(dim=-1)).max())
    allowed = steps * torch.finfo(dtype).eps + FLOAT32
    if off > allowed:
        return (
            f"on a small input its numbers are not those of plain torch: off by {off:.2g} of a "
            f"row, where roundings explain {allowed:.2g}"
        )
    return None
