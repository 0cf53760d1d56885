"""Checks the claims of a model card against records: agrees, deviates, or was not measured.

A claim says that a model has a value of a metric on a benchmark. What was measured comes from
records alone; a claimed value never stands in its place.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from evals.config.catalog import benchmarks
from evals.config.rows import nearest
from evals.ranking.metric_table import RANKS, graded_measure, is_metric
from evals.records.shelf import Choice
from evals.report.checkpoints import Pinned, runnable, stand_in_of
from evals.report.claims_csv import Claim
from evals.report.measured import Mean, Number, Records, SeveralError
from evals.report.names import (
    ALL,
    MAIN,
    METRICS,
    TASK,
    Meaning,
    Place,
    Selector,
    quantities,
    selector,
)
from evals.report.published_csv import slug
from evals.schema import ConfigError

Verdict = Literal["agrees", "deviates", "not measured"]
VERDICTS: tuple[Verdict, ...] = ("agrees", "deviates", "not measured")
# Those of every gate: what is missing may hide a deviation, and outranks it (docs/ci.md).
EXIT_CODES: dict[Verdict, int] = {"agrees": 0, "deviates": 1, "not measured": 3}
# a difference of 0.3 in floating point is 0.30000000000001
_SLACK = 1e-9


class Checked(NamedTuple):
    """A claim and what was measured: in per cent, or in ranks where the metric is one.

    `measured` is None where `verdict` is "not measured", and `why` then says why. `low` and `high`
    are the 95% interval, None for a mean over several numbers. `deviation` is measured - claimed.
    """

    claim: Claim
    measured: float | None
    low: float | None
    high: float | None
    deviation: float | None
    verdict: Verdict
    why: str
    numbers: tuple[Number, ...]


def check_claims(
    claims: Sequence[Claim], records: Records, stand_in: Mapping[str, str] | None = None
) -> list[Checked]:
    """Each claim against the newest whole record of its model that has the number.

    A name of configs/published/models.yaml is that checkpoint, by its commit or weights; `stand_in`
    gives it another. Any other name is that of records, or the folder of a checkpoint. ConfigError
    names line and column of what no record can ever have; InvalidError a record that is broken.
    """
    # All lines before any record is judged: a misspelt name is no missing measurement.
    selectors = [_selector(claim, records) for claim in claims]
    models = {claim.model: _choice(claim.model, records, stand_in or {}) for claim in claims}
    return [
        _check(claim, chosen, models[claim.model], records)
        for claim, chosen in zip(claims, selectors, strict=True)
    ]


def counts(checked: Sequence[Checked]) -> dict[Verdict, int]:
    """How many claims got each verdict."""
    counted = Counter(each.verdict for each in checked)
    return {verdict: counted[verdict] for verdict in VERDICTS}


def exit_code(checked: Sequence[Checked]) -> int:
    """0 all agree, 1 some deviate, 3 some were not measured, whatever the others are."""
    return max(EXIT_CODES[each.verdict] for each in checked)


def _check(claim: Claim, chosen: Selector, model: Choice, records: Records) -> Checked:
    if chosen.not_run:
        return _not_measured(claim, chosen.not_run)
    try:
        mean = records.mean(model, chosen)
    except SeveralError as error:
        problem = (
            f"{error.fact}. Write it behind the name, as in scenes/en or mteb:STS17/test/en-en (`/{ALL}` "
            "is the mean over all), and t2i/ or i2t/ before the metric of captions."
        )
        raise claim.error("benchmark", problem) from None
    if mean.value is None:
        return _not_measured(claim, _why(mean, chosen, model, records), mean.numbers)
    scale = 1 if claim.metric in RANKS else 100
    measured = scale * mean.value
    low = None if mean.low is None else scale * mean.low
    high = None if mean.high is None else scale * mean.high
    deviation = measured - claim.value
    # No number is nearer to the truth than it was printed: 90 agrees with 90.4.
    allowed = max(claim.tolerance, claim.rounding) + _SLACK
    verdict: Verdict = "agrees" if abs(deviation) <= allowed else "deviates"
    return Checked(claim, measured, low, high, deviation, verdict, "", mean.numbers)


def _not_measured(claim: Claim, why: str, numbers: tuple[Number, ...] = ()) -> Checked:
    return Checked(claim, None, None, None, None, "not measured", why, numbers)


def _why(mean: Mean, chosen: Selector, model: Choice, records: Records) -> str:
    # A record of that name that does not count is the likeliest surprise, and is named.
    if isinstance(model, Pinned):
        refused = records.refused(model, chosen)
        if refused:
            return f"no record of the published checkpoint has it; {refused}"
    if mean.of > 1:
        return f"{mean.have} of {mean.of} {chosen.unit} have a record"
    return "no record has it"


def _choice(text: str, records: Records, stand_in: Mapping[str, str]) -> Choice:
    """Which records count for a model as a card calls it: its name, or its id on the Hub."""
    names = {text, text.replace("/", "--"), slug(text)}
    for checkpoint in runnable().values():
        if names & set(checkpoint.names):
            instead = stand_in_of(checkpoint, stand_in)
            return records.stand_in(instead) if instead else checkpoint
    return records.stand_in(text)


def _selector(claim: Claim, records: Records) -> Selector:
    """Where records have what is claimed: a task of mteb, a row, or a published benchmark."""
    task = TASK.fullmatch(claim.benchmark)
    if task:
        return _of_place(_place_of_task(claim, task[1], task[2], task[3]))
    if claim.benchmark.startswith("mteb:"):
        raise claim.error("benchmark", "write mteb:TASK/SPLIT or mteb:TASK/SPLIT/SUBSET.")
    name, _, subset = claim.benchmark.partition("/")
    own = name not in benchmarks()
    if not own or name in records.benchmarks:
        metric = _metric_of_row(claim)
        place = Place(name, None, subset or None, claim.direction, metric, claim.dim, own=own)
        return _of_place(place)
    # The whole name first: `MTEB Retrieval/Average` would be one name with a slash in it.
    if slug(claim.benchmark) in quantities():
        return _published(claim, claim.benchmark, None)
    if slug(name) in quantities() and subset:
        return _published(claim, name, subset)
    names = dict.fromkeys([*benchmarks(), *records.benchmarks, *quantities()])
    raise claim.error(
        "benchmark",
        f"no benchmark {name!r}.{nearest(name, names)} Write a row of configs/benchmarks.yaml, "
        "mteb:TASK/SPLIT, a row of configs/published/benchmarks.yaml, or what records call data of "
        "your own.",
    )


def _of_place(place: Place) -> Selector:
    return Selector(((place,),))


def _place_of_task(claim: Claim, task: str, split: str, subset: str | None) -> Place:
    if claim.direction:
        raise claim.error("metric", "mteb knows no directions. Leave out t2i/ or i2t/.")
    published = METRICS.get(claim.metric)
    metric = published.of_task if published else claim.metric
    if metric is None:
        raise claim.error(
            "metric", f"{claim.metric} is none of mteb's. Write {MAIN!r}, or as it does."
        )
    return Place(f"mteb:{task}/{split}", split, subset, split, metric, claim.dim)


def _metric_of_row(claim: Claim) -> str:
    published = METRICS.get(claim.metric)
    metric = published.of_row if published else claim.metric
    if metric is None or not _is_metric(metric):
        raise claim.error(
            "metric", f"no metric {claim.metric!r}, such as t2i/R@5, acc@1 or nDCG@10."
        )
    return metric


def _is_metric(name: str) -> bool:
    """Whether records may have it: a row of the table of measures, or one of any cut-off."""
    try:
        return is_metric(name) or bool(graded_measure(name))
    except ValueError:
        return False


def _published(claim: Claim, benchmark: str, language: str | None) -> Selector:
    """A benchmark as papers call it, by their metric or by what records call the same."""
    of_row = {names.of_row: name for name, names in METRICS.items() if names.of_row}
    metric = of_row.get(claim.metric, claim.metric)
    try:
        return selector(benchmark, Meaning(metric, claim.direction, language, claim.dim))
    except ConfigError as error:
        raise claim.error("benchmark", str(error)) from None
