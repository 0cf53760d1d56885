"""Passes through a tower that fit in memory: within a budget that halves when memory runs out."""

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from torch import nn

from jina_clip.attention import WINDOW
from jina_clip.packing import Ids, by_length, fill, into_windows
from jina_clip.prefetch import batches
from jina_clip.shapes import Bytes, Features
from jina_clip.text import TextTower

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class Budget:
    """What one pass may cost, in tokens of texts or in images; `used`: all sizes it has had."""

    size: int
    unit: str
    used: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a pass needs at least 1 of {self.unit}, not {self.size}")
        self.used.append(self.size)

    def halve(self, spent: int) -> None:
        """To half of what a pass just cost in vain."""
        self.size = max(1, min(self.size, spent) // 2)
        self.used.append(self.size)
        log.warning("out of memory at %d %s a pass; going on with %d", spent, self.unit, self.size)


def passes(
    costs: Sequence[int], budget: Budget, run: Callable[[slice], T], *, most: int | None = None
) -> Iterator[tuple[slice, T]]:
    """`run` on consecutive units within the budget, `most` at a time: each part, and what it gave.

    One unit goes whatever it costs.

    When memory runs out the budget is halved, for later calls too, and the same units go again;
    what is finished is kept. The error is raised when a single unit is too much.
    """
    # Costs 5 4 3 9 and a budget of 12: the parts are 5 4 3 and 9.
    start = 0
    while start < len(costs):
        stop = fill(costs, start, budget.size)
        part = slice(start, min(stop, start + most) if most else stop)
        try:
            done = run(part)
        except (MemoryError, RuntimeError) as error:
            if part.stop - start == 1 or not out_of_memory(error):
                raise
            done = None
        if done is None:
            # Outside of the handler, whose traceback keeps the tensors of the pass alive.
            budget.halve(sum(costs[part]))
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        yield part, done
        start = part.stop


def text_rows(
    tower: TextTower,
    ids: Sequence[Ids],
    budget: Budget,
    *,
    most: int | None = None,
    done: Callable[[int], object] = lambda n: None,
) -> Features:
    """Unnormalised rows of tokenized texts, in their order.

    A pass takes `most` texts, if given, and no more than the budget allows.

    Short texts share windows where the tower wants that; the others go by length. Passes of windows
    have one shape. `done(n)` hears of every n that are finished. ValueError for a text without
    tokens.
    """
    # Longest first, so that memory peaks, and runs out, in the first pass rather than the last.
    lengths = [len(tokens) for tokens in ids]
    if 0 in lengths:
        raise ValueError(f"text {lengths.index(0)} has no tokens")
    # `most` counts texts, and a window holds any number of them.
    in_window = 0 if most else tower.window
    short = [i for i, length in enumerate(lengths) if length <= in_window]
    windows = [[short[i] for i in window] for window in into_windows([lengths[i] for i in short])]
    alone = [[i] for i in by_length(lengths) if lengths[i] > in_window]

    def of_windows(part: slice) -> Features:
        texts = [[ids[i] for i in window] for window in windows[part]]
        return tower.features(tower.pack_windows(texts, rows=budget.size // WINDOW))

    def of_texts(part: slice) -> Features:
        return tower.features(tower.pack([ids[i] for [i] in alone[part]]))

    order: list[int] = []
    rows = [torch.empty(0, tower.config.hidden_size, device=tower.device)]
    for units, run, costs in (
        (windows, of_windows, [WINDOW] * len(windows)),
        (alone, of_texts, [lengths[i] for [i] in alone]),
    ):
        for part, features in passes(costs, budget, run, most=most):
            order += [i for unit in units[part] for i in unit]
            rows.append(features)
            done(len(features))
    return torch.cat(rows)[torch.tensor(order, dtype=torch.long).argsort().to(tower.device)]


def image_rows(
    features: Callable[[Bytes], Features],
    pixels: Iterable[Bytes],
    budget: Budget,
    *,
    most: int | None = None,
    one_size: bool = False,
    pin: bool = False,
    done: Callable[[int], object] = lambda n: None,
) -> list[Features]:
    """Rows of images in their order, batch by batch.

    A pass takes `most` images, if given, else what the budget allows.

    `features` turns a batch of bytes into rows. With `one_size` it gets batches of one size only,
    the last ones filled up with copies: a compiled tower would be compiled anew for another size.
    `pin` and the order of work: see prefetch.batches.
    """
    full = budget.size if one_size else 0

    def of_part(batch: Bytes, part: slice) -> Features:
        images = batch[part]
        missing = max(0, full - len(images))
        if missing:
            copies = images[:1].expand(missing, -1, -1, -1)
            return features(torch.cat([images, copies]))[: len(images)]
        return features(images)

    rows = []
    for batch in batches(pixels, most or budget.size, pin=pin):
        for _, part_rows in passes([1] * len(batch), budget, partial(of_part, batch)):
            rows.append(part_rows)
            done(len(part_rows))
    return rows


@contextmanager
def inference(module: nn.Module) -> Iterator[None]:
    """Without gradients and in eval mode; each part of the module is in its old mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, training in modes:
            part.training = training


def out_of_memory(error: BaseException) -> bool:
    """Whether this is how torch says so: a type of its own on a GPU, a RuntimeError on a CPU."""
    return isinstance(
        error, (MemoryError, torch.OutOfMemoryError)
    ) or "can't allocate memory" in str(error)
