"""Which of many models is best: their order, the ranks that each may have, and who cannot be told apart.

Shapes: g groups (images), m models, s resamples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from evals.analysis.paired_values import PairedBenchmark, paired_benchmark
from evals.records.entrants import Entrant
from evals.schema import ConfigError
from evals.stats.all_pairs import (
    FLIPS,
    Ranks,
    adjusted_p,
    all_pairs,
    decided_at,
    groups_not_apart,
    possible_ranks,
    rank_intervals,
)
from evals.stats.bootstrap import Interval, resampled_means
from evals.stats.intervals import parts_mean_interval

RESAMPLES = 2000
EQUAL, QUERIES = "equal", "queries"


class Standing(NamedTuple):
    """A model's place: its score, and the ranks that it may have, by itself and all models at once.

    `groups` are the numbers of the groups that it belongs to: models of a common one cannot be told
    apart. Models of equal scores have equal ranks.
    """

    name: str
    score: float
    interval: Interval | None
    rank: int
    ranks: Ranks
    ranks_at_once: Ranks
    groups: list[int]
    by_benchmark: dict[str, float]


class PairTest(NamedTuple):
    """The difference of two models, the better one first.

    p is adjusted over all pairs. `apart` says whether the two are told apart: among all pairs a
    wrong one has a chance below 5%.
    """

    better: str
    worse: str
    difference: float
    interval: Interval | None
    p: float
    apart: bool


class BenchmarkInfo(NamedTuple):
    """What a score is of, and how much it weighs."""

    name: str
    metric: str
    directions: list[str]
    subsets: list[str]
    weight: float
    queries: int
    groups: int


class Standings(NamedTuple):
    """Models from best to worst, every two of them compared, and the benchmarks behind that."""

    standings: list[Standing]
    pairs: list[PairTest]
    groups: list[list[str]]
    benchmarks: list[BenchmarkInfo]

    @property
    def may_be_best(self) -> list[str]:
        """The models that may have the first rank, all ranks held at once."""
        return [standing.name for standing in self.standings if standing.ranks_at_once.low == 1]


def rank_models(
    entrants: Sequence[Entrant],
    *,
    subsets: Sequence[str] = (),
    directions: Sequence[str] = (),
    metric: str | None = None,
    weighting: str = EQUAL,
    seed: int = 0,
    flips: int = FLIPS,
) -> Standings:
    """Rank models by the weighted mean of their scores on the benchmarks that all of them have.

    Scores are of the main metric unless `metric` names another: the mean over directions, and
    within a direction over its subsets. `weighting` is `equal`, `queries` (each benchmark counts by
    its queries) or `NAME=NUMBER,…`. Queries are paired, and images drawn as wholes; images of
    different benchmarks are independent. Raises as `paired_benchmark` does.
    """
    benchmarks = []
    for name in entrants[0].sides:
        sides = [entrant.sides[name] for entrant in entrants]
        benchmark = paired_benchmark(sides, subsets=subsets, directions=directions, metric=metric)
        benchmarks.append(benchmark)
    weights = benchmark_weights(benchmarks, weighting)
    # A weighted mean over benchmarks is a sum over images of all of them.
    weighted = [w * b.scores for w, b in zip(weights, benchmarks, strict=True)]
    scores = np.sum(weighted, axis=0)
    shares = np.concatenate([w * b.shares for w, b in zip(weights, benchmarks, strict=True)])
    resampled = _resampled(benchmarks, weights, seed)
    # Best first; the numbers of groups follow that order, so that "a" is the best group.
    order = np.argsort(-scores, kind="stable").tolist()
    names = [entrant.name for entrant in entrants]
    p = _p_matrix(shares, seed, flips)
    is_better = p <= decided_at(flips)
    apart = is_better | is_better.T
    groups = groups_not_apart(apart[np.ix_(order, order)])
    better = np.argwhere(is_better)
    ranks = rank_intervals(shares, seed=seed, flips=flips)
    standings = []
    for place, model in enumerate(order):
        by_benchmark = {b.name: float(b.scores[model]) for b in benchmarks}
        standing = Standing(
            name=names[model],
            score=float(scores[model]),
            interval=_score_interval(benchmarks, resampled, model),
            rank=1 + int((scores > scores[model]).sum()),
            ranks=ranks[model],
            ranks_at_once=possible_ranks(model, better, len(names)),
            groups=[i for i, members in enumerate(groups) if place in members],
            by_benchmark=by_benchmark,
        )
        standings.append(standing)
    infos = [_info(b, w) for b, w in zip(benchmarks, weights, strict=True)]
    members_by_group = [[names[order[place]] for place in members] for members in groups]
    pairs = _pairs(names, order, scores, resampled, p, apart)
    return Standings(standings, pairs, members_by_group, infos)


def benchmark_weights(benchmarks: Sequence[PairedBenchmark], weighting: str) -> list[float]:
    """The share of each benchmark in the mean; they sum to 1.

    ConfigError for a weighting that names other benchmarks than these, or no numbers above 0.
    """
    names = [benchmark.name for benchmark in benchmarks]
    if weighting == EQUAL:
        weights = dict.fromkeys(names, 1.0)
    elif weighting == QUERIES:
        weights = {benchmark.name: float(benchmark.n_queries) for benchmark in benchmarks}
    else:
        weights = _parsed(weighting)
    if weights.keys() != set(names):
        raise ConfigError(
            f"--weights {weighting}: give {EQUAL}, {QUERIES}, or a number for each of "
            f"{', '.join(names)}, as in {','.join(f'{name}=1' for name in names)}."
        )
    # Any positive numbers do: 2 and 1 are two thirds and one third.
    total = sum(weights.values())
    return [weights[name] / total for name in names]


def _parsed(weighting: str) -> dict[str, float]:
    weights = {}
    for entry in weighting.split(","):
        name, _, number = entry.partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = 0.0
        if not 0 < weight < float("inf"):
            raise ConfigError(f"--weights: {entry!r} is no NAME=NUMBER with a number above 0.")
        weights[name.strip()] = weight
    return weights


def _p_matrix(shares: np.ndarray, seed: int, flips: int) -> Float64[np.ndarray, "m m"]:
    """The adjusted p, over all pairs, that the row's model is better than the column's."""
    n_models = shares.shape[1]
    hypotheses = all_pairs(n_models)
    (p_values,) = adjusted_p(shares, [hypotheses], seed=seed, flips=flips)
    p = np.ones((n_models, n_models))
    p[hypotheses[:, 0], hypotheses[:, 1]] = p_values
    return p


def _resampled(
    benchmarks: Sequence[PairedBenchmark], weights: Sequence[float], seed: int
) -> Float64[np.ndarray, "s m"] | None:
    """The scores of all models on resampled images, those of each benchmark by themselves.

    None where a benchmark has fewer than two groups, and so nothing that varies, or where most
    resamples leave a part without queries.
    """
    if any(benchmark.n_groups < 2 for benchmark in benchmarks):
        return None
    total: np.ndarray = np.zeros(())
    for number, (benchmark, weight) in enumerate(zip(benchmarks, weights, strict=True)):
        for part in benchmark.parts:
            # Of one seed two benchmarks of equal size would draw the same images.
            means = resampled_means(
                part.values, part.groups, benchmark.n_groups, seed + number, RESAMPLES
            )
            total = total + weight * part.weight * means
    # Not finite where a part has none of the images that were drawn.
    total = total[np.isfinite(total).all(axis=1)]
    return total if len(total) >= RESAMPLES / 2 else None


def _score_interval(
    benchmarks: Sequence[PairedBenchmark], resampled: np.ndarray | None, model: int
) -> Interval | None:
    """Of one benchmark the interval of its record; of several, or of uneven parts, percentiles."""
    if resampled is None:
        return None
    parts = benchmarks[0].parts
    if len(benchmarks) > 1 or len({part.weight for part in parts}) > 1:
        return _percentiles(resampled[:, model])
    values = [part.values[:, model] for part in parts]
    return parts_mean_interval(values, [part.groups.tolist() for part in parts])


def _percentiles(values: np.ndarray) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))


def _pairs(
    names: Sequence[str],
    order: Sequence[int],
    scores: np.ndarray,
    resampled: np.ndarray | None,
    p: np.ndarray,
    apart: np.ndarray,
) -> list[PairTest]:
    """Each two models, the better one first."""
    pairs = []
    for place, better in enumerate(order):
        for worse in order[place + 1 :]:
            interval = None
            if resampled is not None:
                interval = _percentiles(resampled[:, better] - resampled[:, worse])
            difference = float(scores[better] - scores[worse])
            # Of equal scores neither is better, and both directions have a large p.
            pair = PairTest(
                better=names[better],
                worse=names[worse],
                difference=difference,
                interval=interval,
                p=float(min(p[better, worse], p[worse, better])),
                apart=bool(apart[better, worse]),
            )
            pairs.append(pair)
    return pairs


def _info(benchmark: PairedBenchmark, weight: float) -> BenchmarkInfo:
    return BenchmarkInfo(
        name=benchmark.name,
        metric=benchmark.metric,
        directions=[name for name in benchmark.directions if name],
        subsets=benchmark.subsets,
        weight=weight,
        queries=benchmark.n_queries,
        groups=benchmark.n_groups,
    )
