"""Simulated rankings whose truth is known: how often rank intervals hold it, and models are wrongly told apart.

python -m tests.simulation_rank [--runs 4000]

A query is a hit of a model when its margin is above the model's threshold. The margin is that of the
query, half of it the image's, as in tests/simulation.py, plus the model's own noise. The threshold
gives each model the share of hits that is asked for.
"""

import argparse
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from evals.stats.all_pairs import FLIPS, Ranks, adjusted_p, all_pairs, decided_at, possible_ranks
from evals.stats.all_pairs import rank_intervals as intervals_of
from tests.simulation import margins, table

IMAGES, CAPTIONS = 300, 5


class Race(NamedTuple):
    """Models by their true shares of hits, and how much noise of its own each of them has."""

    name: str
    shares: Sequence[float]
    noises: Sequence[float]


class Rates(NamedTuple):
    """How often the true ranks are held, by each model's interval and by all at once; and errors."""

    lowest: float  # of the model whose interval holds its rank least often
    mean: float
    at_once: float
    wrong: float  # any model that is called better, and is not


RACES = (
    Race("6 equal models", [0.5] * 6, [0.5] * 6),
    Race("12 equal models", [0.6] * 12, [0.4] * 12),
    Race("2 equal models", [0.7] * 2, [0.3] * 2),
    Race("6 equal models, unequal noise", [0.5] * 6, [0.1, 0.1, 0.3, 0.5, 1.0, 2.0]),
    Race("2 equal ones, 4 behind", [0.6, 0.6, 0.58, 0.56, 0.52, 0.44], [0.4] * 6),
    Race("3 equal ones behind 3", [0.7, 0.65, 0.6, 0.5, 0.5, 0.5], [0.5] * 6),
    Race("6 models, 0.5 points apart", [0.6 - 0.005 * i for i in range(6)], [0.4] * 6),
)


def hits(race: Race, rng: np.random.Generator, images: int) -> np.ndarray:
    """What each image adds to the share of hits of each model."""
    margin = margins(rng, 1, images, CAPTIONS)[0]
    columns = []
    for share, noise in zip(race.shares, race.noises, strict=True):
        own = rng.standard_normal(margin.shape)
        threshold = -((1 + noise**2) ** 0.5) * NormalDist().inv_cdf(share)
        columns.append((margin + noise * own > threshold).sum(axis=1) / margin.size)
    return np.stack(columns, axis=1)


def true_ranks(shares: Sequence[float]) -> list[Ranks]:
    """The ranks of models; those of equal shares have all ranks that these take together."""
    array = np.array(shares)
    return [
        Ranks(1 + int((array > share).sum()), len(array) - int((array < share).sum()))
        for share in array
    ]


def rates(race: Race, runs: int, *, images: int = IMAGES, flips: int = FLIPS) -> Rates:
    """The rates of so many simulated rankings."""
    rng, truth = np.random.default_rng(len(race.name)), true_ranks(race.shares)
    n_models = len(race.shares)
    hypotheses = all_pairs(n_models)
    shares = np.array(race.shares)
    not_better = shares[hypotheses[:, 0]] <= shares[hypotheses[:, 1]]
    held, at_once, wrong = np.zeros(n_models), 0, 0
    for run in range(runs):
        added = hits(race, rng, images)
        alone = intervals_of(added, seed=run, flips=flips)
        held += [holds(ranks, true) for ranks, true in zip(alone, truth, strict=True)]
        (p,) = adjusted_p(added, [hypotheses], seed=run, flips=flips)
        better = hypotheses[p <= decided_at(flips)]
        together = [possible_ranks(model, better, n_models) for model in range(n_models)]
        at_once += all(holds(ranks, true) for ranks, true in zip(together, truth, strict=True))
        wrong += bool((p[not_better] <= decided_at(flips)).any())
    coverage = held / runs
    return Rates(float(coverage.min()), float(coverage.mean()), at_once / runs, wrong / runs)


def holds(ranks: Ranks, true: Ranks) -> bool:
    """Whether all ranks that a model truly has are among those that it may have."""
    return ranks.low <= true.low and true.high <= ranks.high


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000, help="of each kind")
    runs = parser.parse_args().runs
    print(f"{runs:,} rankings of each kind, {IMAGES} images x {CAPTIONS} captions:\n")
    head = ["models", "rank held, lowest", "rank held, mean", "all ranks held", "wrongly apart"]
    table(head, ([race.name, *rates(race, runs)] for race in RACES))


if __name__ == "__main__":
    main()
