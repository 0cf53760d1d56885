"""Copies rows from a card to the host while the card computes the next ones.

A card computes what was queued, and the host waits only for what it reads. So the next rows are
queued before the former ones are waited for: the card has work while those are written.

Shapes: n rows, d dimensions.
"""

from collections.abc import Generator
from contextlib import closing
from typing import NamedTuple

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor


class Arriving(NamedTuple):
    """Rows in the host's memory, which are whole once `arrived` has happened; None: they are there."""

    rows: Float[Tensor, "n d"]
    arrived: torch.cuda.Event | None

    def wait(self) -> Float[ndarray, "n d"]:
        """The rows, as soon as they are there. An error of the card that computed them is raised here."""
        if self.arrived is not None:
            self.arrived.synchronize()
        rows: Float[ndarray, "n d"] = self.rows.numpy()
        return rows


def to_host(rows: Float[Tensor, "n d"]) -> Arriving:
    """Queue a copy behind the work that makes the rows; on a CPU they are where they should be."""
    if rows.device.type != "cuda":
        return Arriving(rows.cpu(), None)
    # To pageable memory the host would make the copy, and wait for the card.
    on_host = torch.empty(rows.shape, dtype=rows.dtype, device="cpu", pin_memory=True)
    on_host.copy_(rows, non_blocking=True)
    return Arriving(on_host, torch.cuda.current_stream(rows.device).record_event())


def one_behind(
    queue: Generator[Arriving, None, None],
) -> Generator[Float[ndarray, "n d"], None, None]:
    """The rows of each, waited for when those after them are queued; what is there comes at once.

    So no more than two are under way. What ends the queue early is raised after the rows that were
    queued before it: nothing that is finished is lost. The queue is closed at the end.
    """
    former: Arriving | None = None
    with closing(queue):
        while True:
            try:
                following = next(queue, None)
            except BaseException:  # Ctrl-C, too
                if former is not None:
                    yield former.wait()
                raise
            if former is not None:
                yield former.wait()
            former = following
            if following is None:
                return
            if following.arrived is None:
                yield following.wait()
                former = None
