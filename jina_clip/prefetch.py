"""Work done ahead of its consumer, in order and in bounded memory; and batches of pixels.

Threads are enough: Pillow decodes and resizes without the GIL, and a thread hands its pixels over
without copying or pickling them. Nothing here holds more than it was told to, however many items
there are.

Shapes: b images of a batch, p pixels a side.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch
from jaxtyping import UInt8
from torch import Tensor

T = TypeVar("T")
R = TypeVar("R")
# A default: eight threads that decode feed most devices, and leave cores for the rest.
WORKERS = min(8, os.cpu_count() or 1)


def prefetch(
    load: Callable[[T], R], items: Iterable[T], *, workers: int = WORKERS, ahead: int
) -> Generator[R, None, None]:
    """`load(item)` of each item, in their order, made by threads while the consumer is busy.

    At most `ahead` results wait or are being made, beside those that the consumer keeps, and as
    many items were taken: `items` may be endless. With an `ahead` of two batches the threads go on
    while the consumer is busy with one. With 0 workers the caller's thread loads each item when it
    is asked for, and `ahead` does nothing.

    What `load` raises is raised at its item's place, after the results before it. Then, or when the
    consumer closes the iterator or lets go of it, what waits is cancelled, what runs is waited for,
    and no thread is left. What `items` raises ends it at once. `load` runs in several threads:
    items must not share what it changes, as a Pillow file not yet loaded. ValueError for fewer than
    0 workers or an `ahead` below 1.
    """
    if workers < 0 or ahead < 1:
        raise ValueError(
            f"prefetch takes at least 0 workers and 1 ahead, not {workers} and {ahead}"
        )
    if workers == 0:
        return (load(item) for item in items)
    return _threaded(load, items, workers, ahead)


def batches(
    pixels: Iterable[UInt8[Tensor, "3 p p"]], size: int, *, pin: bool = False
) -> Generator[UInt8[Tensor, "b 3 p p"], None, None]:
    """Images stacked `size` at a time, the last batch with the rest; channels last in memory.

    `pin=True` (it takes CUDA) puts batches into page-locked memory, so that `batch.to(device,
    non_blocking=True)` overlaps with the GPU's work. ValueError for a size below 1; RuntimeError
    when images differ in size.
    """
    if size < 1:
        raise ValueError(f"a batch holds at least 1 image, not {size}")
    return _stacked(iter(pixels), size, pin)


def _threaded(
    load: Callable[[T], R], items: Iterable[T], workers: int, ahead: int
) -> Generator[R, None, None]:
    source = iter(items)
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    try:
        while True:
            pending.extend(pool.submit(load, item) for item in islice(source, ahead - len(pending)))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _stacked(
    images: Iterable[UInt8[Tensor, "3 p p"]], size: int, pin: bool
) -> Generator[UInt8[Tensor, "b 3 p p"], None, None]:
    batch, filled = None, 0
    for image in images:
        if batch is None:
            # A new tensor for each batch rather than a ring of our own: torch's allocator of pinned
            # memory marks a block with an event when a copy from it is queued, and hands it out
            # again only after that copy. So it is a ring, as deep as copies are in flight, and
            # cannot be overwritten too early.
            side = image.shape[-1]
            batch = torch.empty(
                size, side, side, 3, dtype=torch.uint8, device="cpu", pin_memory=pin
            )
        if image.shape[-2:] != batch.shape[1:3]:
            raise RuntimeError(
                f"an image of {tuple(image.shape)} in a batch of {side} pixels a side"
            )
        # By numpy: torch's copy starts a team of threads and waits for all of them, while those
        # that decode have the cores.
        batch.numpy()[filled] = image.permute(1, 2, 0).numpy()
        filled += 1
        if filled == size:
            yield batch.permute(0, 3, 1, 2)
            batch, filled = None, 0
    if batch is not None:
        yield batch[:filled].permute(0, 3, 1, 2)
