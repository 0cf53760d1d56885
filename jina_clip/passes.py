"""The rows of any number of texts or images, from passes through a tower that fit in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from jina_clip.attention import WINDOW, to_device
from jina_clip.budget import Budget, ItemTooLargeError, counted_from, passes
from jina_clip.packing import Ids, by_length, into_windows
from jina_clip.prefetch import batches
from jina_clip.shapes import Bytes, Features
from jina_clip.text import TextTower


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

    Short texts share windows where the tower wants that; the others go by length. `done(n)` hears
    of every n that are finished. ValueError for a text without tokens, ItemTooLargeError for one
    that does not fit in memory alone.
    """
    # Longest first, so that memory peaks, and runs out, in the first pass rather than the last.
    lengths = [len(tokens) for tokens in ids]
    if 0 in lengths:
        raise ValueError(f"text {lengths.index(0)} has no tokens")
    # `most` counts texts, and a window holds any number of them.
    in_window = 0 if most else tower.window
    short = [i for i, length in enumerate(lengths) if length <= in_window]
    windows = [[short[i] for i in window] for window in into_windows([lengths[i] for i in short])]

    def of_windows(part: slice) -> Features:
        return tower.features(tower.pack_windows([[ids[i] for i in w] for w in windows[part]]))

    order: list[int] = []
    rows = [torch.empty(0, tower.config.hidden_size, device=tower.device)]
    window_costs = [WINDOW] * len(windows)
    apart: list[int] = []
    for part, features in passes(
        window_costs, budget, of_windows, too_large=lambda at: apart.extend(windows[at])
    ):
        for window in windows[part]:
            order += window
        rows.append(features)
        done(len(features))

    # A window that does not fit is taken apart: its texts may fit without their neighbours and the
    # empty places.
    alone = by_length(lengths, [i for i in range(len(ids)) if lengths[i] > in_window] + apart)

    def of_texts(part: slice) -> Features:
        return tower.features(tower.pack([ids[i] for i in alone[part]]))

    try:
        costs = [lengths[i] for i in alone]
        for part, features in passes(costs, budget, of_texts, most=most):
            order += alone[part]
            rows.append(features)
            done(len(features))
    except ItemTooLargeError as error:
        raise ItemTooLargeError(alone[error.position], error.cost, error.unit) from error
    return torch.cat(rows)[to_device(torch.tensor(order, dtype=torch.long).argsort(), tower.device)]


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
    The budget counts the copies, too. ItemTooLargeError for an image that does not fit alone. `pin`
    and the order of work: see prefetch.batches.
    """
    full = most or budget.size

    def padded(images: int) -> int:
        # never above the budget, which may have been halved since the batch was made
        return max(images, min(full, budget.size)) if one_size else images

    def of_part(batch: Bytes, part: slice) -> Features:
        images = batch[part]
        missing = padded(len(images)) - len(images)
        if missing:
            copies = images[:1].expand(missing, -1, -1, -1)
            return features(torch.cat([images, copies]))[: len(images)]
        return features(images)

    rows: list[Features] = []
    finished = 0
    for batch in batches(pixels, full, pin=pin):
        costs, run = [1] * len(batch), partial(of_part, batch)
        with counted_from(finished):
            for _, part_rows in passes(costs, budget, run, padded=padded):
                rows.append(part_rows)
                done(len(part_rows))
        finished += len(batch)
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
