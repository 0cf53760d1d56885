"""Translates published names of benchmarks into places of our records, by published/benchmarks.yaml."""

import re
from functools import cache
from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from evals.config.rows import Row, Text, nearest, read_rows
from evals.paths import configs
from evals.records.manifest import PARTIAL
from evals.report.published_csv import slug
from evals.schema import ConfigError

# In place of a metric's name: whatever mteb judges the task by.
MAIN = "main score"
# In place of a subset: the mean over all that the record has.
ALL = "*"


class Names(NamedTuple):
    """What a published metric is called in the record of a row, and in that of a task of mteb."""

    of_row: str | None
    of_task: str | None


# mteb writes recall_at_5 where papers write R@5; MAIN is a task's main score, whatever it is
METRICS = {
    "recall@1": Names("R@1", "recall_at_1"),
    "recall@5": Names("R@5", "recall_at_5"),
    "recall@10": Names("R@10", "recall_at_10"),
    "ndcg@5": Names(None, "ndcg_at_5"),
    "ndcg@10": Names("nDCG@10", "ndcg_at_10"),
    "top1": Names("acc@1", None),
    "map": Names("mAP", MAIN),
    "map@10": Names(None, MAIN),
    "accuracy": Names(None, "accuracy"),
    "v_measure": Names(None, "v_measure"),
    "average_precision": Names(None, "cosine_ap"),
    "spearman": Names(None, "cosine_spearman"),
}
# mteb:TASK/SPLIT[/SUBSET], and ROW[/SUBSET]
TASK = re.compile(r"mteb:([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)(?:/([\w.*-]+))?")
_ROW = re.compile(r"([a-z0-9][a-z0-9._-]*)(?:/(\w[\w.-]*))?")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Member = Annotated[str, Field(pattern=f"^({TASK.pattern}|{_ROW.pattern})$")]


class Quantity(Row):
    """What a published benchmark is the mean of: members `of`, or other quantities as `parts`.

    `also` are further names of it, `unit` is what its members are. `pooled` takes the mean over
    the members of all `parts`, instead of the mean of the parts' means. `content` is the content
    hash of a member's data, where it is known.
    """

    name: str
    of: Annotated[tuple[Member, ...], Field(strict=False)] = ()
    parts: dict[str, str] = Field(default_factory=dict)
    pooled: bool = False
    unit: Text = "sets"
    also: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    content: dict[Member, Sha256] = Field(default_factory=dict)
    not_run: Text | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> "Quantity":
        if bool(self.of) + bool(self.parts) + bool(self.not_run) != 1:
            raise ValueError("needs one of `of`, `parts` and `not_run`")
        if len(set(self.of)) < len(self.of):
            raise ValueError("a member is listed twice")
        if self.content.keys() - set(self.of):
            raise ValueError("`content` names what is no member")
        return self


class Place(NamedTuple):
    """Where in the records one number is; `benchmark` is written as evals.run takes it.

    `subset` and `direction` are None where there is only one, `dim` for the full width, `split`
    for what is no task of mteb, `content` where the hash of its data is not known. `own`: data of
    one's own is meant.
    """

    benchmark: str
    split: str | None
    subset: str | None
    direction: str | None
    metric: str
    dim: int | None
    content: str | None = None
    own: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The benchmark names that records of it may carry.

        A task of mteb that was limited to subsets measured those subsets whole.
        """
        if not self.split:
            return (self.benchmark,)
        task = self.benchmark.partition("/")[0].replace("mteb:", "mteb.")
        # evals.run names a record after the task, or after task and split
        names = (task, f"{task}.{self.split}")
        if self.subset == ALL:
            return names
        return (*names, *(f"{name}{PARTIAL}" for name in names))


class Selector(NamedTuple):
    """A number as the mean over groups of means over places; `unit` is what is counted.

    `not_run` says why it has no places.
    """

    groups: tuple[tuple[Place, ...], ...] = ()
    unit: str = ""
    not_run: str | None = None


class Meaning(NamedTuple):
    """Which number of a quantity is meant."""

    metric: str
    direction: str | None = None
    language: str | None = None
    dim: int | None = None


@cache
def quantities() -> dict[str, Quantity]:
    """Published benchmarks by key, under each of their names.

    A member of an average that is alone under its data set's name is there by that name too.
    """
    rows = read_rows(configs() / "published" / "benchmarks.yaml", Quantity)
    members: dict[str, set[str]] = {}
    synonyms: dict[str, Quantity] = {}
    for row in rows.values():
        synonyms |= dict.fromkeys(row.also, row)
        for member in row.of:
            if not member.endswith(f"/{ALL}"):
                members.setdefault(slug(_set_name(member)), set()).add(member)
    # a name with several members is ambiguous, and only rows may use it
    single = {
        name: Quantity(name=name, of=tuple(of_name))
        for name, of_name in members.items()
        if len(of_name) == 1
    }
    return single | rows | synonyms


def selector(benchmark: str, meaning: Meaning) -> Selector:
    """Where a published number is found in records. ConfigError for an unknown name."""
    row = _quantity(benchmark)
    if row.not_run:
        return Selector(not_run=row.not_run)
    # An average of averages: the parts may be of different metrics, and each says its own.
    if row.parts:
        return _of_parts(row, meaning)
    places = [
        _place(member, meaning)._replace(content=row.content.get(member)) for member in row.of
    ]
    if meaning.language:
        places = [place for place in places if place.subset == meaning.language]
        if len(places) != 1:
            raise ConfigError(
                f"configs/published/benchmarks.yaml, row {row.name}: "
                f"has no language {meaning.language!r}."
            )
    return Selector((tuple(places),), row.unit)


def _of_parts(row: Quantity, meaning: Meaning) -> Selector:
    groups: list[tuple[Place, ...]] = []
    for part, metric in row.parts.items():
        groups += selector(part, meaning._replace(metric=metric)).groups
    # each place is a group by itself, and so counts the same
    if row.pooled:
        groups = [(place,) for group in groups for place in group]
    return Selector(tuple(groups), row.unit)


def _place(member: str, meaning: Meaning) -> Place:
    names = METRICS.get(meaning.metric, Names(None, None))
    task = TASK.fullmatch(member)
    if task:
        benchmark, split, subset = f"mteb:{task[1]}/{task[2]}", task[2], task[3] or "default"
        metric = names.of_task
        # mteb knows no directions: records keep the split there
        direction: str | None = split
    else:
        row = _ROW.fullmatch(member)
        assert row is not None  # the pattern of Member
        benchmark, split, subset = row[1], None, row[2]
        metric, direction = names.of_row, meaning.direction
    if metric is None:
        raise ConfigError(
            f"{member}: records have no metric for the published {meaning.metric!r}; "
            "see evals.report.names.METRICS."
        )
    return Place(benchmark, split, subset, direction, metric, meaning.dim)


def _set_name(member: str) -> str:
    match = TASK.fullmatch(member)
    return match[1] if match else member.partition("/")[0]


def _quantity(benchmark: str) -> Quantity:
    key = slug(benchmark)
    if key not in quantities():
        raise ConfigError(
            f"configs/published/benchmarks.yaml has no row {key!r}.{nearest(key, quantities())} "
            "Add one, or correct configs/tables."
        )
    return quantities()[key]
