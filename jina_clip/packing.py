"""Texts end to end without padding, grouped into passes of bounded size and laid out for attention.

Three texts of 3, 3 and 2 tokens take 8 places, where a padded batch takes 9:

    ids        a0 a1 a2 b0 b1 b2 c0 c1
    positions   0  1  2  0  1  2  0  1
    runs        (2 texts of 3)  (1 text of 2)

A pass takes units: single texts, or windows in which short texts share 128 places. Shapes: see
shapes.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from jina_clip.attention import (
    WINDOW,
    Attend,
    Run,
    attend_runs,
    attend_varlen,
    attend_windows,
    to_device,
)
from jina_clip.shapes import FlatTokens

# Places that a pass on a CPU is a multiple of. oneDNN compiles and keeps a kernel for every number
# of rows that it meets; with round numbers they are few.
FILLED = 32
Ids = Sequence[int] | Int[np.ndarray, "_"]


@dataclass(frozen=True)
class Packed:
    """Some texts as the text tower takes them.

    `ids` and `positions` (within the text) of all places, `lengths` of the texts in their order,
    `attend` mixes the tokens of each text. `places` says where the tokens of the texts are; None
    when they are the first ones.
    """

    ids: Int[Tensor, " t"]
    positions: Int[Tensor, " t"]
    lengths: Sequence[int]
    attend: Attend
    places: Int[Tensor, " tokens"] | None = None

    def pool(self, x: FlatTokens) -> Float[Tensor, "texts d"]:
        """The mean of each text's tokens, summed in float32."""
        if self.places is not None:
            x = x[self.places]
        if x.device.type != "cpu":
            lengths = to_device(torch.tensor(self.lengths), x.device)
            # unsafe: no check of the lengths, which are ours; it would make the host wait.
            return torch.segment_reduce(x.float(), "mean", lengths=lengths, axis=0, unsafe=True)
        means, start = [], 0
        for run in runs_of(self.lengths):
            stop = start + run.texts * run.length
            means.append(
                x[start:stop].unflatten(0, (run.texts, run.length)).mean(1, dtype=torch.float32)
            )
            start = stop
        return means[0] if len(means) == 1 else torch.cat(means)


def runs_of(lengths: Sequence[int]) -> list[Run]:
    """Neighbours of equal length, put together."""
    return [Run(len(list(same)), length) for length, same in groupby(lengths)]


def pack_runs(
    texts: Sequence[Ids], device: torch.device, slopes: Sequence[float] | None = None
) -> Packed:
    """The texts as they come; attention runs once for each run of equal lengths, so sort them.

    On a CPU a filler, as if it were another text, makes the places a round number: see FILLED.
    """
    lengths = _lengths(texts)
    filler = _filler(sum(lengths)) if device.type == "cpu" else 0
    ids, positions = _end_to_end(texts, lengths, device, filler)
    runs = runs_of(lengths) + ([Run(1, filler)] if filler else [])
    return Packed(ids, positions, lengths, attend_runs(runs, slopes))


def pack_varlen(
    texts: Sequence[Ids], device: torch.device, slopes: Sequence[float] | None, backend: str
) -> Packed:
    """The texts as they come, for one varlen kernel, of a name in attention_backends.KERNELS."""
    lengths = _lengths(texts)
    ids, positions = _end_to_end(texts, lengths, device)
    return Packed(ids, positions, lengths, attend_varlen(lengths, device, slopes, backend))


def pack_windows(
    windows: Sequence[Sequence[Ids]],
    device: torch.device,
    slopes: Sequence[float] | None = None,
    *,
    pad: int,
) -> Packed:
    """Windows of texts that fit 128 places together; ValueError for one that holds too much."""
    rows = len(windows)
    ids = np.full((rows, WINDOW), pad, dtype=np.int64)
    positions = np.zeros((rows, WINDOW), dtype=np.int64)
    text = np.full((rows, WINDOW), -1, dtype=np.int64)
    lengths: list[int] = []
    for row, window in enumerate(windows):
        total = sum(map(len, window))
        if total > WINDOW:
            raise ValueError(f"a window holds {WINDOW} tokens, not {total}")
        start = 0
        for tokens in window:
            part = slice(start, start + len(tokens))
            ids[row, part] = tokens
            positions[row, part] = np.arange(len(tokens))
            text[row, part] = len(lengths)
            lengths.append(len(tokens))
            start += len(tokens)
    # Places without a text are all text -1, and see each other: softmax over nothing would be NaN.
    text_of = to_device(torch.from_numpy(text), device)
    same = text_of[:, :, None] == text_of[:, None, :]
    places = np.flatnonzero(text >= 0)
    flat = [to_device(torch.from_numpy(x.reshape(-1)), device) for x in (ids, positions, places)]
    return Packed(flat[0], flat[1], lengths, attend_windows(same, slopes), flat[2])


def into_windows(lengths: Sequence[int]) -> list[list[int]]:
    """Texts of up to 128 tokens into as few windows as best-fit-decreasing finds: their indices."""
    # Johnson 1974: the longest text first, into the fullest window that still has room. It takes at
    # most 11/9 of the fewest windows; of captions 98% of the places are filled (a test).
    windows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(WINDOW + 1)]  # by the free places
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index]
        room = next((room for room in range(length, WINDOW + 1) if with_room[room]), None)
        if room is None:
            windows.append([])
            room, window = WINDOW, len(windows) - 1
        else:
            window = with_room[room].pop()
        windows[window].append(index)
        with_room[room - length].append(window)
    return windows


def by_length(lengths: Sequence[int], indices: Sequence[int] | None = None) -> list[int]:
    """Indices, longest first: equal lengths become neighbours, and memory peaks at once."""
    chosen = range(len(lengths)) if indices is None else sorted(indices)
    return sorted(chosen, key=lambda i: -lengths[i])


def _filler(total: int) -> int:
    """Places that make a round number of `total`: a finer one for few, or most were filler."""
    return -total % (FILLED if total >= 8 * FILLED else FILLED // 4)


def _lengths(texts: Sequence[Ids]) -> list[int]:
    lengths = [len(tokens) for tokens in texts]
    if 0 in lengths:
        raise ValueError(f"text {lengths.index(0)} has no tokens")
    return lengths


def _end_to_end(
    texts: Sequence[Ids], lengths: Sequence[int], device: torch.device, filler: int = 0
) -> Iterator[Tensor]:
    rest = np.zeros(filler, dtype=np.int64)
    ids = np.concatenate([*(np.asarray(tokens, dtype=np.int64) for tokens in texts), rest])
    positions = np.concatenate([*(np.arange(length) for length in lengths), rest])
    return (to_device(torch.from_numpy(x), device) for x in (ids, positions))
