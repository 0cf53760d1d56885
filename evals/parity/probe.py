"""What two models are compared on: a part of a benchmark, texts of many lengths, images of many shapes.

Shapes: n items, d dimensions.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from evals.schema import Data, Encoder, EncoderInfo, InvalidError, Kind, Role, Side, check_one_row

# Characters of a text: a caption, a long caption, a paragraph, more.
LENGTHS = ((32, "up to 32"), (128, "33 to 128"), (512, "129 to 512"), (10**9, "over 512"))
SHAPED = "shaped"  # stands for the language of texts that are of no benchmark
Rows = Float[np.ndarray, "n d"]


@dataclass(frozen=True)
class Probe:
    """The items: `parts` are subsets of a benchmark with their task, `shaped` are made for the purpose.

    `partial` says which part of the benchmark it is, None for the whole.
    """

    name: str
    task: str
    parts: Mapping[str, Data]
    shaped: Mapping[Kind, Side]
    partial: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Runner:
    """A model as it is run here: what tables call it, its encoder, and the role of all texts.

    ConfigError for an encoder of several vectors per item.
    """

    label: str
    encoder: Encoder
    role: Role | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_one_row(self.encoder)

    def rows(self, side: Side) -> Rows:
        """The rows of a side, float32, as the model gives them.

        InvalidError for NaN, infinity and another number of rows.
        """
        if self.role and side.kind == "text":
            side = replace(side, role=self.role)
        rows = np.asarray(self.encoder.encode(side), np.float32)
        if rows.ndim != 2 or len(rows) != len(side):
            raise InvalidError(
                f"{self.label}: gave rows of shape {rows.shape} for {len(side)} {side.kind}s."
            )
        broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if broken.size:
            raise InvalidError(
                f"{self.label}: the row of {side.kind} {side.ids[broken[0]]!r} holds NaN or "
                "infinity. Look at the model before it is compared."
            )
        return rows


class Label(NamedTuple):
    """What an item is like; `language` and `length` are of texts, `shape` of images."""

    id: str
    language: str
    length: str
    shape: str


class Part(NamedTuple):
    """One side of the probe, what its items are like, and which subset it is of (`shaped`: none)."""

    subset: str
    side: Side
    labels: Sequence[Label]


def parts_of(probe: Probe) -> list[Part]:
    """All sides of a probe, in a fixed order; images that subsets share come once."""
    from evals.tasks import task_of

    sides = []
    for subset, data in probe.parts.items():
        sides += [(subset, side) for side in task_of(probe.task).sides(data)]
    sides += [(SHAPED, side) for side in probe.shaped.values()]
    # Crossmodal-3600 has the same images in 36 languages.
    parts = []
    seen: set[tuple[str, ...]] = set()
    for subset, side in sides:
        images = tuple(side.hashes)
        if side.kind == "image" and images in seen:
            continue
        seen.add(images)
        parts.append(Part(subset, side, [_label(subset, side, i) for i in range(len(side))]))
    return parts


def shaped_for(probe: Probe, runners: Sequence[Runner]) -> tuple[Probe, str | None]:
    """The probe without items that one of the models cannot have, and the reason where some go.

    Rows of a file are there for the items of a benchmark only, and a text that is of no subset has
    no language.
    """
    from evals.encoders.objects import ArrayEncoder

    for runner in runners:
        encoder = runner.encoder
        shaped = [*probe.shaped.values()]
        if isinstance(encoder, ArrayEncoder) and not encoder.knows(shaped):
            reason = f"{runner.label} has rows for the benchmark alone"
        elif EncoderInfo.read(encoder).by_language:
            reason = f"{runner.label} wants to know the language of a text"
        else:
            continue
        return replace(probe, shaped={}), (
            f"{reason}: no texts of other lengths and images of other shapes were compared"
        )
    return probe, None


def content_of(probe: Probe) -> str:
    """The sha256 over the hashes of all items, in their order."""
    digest = hashlib.sha256()
    for part in parts_of(probe):
        digest.update(f"{part.subset} {part.side.kind}\n".encode())
        digest.update("\n".join(part.side.hashes).encode())
    return digest.hexdigest()


def _label(subset: str, side: Side, index: int) -> Label:
    if side.kind == "text":
        length = len(side.items[index])
        name = next(name for most, name in LENGTHS if length <= most)
        return Label(side.ids[index], side.language or subset, name, "")
    return Label(side.ids[index], "", "", _shape(*side.items[index].size))


def _shape(width: int, height: int) -> str:
    """A shape in words: a resize that ignores it shows in all but squares."""
    # A tenth off square is cropped by a few per cent only, and counts as square.
    ratio = width / height
    if max(ratio, 1 / ratio) < 1.1:
        return "square"
    direction = "wide" if ratio > 1 else "tall"
    return f"very {direction}" if max(ratio, 1 / ratio) > 2 else direction
