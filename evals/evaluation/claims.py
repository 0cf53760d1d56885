"""Published statements about fewer dimensions (configs/claims.yaml) beside what a sweep measured.

"Kept" is the mean over the benchmarks of a statement at fewer dimensions, over that at the full
width. Where a source prints a loss it does not say whether it is relative or in points, so both
readings are measured, and either may reproduce it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from evals.config.catalog import benchmarks
from evals.config.rows import Row, Text, read_rows
from evals.config.suites import suites
from evals.evaluation.averages import averages, values_of_rows
from evals.evaluation.outcome import Result
from evals.paths import configs
from evals.records.means import plain_mean

Fraction = Annotated[float, Field(gt=0, le=1)]


class Claim(Row):
    """A published statement: what share of the score of `full` dimensions is `kept` at `dim`.

    It is of the mean over the parts `of`. Without a `metric` it is the main score of tasks.
    """

    name: str
    statement: Text
    source: Text
    kept: Fraction
    kind: Literal["about", "over"] = "about"
    tolerance: Annotated[float, Field(ge=0, lt=0.1)] = 0.0
    dim: Annotated[int, Field(gt=0)]
    full: Annotated[int, Field(gt=0)] = 1024
    direction: Literal["t2i", "i2t", ""] = ""
    metric: Text | None = None
    of: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
    model: Text = "jina-clip-v2"


class Verdict(NamedTuple):
    """A statement beside the measurement of one model.

    `verdict` is `reproduced`, `deviates`, `other model` or `not run`. `relative` is the share kept;
    `points` is 1 less the loss in points. Both are None while parts are `missing`. `stands_in` says
    who was measured in the place of the model of the statement.
    """

    claim: Claim
    model: str
    relative: float | None
    points: float | None
    missing: list[str]
    verdict: str
    stands_in: str | None = None


def claims(path: Path | None = None) -> dict[str, Claim]:
    """All rows of claims.yaml by name; ConfigError for a row that cannot be read."""
    return read_rows(path or configs() / "claims.yaml", Claim)


class Subject(NamedTuple):
    """A model that statements may be about: what it is in words, and whether it is the published one.

    `stands_for` is the model whose statements it is judged by though it is another.
    """

    described: str
    published: bool
    stands_for: str | None = None


def check_claims(
    outcomes: Sequence[Result],
    subjects: Mapping[str, Subject],
    rows: Mapping[str, Claim] | None = None,
) -> list[Verdict]:
    """A verdict on every statement for its own model, and for others that have all of its parts.

    `subjects` has the models of the outcomes by name. A name proves nothing: who is not the
    published model is another one, unless it stands in, and then the verdict says so.
    """
    parts, rows = _parts(outcomes), claims() if rows is None else rows
    verdicts = []
    for claim in rows.values():
        for model in dict.fromkeys([claim.model, *(outcome.model for outcome in outcomes)]):
            verdict = _verdict(claim, model, subjects.get(model), parts)
            if model == claim.model or not verdict.missing:
                verdicts.append(verdict)
    return verdicts


# By model, direction and dimension: the values of each part, by metric.
PartValues = dict[tuple[str, str, int], dict[str, dict[str, float]]]


def _parts(outcomes: Sequence[Result]) -> PartValues:
    """Every part that claims can name: subsets of rows, whole rows, and the averages of suites."""
    parts: PartValues = {}
    rows = benchmarks()
    for key, members in values_of_rows(outcomes).items():
        values = parts.setdefault(key, {})
        values |= members
        for name in dict.fromkeys(member.partition("/")[0] for member in members):
            if name not in rows:
                continue
            subsets = [f"{name}/{subset}" for subset in rows[name].subsets]
            # ROW/* is all subsets of a row, and nothing while one of them is missing.
            if all(member in members for member in subsets):
                values[f"{name}/*"] = {
                    metric: plain_mean(members[member][metric] for member in subsets)
                    for metric in members[subsets[0]]
                }
    for suite in suites().values():
        for mean in averages(suite, outcomes):
            if mean.value is not None:
                values_of_mean = parts.setdefault((mean.model, mean.direction, mean.dim), {})
                values_of_mean.setdefault(f"{suite.name}: {mean.title}", {})[mean.metric] = (
                    mean.value
                )
    return parts


def _verdict(claim: Claim, model: str, subject: Subject | None, parts: PartValues) -> Verdict:
    short = _values(claim, parts.get((model, claim.direction, claim.dim), {}))
    full = _values(claim, parts.get((model, claim.direction, claim.full), {}))
    # A part at one of the two widths alone has no share.
    missing = [part for part in claim.of if part not in short or part not in full]
    if missing:
        return Verdict(claim, model, None, None, missing, "not run")
    at_short, at_full = plain_mean(short.values()), plain_mean(full.values())
    relative = at_short / at_full if at_full else 0.0
    points = 1 - (at_full - at_short)
    # Either reading will do: the source does not say which it means.
    holds = _holds(claim, relative) or _holds(claim, points)
    judged = "reproduced" if holds else "deviates"
    if subject is not None and subject.stands_for == claim.model:
        return Verdict(claim, model, relative, points, [], judged, subject.described)
    if model == claim.model and subject is not None and not subject.published:
        # it only has the name, and must not be taken for the model of the statement
        return Verdict(claim, subject.described, relative, points, [], "other model")
    # A statement about one model is neither confirmed nor refuted by another.
    if model != claim.model or subject is None:
        judged = "other model"
    return Verdict(claim, model, relative, points, [], judged)


def _values(claim: Claim, parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The value of each part that there is: of its metric, or of tasks of the only one."""
    named_parts = {part: parts[part] for part in claim.of if part in parts}
    if claim.metric is None:
        return {part: next(iter(values.values())) for part, values in named_parts.items()}
    return {
        part: values[claim.metric] for part, values in named_parts.items() if claim.metric in values
    }


def _holds(claim: Claim, share: float) -> bool:
    # "over 99%" is printed of several benchmarks, and 99.0% itself would not be over it.
    if claim.kind == "over":
        return share > claim.kept
    return abs(share - claim.kept) <= claim.tolerance


def as_json(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """The same as JSON: fractions, with the parts that are missing."""
    return [
        {
            "claim": verdict.claim.name,
            "statement": verdict.claim.statement,
            "source": verdict.claim.source,
            "published": verdict.claim.kept,
            "kind": verdict.claim.kind,
            "model": verdict.model,
            "relative": verdict.relative,
            "points": verdict.points,
            "missing": verdict.missing,
            "verdict": verdict.verdict,
            "stands_in": verdict.stands_in,
        }
        for verdict in verdicts
    ]
