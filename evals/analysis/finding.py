"""The answer of a comparison in a few facts: was a difference found, and how small a one would have been.

The tests are those of the comparison's family: Holm's adjusted p of its primary metrics. A
difference counts as found at an adjusted p of 5% or less, so that among all the tests of a
comparison without any difference one is "found" with chance 5% at most.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from evals.analysis.comparison import Change
from evals.analysis.pairing import SPEARMAN
from evals.analysis.planning import Choice, plan_pairs
from evals.records.means import MEAN
from evals.records.record import Run
from evals.records.selection import Measured
from evals.stats.paired import DETECTABLE_ERRORS, holm
from evals.stats.sample_size import ALPHA, POWER, Design, difference_seen

Outcome = Literal["no difference", "equal", "better", "worse", "mixed", "untested"]
Pairs = Sequence[tuple[Measured, Measured]]


class Finding(NamedTuple):
    """What a comparison says of B against A.

    `changes` are the differences found, largest first, of `tests` that were made. `seen` is the
    smallest difference at `metric` (in [0, 1]) that a test would have found with this `power`, the
    largest of the directions and benchmarks. Where no query differs in one of these, `metric` names
    one where some do, such as `t2i R@5`. None where there are too few groups to tell. `equal` means
    that no query differs in any of `metrics`.
    """

    outcome: Outcome
    tests: int
    changes: list[Change]
    n: int
    unit: str
    benchmarks: list[str]
    metrics: list[str]
    metric: str
    seen: float | None
    alpha: float = ALPHA
    power: float = POWER


def finding(pairs: Pairs, changes: Sequence[Change], subsets: Sequence[str] = ()) -> Finding:
    """The facts of a comparison's sentence, from the pairs and changes of `comparison.compare`.

    Where metrics were chosen of which none is primary, they are the family, each of its mean over
    subsets where there are several. No change at all is a ValueError.
    """
    if not changes:
        raise ValueError("a comparison without changes says nothing")
    family = _family(changes)
    tested = [change for change in family if change.difference.p is not None]
    differing = [change for change in tested if (change.p_holm or 0.0) <= ALPHA]
    differing.sort(key=lambda change: -abs(change.difference.value))
    unit = _unit(pairs[0][0].run, family[0].metric)
    seen = _seen(pairs, family, len(tested), subsets)
    return Finding(
        outcome=_outcome(family, tested, differing),
        tests=len(tested),
        changes=differing,
        n=_count(family, unit),
        unit=unit,
        benchmarks=list(dict.fromkeys(change.benchmark for change in family)),
        metrics=list(dict.fromkeys(change.metric for change in family)),
        metric=seen.metric,
        seen=seen.difference,
    )


def _family(changes: Sequence[Change]) -> list[Change]:
    """The changes that are tested together, each with its adjusted p."""
    primary = [change for change in changes if change.primary]
    if primary:
        return primary
    means = {(c.benchmark, c.direction, c.metric) for c in changes if c.subset == MEAN}
    heads = []
    for change in changes:
        is_head = change.subset == MEAN
        if is_head or (change.benchmark, change.direction, change.metric) not in means:
            heads.append(change)
    p_values = {i: c.difference.p for i, c in enumerate(heads) if c.difference.p is not None}
    adjusted = holm(p_values)
    return [change._replace(p_holm=adjusted.get(i)) for i, change in enumerate(heads)]


def _outcome(
    family: Sequence[Change], tested: Sequence[Change], differing: Sequence[Change]
) -> Outcome:
    if not any(change.difference.wins + change.difference.losses for change in family):
        return "equal"
    if not tested:
        return "untested"
    rose = [change.difference.value > 0 for change in differing]
    if not rose:
        return "no difference"
    if all(rose):
        return "better"
    return "mixed" if any(rose) else "worse"


def _unit(run: Run, metric: str) -> str:
    """What is counted: images, pairs of sentences, or queries."""
    if metric == SPEARMAN:
        return "pairs"
    with_images = run.manifest.config.row.task in ("image_text", "classification")
    return "images" if with_images and not run.manifest.mteb else "queries"


def _count(family: Sequence[Change], unit: str) -> int:
    """The images (or queries) of all benchmarks, those of several directions once."""
    largest: dict[str, int] = {}
    for change in family:
        n = change.groups if unit == "images" else change.n
        largest[change.benchmark] = max(n, largest.get(change.benchmark, 0))
    return sum(largest.values())


class _Seen(NamedTuple):
    """The smallest difference that would have been found, and what of."""

    metric: str
    difference: float | None


def _seen(pairs: Pairs, family: Sequence[Change], n_tests: int, subsets: Sequence[str]) -> _Seen:
    """What would have been found of the first metric that tells it, the largest of all its changes.

    Each test is planned at 5% divided by the number of tests: what Holm asks of the first of them.
    """
    for name, members in _scopes(family) if n_tests else ():
        design = Design(alpha=ALPHA / n_tests)
        difference = _largest_seen(pairs, members, design, subsets)
        if difference is not None:
            return _Seen(name, difference)
    return _Seen(family[0].metric, None)


def _scopes(family: Sequence[Change]) -> Iterator[tuple[str, list[Change]]]:
    """Parts of a family by what they are called: whole metrics first, then ever smaller parts."""
    names_by_scope: list[Callable[[Change], Sequence[str]]] = [
        lambda change: [change.metric],
        lambda change: [change.direction, change.metric],
        lambda change: [change.direction, change.metric, f"of {change.benchmark}"],
    ]
    for names in names_by_scope:
        parts: dict[str, list[Change]] = {}
        for change in family:
            parts.setdefault(" ".join(filter(None, names(change))), []).append(change)
        yield from parts.items()


def _largest_seen(
    pairs: Pairs, members: Sequence[Change], design: Design, subsets: Sequence[str]
) -> float | None:
    """The largest of the detectable differences of some changes of one metric."""
    # Where no query differs nothing is known of the spread.
    if any(change.difference.detectable is None for change in members):
        return None
    seen: list[float | None] = []
    metric = members[0].metric
    if metric == SPEARMAN:
        seen += [_seen_by_bootstrap(change, design) for change in members]
        members = []
    directions: dict[str, list[str]] = {}
    for change in members:
        directions.setdefault(change.benchmark, []).append(change.direction)
    for pair in pairs:
        benchmark = pair[0].run.manifest.benchmark
        if benchmark not in directions:
            continue
        choice = Choice(subsets=subsets, directions=directions[benchmark], metric=metric)
        for plan in plan_pairs([pair], [], design, choice):
            seen.append(_at_least(plan.seen_now, plan.queries, design))
    numbers = [difference for difference in seen if difference is not None]
    # unknown for one of them is unknown for all
    return max(numbers) if numbers and len(numbers) == len(seen) else None


def _seen_by_bootstrap(change: Change, design: Design) -> float | None:
    """The same where no query has a value: from the bootstrap's standard error."""
    detectable = change.difference.detectable
    if detectable is None:
        return None
    error = detectable / DETECTABLE_ERRORS
    return difference_seen(error**2 * change.groups, change.groups, design)


def _at_least(seen: float | None, queries: int, design: Design) -> float | None:
    """No less than what the sign-flip test can find at all.

    Where k images differ, all of them in one direction, its p is 2 / 2^k: few queries that differ
    have a small variance, and would promise what no test can show.
    """
    if seen is None:
        return None
    fewest = math.ceil(math.log2(2 / design.alpha))
    return max(seen, fewest / queries)
