"""How much work a pass through a tower may hold: less when memory runs out, more again later.

Costs are what a pass allocates, padding included, in tokens or in images.
"""

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

log = logging.getLogger(__name__)
T = TypeVar("T")
# Full passes in a row that must fit before a larger one is tried. Each attempt that fails costs a
# pass, so the number doubles with it.
PATIENCE = 8


class ItemTooLargeError(torch.OutOfMemoryError):
    """One item does not fit in memory, even alone; `position` is its place among the items."""

    def __init__(self, position: int, cost: int, unit: str) -> None:
        super().__init__(
            f"out of memory: item {position} does not fit even alone, in a pass of {cost} {unit}"
        )
        self.position, self.cost, self.unit = position, cost, unit


@dataclass
class Budget:
    """What one pass may cost, in tokens of texts or in images.

    `size` is what it may cost now, `limit` what was asked for, `used` the distinct sizes it had.
    """

    size: int
    unit: str
    used: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a pass needs at least 1 of {self.unit}, not {self.size}")
        self.limit = self.size
        self._patience, self._full_passes, self._grown = PATIENCE, 0, False
        self._note()

    def halve(self, spent: int) -> None:
        """To half of what a pass just cost in vain."""
        if self._grown:
            self._patience *= 2
        self._full_passes, self._grown = 0, False
        self.size = max(1, min(self.size, spent) // 2)
        self._note()
        log.warning("out of memory at %d %s a pass; going on with %d", spent, self.unit, self.size)

    def fitted(self, spent: int) -> None:
        """A pass of this cost fitted; after enough full ones the next may cost twice as much."""
        # A pass that is less than half full says nothing about a larger one.
        if self.size == self.limit or 2 * spent <= self.size:
            return
        self._full_passes += 1
        if self._full_passes < self._patience:
            return
        self._full_passes, self._grown = 0, True
        self.size = min(self.limit, 2 * self.size)
        self._note()
        log.info("trying passes of %d %s again", self.size, self.unit)

    def _note(self) -> None:
        if self.size not in self.used:
            self.used.append(self.size)


def passes(
    costs: Sequence[int],
    budget: Budget,
    run: Callable[[slice], T],
    *,
    most: int | None = None,
    padded: Callable[[int], int] = lambda cost: cost,
    too_large: Callable[[int], object] | None = None,
) -> Iterator[tuple[slice, T]]:
    """`run` on consecutive units within the budget, `most` at a time: each part, and what it gave.

    `padded` says what a pass of a cost allocates, where `run` fills it up. When memory runs out the
    budget is halved from that, for later calls too, and the same units go again; what is finished
    is kept. Later the budget comes back up. One unit goes whatever it costs. One that fails alone
    is handed to `too_large` by its index and left out; without it ItemTooLargeError is raised.
    Where it is not torch's allocator that lacks memory, the unit goes once more, and then
    torch.OutOfMemoryError is raised: its size is not to blame.
    """
    # Costs 5 4 3 9 and a budget of 12: the parts are 5 4 3 and 9.
    start, tried_again = 0, -1
    while start < len(costs):
        stop = fill(costs, start, budget.size)
        part = slice(start, min(stop, start + most) if most else stop)
        cost = sum(costs[part])
        spent = padded(cost)
        failure, beside = "", False
        try:
            done = run(part)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            failure, beside = str(error) or type(error).__name__, beside_allocator(error)
        if not failure:
            yield part, done
            budget.fitted(spent)
            start = part.stop
            continue
        # Outside of the handler, whose traceback keeps the tensors of the pass alive.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if part.stop - start > 1 or spent > cost:
            budget.halve(spent)
        elif too_large is not None:
            too_large(start)
            start = part.stop
        elif not beside:
            log.warning("%s", failure)
            raise ItemTooLargeError(start, cost, budget.unit)
        elif tried_again != start:
            # torch kept blocks that it did not use, and has let go of them: its allocator would have
            # done so before it failed.
            tried_again = start
        else:
            raise torch.OutOfMemoryError(
                f"out of memory beside torch's allocator, also in a pass of one item: {failure}"
            )


@contextmanager
def counted_from(first: int) -> Iterator[None]:
    """The position in an ItemTooLargeError, where the items at hand are the `first`th and later."""
    try:
        yield
    except ItemTooLargeError as error:
        raise ItemTooLargeError(first + error.position, error.cost, error.unit) from error


def fill(costs: Sequence[int], start: int, budget: int) -> int:
    """Where a pass from `start` ends that costs at most `budget`; one unit always goes."""
    stop, spent = start + 1, costs[start]
    while stop < len(costs) and spent + costs[stop] <= budget:
        spent += costs[stop]
        stop += 1
    return stop


# What is raised as a RuntimeError where memory runs out beside torch's allocator, which has a type
# of its own for it: in a call of CUDA, where Triton loads a kernel, in cuBLAS and cuDNN.
BESIDE_ALLOCATOR = (
    "CUDA error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
# torch's allocator on a CPU
NO_HOST_MEMORY = "can't allocate memory"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says so, by its type or by its message."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    by_message = isinstance(error, RuntimeError) and NO_HOST_MEMORY in str(error)
    return by_message or beside_allocator(error)


def beside_allocator(error: BaseException) -> bool:
    """Whether memory ran out, and it was not torch's allocator that could not give it."""
    if not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError):
        return False
    return any(part in str(error) for part in BESIDE_ALLOCATOR)
