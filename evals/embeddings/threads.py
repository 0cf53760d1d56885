"""Work on the rows of arrays in threads: numpy and torch let others run while they compute."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
THREADS = 16  # at most: each holds a block of its own
# Rows of 1,024 values that one thread takes at once, of narrower ones more: 512 KiB of float32 or
# 1 MiB of float64, which fit into the cache of a core.
ROW_BLOCK = 128
FEW_PARTS = 8  # one thread does them before others have started


def row_blocks(n: int, width: int) -> list[slice]:
    """Slices of n rows with so many values each, that fit into the cache."""
    size = ROW_BLOCK * max(1, 1024 // max(width, 1))
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def over_rows(work: Callable[[slice], None], n: int, width: int) -> None:
    """Do `work` for all of n rows of so many values, some at a time, in threads."""
    parts = row_blocks(n, width)
    threads = min(THREADS, os.cpu_count() or 1)
    # Starting threads would take longer than a few parts.
    in_threads(work, parts, threads if len(parts) > FEW_PARTS else 1)


def in_threads(work: Callable[[T], None], parts: Sequence[T], threads: int) -> None:
    """Do `work` for every part and raise what it raised; a single thread is the caller's own."""
    if min(threads, len(parts)) <= 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        # Asked for one by one: what a part raised is raised here, and not lost with its thread.
        for _ in pool.map(work, parts):
            pass


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Torch's operations take one thread each.

    Gives the number of threads that they may take otherwise.
    """
    import torch

    threads = torch.get_num_threads()
    # Of the process, hence put back: the encoder that runs next wants them all.
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
