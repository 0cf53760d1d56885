"""The whole gate on simulated runs: how often it is red where nothing changed, and which drops it finds.

python -m tests.simulation_gate [--runs 1000]

A world is like Scenes as `tiny` sees it: 500 images with two captions each in six languages, vectors
around their image's. A run sees the world with a little noise in every vector, images included, so
that an image which many captions confuse moves all of them, in every language. Two runs of one world
differ by chance alone. A planted drop takes captions of the second run from the first place beyond
the tenth, as a fault of the code would.
"""

import argparse
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from evals.records.queries import Cell
from evals.regress.family import Member, adjusted_p
from evals.regress.gates import gate_of, read_gates
from evals.regress.judging import ALPHA, Row, judge_rows
from evals.regress.pairing import Measured, means
from evals.stats.paired import Pair

IMAGES, CAPTIONS, WIDTH = 500, 2, 48
LANGUAGES = ("en", "de", "fr", "es", "zh", "ar")
DEPTHS = (1, 5, 10)
SPREAD = 1.9  # of captions around their image: R@1 of 60, R@10 of 98, as `tiny` has
LOST = 60  # the rank of a caption that a planted drop takes
# hits that change by chance: none, 0.3% and 0.9%
NOISES = (0.0, 0.00067, 0.0021)
OWN = np.repeat(np.arange(IMAGES), CAPTIONS)

Ranks = dict[tuple[str, str], np.ndarray]  # by language and direction: better documents per query


class World(NamedTuple):
    """Unit vectors of the images, and of the captions per language."""

    images: np.ndarray
    texts: Mapping[str, np.ndarray]


class Drop(NamedTuple):
    """So many captions lost in each of these languages; 5 of 1,000 are half a point."""

    captions: int
    languages: tuple[str, ...]


DROPS = {
    "nothing": Drop(0, ()),
    "0.5 points in one language": Drop(5, ("de",)),
    "1 point in one language": Drop(10, ("de",)),
    "2 points in one language": Drop(20, ("de",)),
    "0.5 points in every language": Drop(5, LANGUAGES),
}


def world(seed: int = 20261127) -> World:
    """A world from a seed of its own: with that of a run, the noise would be the vectors again."""
    rng = np.random.default_rng(seed)
    images = _unit(rng.standard_normal((IMAGES, WIDTH)))
    texts = {}
    for language in LANGUAGES:
        away = _unit(rng.standard_normal((IMAGES * CAPTIONS, WIDTH)))
        texts[language] = _unit(images[OWN] + SPREAD * away)
    return World(images, texts)


def run(of: World, noise: float, rng: np.random.Generator) -> Ranks:
    """The ranks of one run of a world."""
    images = _blurred(of.images, noise, rng)
    ranks: Ranks = {}
    for language, vectors in of.texts.items():
        scores = _blurred(vectors, noise, rng) @ images.T
        own = scores[np.arange(len(OWN)), OWN]
        ranks[language, "t2i"] = (scores > own[:, None]).sum(axis=1)
        best = own.reshape(IMAGES, CAPTIONS).max(axis=1)
        scores[np.arange(len(OWN)), OWN] = -np.inf
        ranks[language, "i2t"] = (scores > best).sum(axis=0)
    return ranks


def dropped(ranks: Ranks, drop: Drop, rng: np.random.Generator) -> Ranks:
    """A run that lost captions of the first place, each of another image."""
    ranks = {key: better.copy() for key, better in ranks.items()}
    for language in drop.languages:
        better = ranks[language, "t2i"]
        first = np.flatnonzero(better == 0)
        _, one_each = np.unique(OWN[first], return_index=True)
        better[rng.choice(first[one_each], drop.captions, replace=False)] = LOST
    return ranks


def measured(old: Ranks, new: Ranks) -> list[Measured]:
    """What the gate sees of two runs: recalls per language and direction, and their means."""
    groups = {"t2i": OWN, "i2t": np.arange(IMAGES)}
    cells = []
    for (language, direction), before in old.items():
        after = new[language, direction]
        for k in DEPTHS:
            a, b = (before < k).astype(np.float64), (after < k).astype(np.float64)
            name, cell = f"R@{k}", Cell(language, direction, WIDTH, "float32")
            pair = Pair({name: a}, {name: b}, groups[direction])
            values = float(a.mean()), float(b.mean())
            cells.append(Measured(cell, name, *values, [pair], bool((a == b).all())))
    return cells + means(cells)


def is_red(metrics: list[Measured]) -> bool:
    """Whether the gate of Scenes finds a regression. Bounds are resampled only where it may."""
    moved = [Member(("scenes", "m"), each) for each in metrics if not each.same]
    if all(p is None or p >= ALPHA for p in adjusted_p(moved)):
        return False
    gate = gate_of("scenes", read_gates())
    rows = [Row("scenes", "m", gate, each, primary=True) for each in metrics]
    return any(change.judgement == "regressed" for change in judge_rows(rows))


def changed_hits(metrics: list[Measured]) -> float:
    """The share of hits that differ between two runs, over all recalls."""
    shares = []
    for each in metrics:
        if len(each.pairs) == 1:
            [pair] = each.pairs
            hits = max(pair.a[each.metric].sum(), 1.0)
            shares.append(np.abs(pair.a[each.metric] - pair.b[each.metric]).sum() / hits)
    return float(np.mean(shares))


def red_rate(noise: float, drop: Drop, runs: int) -> float:
    """The share of runs of one world that the gate calls regressed."""
    scene, red = world(), 0
    for seed in range(runs):
        rng = np.random.default_rng([seed, drop.captions, len(drop.languages)])
        old, new = run(scene, noise, rng), run(scene, noise, rng)
        red += is_red(measured(old, dropped(new, drop, rng)))
    return red / runs


def chance_of(noise: float, runs: int = 10) -> float:
    """The share of hits that change between two runs of one world."""
    scene, rng = world(), np.random.default_rng(1)
    pairs = [(run(scene, noise, rng), run(scene, noise, rng)) for _ in range(runs)]
    return float(np.mean([changed_hits(measured(old, new)) for old, new in pairs]))


def _blurred(vectors: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    return _unit(vectors + noise * rng.standard_normal(vectors.shape)) if noise else vectors


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000, help="of each kind")
    runs = parser.parse_args().runs
    shares = [chance_of(noise) for noise in NOISES]
    print(f"{runs:,} runs each; red, by the hits that change by chance")
    print(
        f"| true drop | {' | '.join(f'{100 * share:.2f}%' for share in shares)} |\n|---|{'--:|' * 3}"
    )
    for name, drop in DROPS.items():
        rates = (f"{100 * red_rate(noise, drop, runs):.0f}%" for noise in NOISES)
        print(f"| {name} | {' | '.join(rates)} |", flush=True)


if __name__ == "__main__":
    main()
