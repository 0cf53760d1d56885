"""Whether Triton's kernels may be used on a card: each module of them is tried once on a small input."""

import importlib
import logging
from functools import cache
from typing import NamedTuple

log = logging.getLogger(__name__)


class Kernels(NamedTuple):
    """A module of kernels, whose `try_kernels(device)` raises what is wrong, and what goes on without."""

    module: str
    otherwise: str


COUNTING = Kernels("evals.ranking.kernel", "counted in groups")
SEARCHING = Kernels("evals.ranking.search_kernel", "searched by torch's operations")


@cache
def kernel_fault(kernels: Kernels, device: str) -> str | None:
    """Why the kernels do not run on a card, which a warning says once; None when they do."""
    fault = None
    try:
        importlib.import_module(kernels.module).try_kernels(device)
    except Exception as error:  # a compiler, a driver, a package: each has errors of its own
        fault = f"{type(error).__name__}: {error}"
        log.warning(
            "scores on %s are %s, which is slower and gives the same results, since Triton's "
            "kernels fail on a small input: %s",
            device,
            kernels.otherwise,
            fault,
        )
    return fault
