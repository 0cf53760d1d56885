"""Embeddings of fewer bits: what float16, int8 and binary make of unit rows, and what they cost.

A name is `float32`, `float16`, `int8` or `binary`; with `+rescoreN` the N best candidates of int8
or binary are ranked again by the float32 rows.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from evals.schema import ConfigError

RESCORE = (
    "float32 rows rank the best candidates again; of candidates equal at the cut the earlier in the "
    "gallery are taken"
)
FEWEST = 10  # candidates: R@10 and nDCG@10 look no further
DIMS = (64, 128, 256, 512, 768, 1024)  # the Matryoshka dimensions of jina-clip-v2 that sweeps score

Rows = Float32[np.ndarray, "n d"]


@dataclass(frozen=True)
class Kind:
    """One way to keep a vector: `bits` of a value, and what it makes of truncated unit rows.

    `calibration` says in the record where its scale comes from. Dot products of what `quantise`
    gives are the scores; it is given the largest absolute value of the side, which only those that
    are `calibrated` heed. `rescored`: its best candidates may be ranked again in float32.
    """

    bits: int
    calibration: str
    quantise: Callable[[Rows, float], Rows]
    rescored: bool = False
    calibrated: bool = False


def _as_they_are(rows: Rows, largest: float) -> Rows:
    return rows


def _float16(rows: Rows, largest: float) -> Rows:
    # Back to float32 at once: what is measured is the rounding of the stored value, and scores are
    # computed in float32 for all precisions.
    return rows.astype(np.float16).astype(np.float32)


def _int8(rows: Rows, largest: float) -> Rows:
    """Whole numbers in [-127, 127]."""
    # Without -128 the range is symmetric (Jacob et al., arXiv:1712.05877, appendix B). In float64:
    # in float32 the product with the scale could round to the other side of a half.
    scale = 127 / largest if largest else 0.0
    return np.rint(rows.astype(np.float64) * scale).astype(np.float32)


def _binary(rows: Rows, largest: float) -> Rows:
    """1 and -1, whose dot product is d minus twice the differing bits."""
    # An index would count bits by XOR and popcount: the order is the same, and so are the ties.
    return np.where(rows > 0, np.float32(1), np.float32(-1))


# A row added here can be named in --precisions, and cost, sweeps, figures, report and site show it.
KINDS = {
    "float32": Kind(32, "none", _as_they_are),
    "float16": Kind(
        16, "none: values rounded to the nearest float16, rows not normalised again", _float16
    ),
    "int8": Kind(
        8,
        "symmetric, one scale for all values of a side (images or texts) at a dimension: the "
        "largest absolute value among the rows that are scored becomes 127, so nothing is clipped; "
        "scores are exact dot products of the integers",
        _int8,
        rescored=True,
        calibrated=True,
    ),
    "binary": Kind(
        1,
        "none: a value above 0 is a 1; scores are the number of equal bits, exact, with ties in "
        "expectation",
        _binary,
        rescored=True,
    ),
}
BITS = {name: kind.bits for name, kind in KINDS.items()}
RESCORED = ", ".join(name for name, kind in KINDS.items() if kind.rescored)
_NAME = re.compile(rf"({'|'.join(KINDS)})(?:\+rescore(\d+))?")


class Precision(NamedTuple):
    """How rows are kept, and how many candidates the float32 rows rank again (None: none)."""

    kind: str
    rescore: int | None = None


def parse_precision(name: str) -> Precision:
    """What a name means. Raises ConfigError for one that means nothing."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(f"--precisions {name}: use {', '.join(BITS)}.")
    if match[2] is None:
        return Precision(match[1])
    if not KINDS[match[1]].rescored or int(match[2]) < FEWEST:
        raise ConfigError(
            f"{name}: rescoring takes {RESCORED.replace(', ', ' or ')}, "
            f"and {FEWEST} candidates at least."
        )
    return Precision(match[1], int(match[2]))


def with_rescoring(kinds: tuple[str, ...], candidates: int | None) -> tuple[str, ...]:
    """The names to score: each of `kinds` once, and with `candidates` also those rescored.

    Raises ConfigError for an unknown name, and when there is nothing to rescore.
    """
    names = list(dict.fromkeys(kinds))
    quantised = [name for name in names if KINDS[parse_precision(name).kind].rescored]
    if candidates is None:
        return tuple(names)
    if not quantised:
        raise ConfigError(
            f"--rescore: only {RESCORED.replace(', ', ' and ')} have candidates to rescore. "
            "Name one in --precisions."
        )
    with_rescored = []
    for name in names:
        with_rescored.append(name)
        # Beside the plain one, whose counts it needs anyway: the gain is then seen in one table.
        if name in quantised:
            with_rescored.append(f"{name}+rescore{candidates}")
    return tuple(with_rescored)


def calibration(names: tuple[str, ...]) -> dict[str, str]:
    """What a manifest states of each precision."""
    parsed = {name: parse_precision(name) for name in names}
    return {
        name: KINDS[kind].calibration + (f"; {RESCORE}" if rescore else "")
        for name, (kind, rescore) in parsed.items()
    }


def bytes_per_vector(name: str, dim: int) -> int:
    """Bytes that a vector takes; a rescored precision keeps the float32 row too."""
    kind, rescore = parse_precision(name)
    # Rounded up: bits fill whole bytes.
    quantised = -(-BITS[kind] * dim // 8)
    return quantised + (4 * dim if rescore else 0)


def quantise(rows: Rows, kind: str, largest: float | None = None) -> Rows:
    """Rows whose dot products are the scores of a kind of precision, from truncated unit rows.

    See KINDS. `largest` is the largest absolute value of the side where these are a part of it;
    None: they are all of it.
    """
    if largest is None:
        largest = largest_value(rows) if KINDS[kind].calibrated else 0.0
    return KINDS[kind].quantise(rows, largest)


def largest_value(rows: Rows) -> float:
    """The largest absolute value, 0 of no rows."""
    return float(np.abs(rows).max(initial=0.0))
