"""Where an index of faiss lies: in the machine's memory, or on a CUDA card by faiss's own code for it.

The names are those of faiss's Python module since 1.7: StandardGpuResources, index_cpu_to_gpu,
index_gpu_to_cpu, GpuParameterSpace (https://github.com/facebookresearch/faiss/wiki/Faiss-on-the-GPU).
"""

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

from evals.schema import MissingError

DRIVER = "libcuda.so.1"
FIRST_CARD = 0
# Numbers of parts that the product quantiser's kernels have without float16 tables: more than 48
# parts with float32 tables do not fit the shared memory of a block.
CARD_PARTS = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 48)


class Home(Protocol):
    """Where an index lies and is searched."""

    @property
    def parts(self) -> Sequence[int] | None:
        """How many parts a product quantiser may have; None where any number."""
        ...

    @property
    def fewest_bits(self) -> int:
        """Of each part."""
        ...

    def moved(self, index: Any) -> Any:
        """The index, still empty, where it shall lie."""
        ...

    def in_memory(self, index: Any) -> Any:
        """The index as it can be written."""
        ...

    def parameters(self) -> Any:
        """What sets the parameters of a search."""
        ...


class Memory:
    """The machine's own memory."""

    parts = None
    fewest_bits = 4

    def __init__(self, faiss: Any) -> None:
        self._faiss = faiss

    def moved(self, index: Any) -> Any:
        """The index itself."""
        return index

    def in_memory(self, index: Any) -> Any:
        """The index itself."""
        return index

    def parameters(self) -> Any:
        """As the protocol says."""
        return self._faiss.ParameterSpace()


class Card:
    """The first CUDA card. MissingError without one, or without a faiss that has code for it."""

    parts = CARD_PARTS
    fewest_bits = 8

    def __init__(self, faiss: Any) -> None:
        if not hasattr(faiss, "StandardGpuResources"):
            raise MissingError(
                "Rows with device: cuda need a faiss with code for a GPU, and the one that is "
                "installed has none. Install one in place of faiss-cpu, on a machine with a card: "
                "conda install -c pytorch -c nvidia faiss-gpu."
            )
        if not has_card() or faiss.get_num_gpus() < 1:
            raise MissingError(
                "Rows with device: cuda need a CUDA card, and there is none. Look at nvidia-smi and "
                "CUDA_VISIBLE_DEVICES, or measure where a card is."
            )
        self._faiss = faiss
        # An index on a card uses its memory and streams, and must not outlive them.
        self._resources = faiss.StandardGpuResources()

    def moved(self, index: Any) -> Any:
        """The empty index on the card, so that training and adding take place there."""
        return self._faiss.index_cpu_to_gpu(self._resources, FIRST_CARD, index)

    def in_memory(self, index: Any) -> Any:
        """A copy of it off the card."""
        return self._faiss.index_gpu_to_cpu(index)

    def parameters(self) -> Any:
        """As the protocol says."""
        return self._faiss.GpuParameterSpace()


def has_card() -> bool:
    """Whether CUDA's driver is there and has a card."""
    # faiss must not be the first to ask: its count ends the process where there is no driver.
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return int(driver.cuInit(0)) == 0
