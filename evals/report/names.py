"""What published names stand for in our records: configs/published/models.yaml and benchmarks.yaml as selectors."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

from pydantic import Field, model_validator

from evals.config.catalog import Row, Text, nearest, read_rows
from evals.paths import configs
from evals.report.published import slug
from evals.schema import ConfigError

MAIN = "main score"
ALL = "*"
METRICS = {  # as published: of a row's record, of a task of mteb
    "recall@1": ("R@1", "recall_at_1"),
    "recall@5": ("R@5", "recall_at_5"),
    "recall@10": ("R@10", "recall_at_10"),
    "ndcg@5": (None, "ndcg_at_5"),
    "ndcg@10": ("nDCG@10", "ndcg_at_10"),
    "top1": ("acc@1", None),
    "map": ("mAP", MAIN),
    "map@10": (None, MAIN),
    "accuracy": (None, "accuracy"),
    "v_measure": (None, "v_measure"),
    "average_precision": (None, "cosine_ap"),
    "spearman": (None, "cosine_spearman"),
}
_TASK = re.compile(r"mteb:([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)(?:/([\w.*-]+))?")
_ROW = re.compile(r"([a-z0-9][a-z0-9._-]*)(?:/(\w[\w.-]*))?")
R = TypeVar("R")
Member = Annotated[str, Field(pattern=f"^({_TASK.pattern}|{_ROW.pattern})$")]


class Model(Row):
    """A published model: the names its records may carry, or why there are none."""

    name: str
    records: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    not_run: Text | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Model":
        if bool(self.records) == bool(self.not_run):
            raise ValueError("needs either `records` or `not_run`")
        return self


class Quantity(Row):
    """What a published name of a benchmark is the mean of; `also` are other names of it, `unit` what its members are.

    `pooled` takes the mean over the members of all `parts`, instead of the mean of the parts' means.
    """

    name: str
    of: Annotated[tuple[Member, ...], Field(strict=False)] = ()
    parts: dict[str, str] = Field(default_factory=dict)
    pooled: bool = False
    unit: Text = "sets"
    also: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    not_run: Text | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> "Quantity":
        if bool(self.of) + bool(self.parts) + bool(self.not_run) != 1:
            raise ValueError("needs one of `of`, `parts` and `not_run`")
        if len(set(self.of)) < len(self.of):
            raise ValueError("a member is listed twice")
        return self


class Place(NamedTuple):
    """Where in the records one number is: `benchmark` as evals.run takes it; None is the only one, or the full width."""

    benchmark: str
    split: str | None
    subset: str | None
    direction: str | None
    metric: str
    dim: int | None

    @property
    def keys(self) -> tuple[str, ...]:
        """What records of it are called. A task of mteb that was limited to subsets measured those whole."""
        if not self.split:
            return (self.benchmark,)
        task = self.benchmark.partition("/")[0].replace("mteb:", "mteb.")
        whole = (task, f"{task}.{self.split}")
        return whole if self.subset == ALL else (*whole, *(f"{key}.partial" for key in whole))


class Selector(NamedTuple):
    """A number as the mean over groups of means over places; `unit` is what is counted. `not_run`: why it has no places."""

    groups: tuple[tuple[Place, ...], ...] = ()
    unit: str = ""
    not_run: str | None = None


class Wanted(NamedTuple):
    """What is asked of a quantity."""

    metric: str
    direction: str | None = None
    language: str | None = None
    dim: int | None = None


@cache
def models() -> dict[str, Model]:
    """Published models by key."""
    return read_rows(configs() / "published" / "models.yaml", Model)


@cache
def quantities() -> dict[str, Quantity]:
    """Published benchmarks by key, under each of their names; single members of averages under the data set's own name."""
    rows = read_rows(configs() / "published" / "benchmarks.yaml", Quantity)
    members: dict[str, set[str]] = {}
    for member in (
        member for row in rows.values() for member in row.of if not member.endswith(f"/{ALL}")
    ):
        members.setdefault(slug(_set_name(member)), set()).add(member)
    single = {
        name: Quantity(name=name, of=tuple(found))
        for name, found in members.items()
        if len(found) == 1
    }
    return single | rows | {other: row for row in rows.values() for other in row.also}


def records_of(model: str) -> Model:
    """What is known of a published model. ConfigError when nothing is."""
    return _known(model, models(), "models.yaml")


def selector(benchmark: str, wanted: Wanted) -> Selector:
    """Where a published number is found in records. ConfigError for a name that nothing is known of."""
    row = _known(benchmark, quantities(), "benchmarks.yaml")
    if row.not_run:
        return Selector(not_run=row.not_run)
    if row.parts:
        parts = [
            selector(part, wanted._replace(metric=metric)).groups
            for part, metric in row.parts.items()
        ]
        if row.pooled:
            return Selector(
                tuple((place,) for groups in parts for group in groups for place in group), row.unit
            )
        return Selector(tuple(group for groups in parts for group in groups), row.unit)
    places = [_place(member, wanted) for member in row.of]
    if wanted.language:
        places = [place for place in places if place.subset == wanted.language]
        if len(places) != 1:
            raise ConfigError(
                f"configs/published/benchmarks.yaml, row {row.name}: has no language {wanted.language!r}."
            )
    return Selector((tuple(places),), row.unit)


def _place(member: str, wanted: Wanted) -> Place:
    of_row, of_task = METRICS.get(wanted.metric, (None, None))
    if match := _TASK.fullmatch(member):
        metric, place = (
            of_task,
            Place(
                f"mteb:{match[1]}/{match[2]}",
                match[2],
                match[3] or "default",
                match[2],
                "",
                wanted.dim,
            ),
        )
    else:
        row = _ROW.fullmatch(member)
        assert row is not None  # the pattern of Member
        metric, place = of_row, Place(row[1], None, row[2], wanted.direction, "", wanted.dim)
    if metric is None:
        raise ConfigError(
            f"{member}: records have no metric for the published {wanted.metric!r}; see evals.report.names.METRICS."
        )
    return place._replace(metric=metric)


def _set_name(member: str) -> str:
    match = _TASK.fullmatch(member)
    return match[1] if match else member.partition("/")[0]


def _known(name: str, rows: Mapping[str, R], file: str) -> R:
    key = slug(name)
    if key not in rows:
        raise ConfigError(
            f"configs/published/{file} has no row {key!r}.{nearest(key, rows)} Add one, or correct configs/tables."
        )
    return rows[key]


def stand_ins(given: Sequence[str]) -> dict[str, str]:
    """What `--as MODEL=RECORDS` says, RECORDS being a name, or the folder of a checkpoint. ConfigError when it is neither."""
    pairs = [item.partition("=") for item in given]
    if wrong := [
        item for item, (model, _, name) in zip(given, pairs, strict=True) if not (model and name)
    ]:
        raise ConfigError(
            f"--as {wrong[0]}: write MODEL=RECORDS, as in jina-clip-v2=my-checkpoint."
        )
    return {
        model: Path(name).resolve().name if Path(name).is_dir() else name
        for model, _, name in pairs
    }
