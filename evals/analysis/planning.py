"""How many images it takes to see a difference, from the variance that records have.

Two records tell the variance of their difference, query by query. One record tells that of its own
score; of a second model that is not there yet, its correlation with the first must be assumed.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from evals.analysis.paired_values import PairedBenchmark, paired_benchmark
from evals.counts import counted
from evals.records.selection import Measured
from evals.schema import ConfigError, NotComparableError
from evals.stats.sample_size import Design, difference_seen, images_needed, power_of

# Of the scores that two models give the images: unrelated ones, and up to nearly the same model.
NO_VARIANCE = 1e-20  # of hits of 0 and 1: smaller ones are the rounding of means
CORRELATIONS: Sequence[float] = (0.0, 0.5, 0.8, 0.9, 0.95)


class Answer(NamedTuple):
    """The images and queries with which a difference (in [0, 1]) is seen, and the power of those there are."""

    difference: float
    images: int
    queries: int
    power_now: float


class Plan(NamedTuple):
    """What a comparison on one benchmark needs, for one metric and direction.

    `correlation` is that of the two models' scores of an image; `assumed` says that it is no
    measured one. `design_effect` is by how much the variance is larger than that of as many
    independent queries. `seen_now` is the smallest difference that the images there are show. Where
    no image differs from another the variance is 0: no answer follows from that, and there is none.
    `identical`: the two models score each query alike, though their queries differ.
    """

    benchmark: str
    direction: str
    metric: str
    correlation: float
    assumed: bool
    variance: float
    design_effect: float
    images: int
    queries: int
    seen_now: float | None
    identical: bool
    answers: list[Answer]

    @property
    def where(self) -> str:
        """Benchmark, direction and metric, as sentences name them."""
        return " ".join(name for name in (self.benchmark, self.direction, self.metric) if name)

    @property
    def obstacle(self) -> str | None:
        """Why there is no answer, in a sentence; None where there is one."""
        if self.answers:
            return None
        if self.identical:
            queries = counted(self.queries, "query", "queries")
            words = f"{self.where}: both models score each of {queries} alike"
            return f"{words}, so there is no difference to plan for."
        return f"{self.where}: every image counts alike, so nothing can be planned."


class Variance(NamedTuple):
    """The variance of a mean times the number of images, and its ratio to that of free queries."""

    per_image: float
    design_effect: float


class Choice(NamedTuple):
    """Which queries and metric are planned: all subsets and directions, and the main metric, if not named."""

    subsets: Sequence[str] = ()
    directions: Sequence[str] = ()
    metric: str | None = None


ALL = Choice()


def check_plannable(plans: Sequence[Plan]) -> None:
    """Refuse plans of which none has an answer. NotComparableError says why, a sentence for each."""
    if any(plan.answers for plan in plans):
        return
    reasons = list(dict.fromkeys(str(plan.obstacle) for plan in plans))
    remedy = "Take a harder benchmark, more images, or another --metric."
    if all(plan.identical for plan in plans):
        remedy = "Are they one model under two names? evals.parity A B tells."
    reasons.append(remedy)
    raise NotComparableError(" ".join(reasons))


def plan_pairs(
    pairs: Sequence[tuple[Measured, Measured]],
    differences: Sequence[float],
    design: Design,
    choice: Choice = ALL,
) -> list[Plan]:
    """What it takes to see the differences between two models, from the queries that both measured.

    A plan per benchmark and direction. Raises as `paired_benchmark` does, and NotComparableError
    where fewer than two images leave the variance unknown.
    """
    plans = []
    for a, b in pairs:
        whole = paired_benchmark([a, b], **choice._asdict())
        plans += [plan_pair(part, differences, design) for part in _by_direction(whole)]
    return plans


def plan_pair(benchmark: PairedBenchmark, differences: Sequence[float], design: Design) -> Plan:
    """What it takes to see the differences between the two models of a benchmark's columns."""
    change = _variance(benchmark, np.array([-1.0, 1.0]))
    of_a = _variance(benchmark, np.array([1.0, 0.0])).per_image
    of_b = _variance(benchmark, np.array([0.0, 1.0])).per_image
    covariance = (of_a + of_b - change.per_image) / 2
    # A model that hits all or nothing does not vary, and goes with no other.
    correlation = covariance / (of_a * of_b) ** 0.5 if of_a * of_b else 0.0
    plan = _plan(benchmark, correlation, False, change, differences, design)
    is_same = [np.array_equal(part.values[:, 0], part.values[:, 1]) for part in benchmark.parts]
    # Two models that hit everything are alike, too, but that is the benchmark's doing.
    return plan._replace(identical=all(is_same) and of_a > NO_VARIANCE)


def plan_alone(
    sides: Sequence[Measured],
    differences: Sequence[float],
    design: Design,
    choice: Choice = ALL,
    *,
    correlations: Sequence[float] = CORRELATIONS,
) -> list[Plan]:
    """The same from one model: a plan for each correlation with a second one that varies as much.

    ConfigError for a correlation outside [0, 1).
    """
    for correlation in correlations:
        if not 0 <= correlation < 1:
            raise ConfigError(f"--correlations: {correlation:g} is not in [0, 1).")
    plans = []
    for side in sides:
        whole = paired_benchmark([side], **choice._asdict())
        for part in _by_direction(whole):
            of_one = _variance(part, np.array([1.0]))
            for correlation in correlations:
                # Var(a - b) = Var(a) + Var(b) - 2 Cov(a, b), of two equal variances
                change = of_one._replace(per_image=2 * (1 - correlation) * of_one.per_image)
                plans.append(_plan(part, correlation, True, change, differences, design))
    return plans


def _by_direction(whole: PairedBenchmark) -> Iterator[PairedBenchmark]:
    """A benchmark for each direction, whose subsets weigh 1 together and whose images count anew."""
    for direction in whole.directions:
        parts = [part for part in whole.parts if part.direction == direction]
        numbers, groups = np.unique(
            np.concatenate([part.groups for part in parts]), return_inverse=True
        )
        ends = np.cumsum([len(part.groups) for part in parts])[:-1]
        renumbered = [
            part._replace(weight=1 / len(parts), groups=group)
            for part, group in zip(parts, np.split(groups, ends), strict=True)
        ]
        yield whole._replace(parts=renumbered, n_groups=len(numbers))


def _variance(benchmark: PairedBenchmark, contrast: np.ndarray) -> Variance:
    """The variance of a contrast of the models' scores, with images as the independent units."""
    n_groups = benchmark.n_groups
    if n_groups < 2:
        raise NotComparableError(
            f"{benchmark.name}: all queries are of one image, or hang together by their relevant "
            "documents, so their variance cannot be told. Take more images, or another benchmark."
        )
    of_groups = benchmark.residuals @ contrast
    # Squares of residuals come out (g - 1) / g too small, as in any sample variance.
    clustered = float(np.square(of_groups).sum()) * n_groups / (n_groups - 1)
    independent = 0.0
    for part in benchmark.parts:
        values = part.values @ contrast
        independent += part.weight**2 * float(values.var(ddof=1)) / len(values)
    effect = clustered / independent if independent else 1.0
    return Variance(n_groups * clustered, effect)


def _plan(
    benchmark: PairedBenchmark,
    correlation: float,
    assumed: bool,
    change: Variance,
    differences: Sequence[float],
    design: Design,
) -> Plan:
    images, queries = benchmark.n_groups, benchmark.n_queries
    answers = []
    # Of equal images the formulas say that two are enough. It is the variance that is not known.
    is_known = not math.isclose(change.per_image, 0, abs_tol=NO_VARIANCE)
    for difference in differences if is_known else ():
        needed = images_needed(change.per_image, difference, design)
        answer = Answer(
            difference=difference,
            images=needed,
            queries=round(needed * queries / images),
            power_now=power_of(change.per_image, difference, images, design),
        )
        answers.append(answer)
    return Plan(
        benchmark=benchmark.name,
        direction=benchmark.directions[0],
        metric=benchmark.metric,
        correlation=correlation,
        assumed=assumed,
        variance=change.per_image,
        design_effect=change.design_effect,
        images=images,
        queries=queries,
        seen_now=difference_seen(change.per_image, images, design) if is_known else None,
        identical=False,
        answers=answers,
    )
