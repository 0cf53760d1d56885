"""Suites of benchmarks (configs/suites.yaml), their averages, and the tasks of mteb they name."""

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from evals.config.catalog import Benchmark, benchmarks
from evals.config.own_data import DataRef, data_ref
from evals.config.rows import Row, Text, nearest, read_rows
from evals.paths import configs, leads_out
from evals.ranking.metric_table import MEASURES, is_metric
from evals.schema import ConfigError

MTEB = "mteb:"
# As on a command line: mteb:TASK or mteb:TASK/SPLIT.
_TASK = re.compile(rf"{MTEB}([A-Za-z0-9][\w.-]*)(?:/([A-Za-z0-9][\w.-]*))?")
_MEMBER = rf"^({_TASK.pattern}|[a-z0-9][a-z0-9._-]*/\w[\w.-]*)$"


class TaskRef(NamedTuple):
    """An mteb task with its split and subsets.

    None stands for all splits that mteb evaluates, or for all subsets.
    """

    task: str
    split: str | None = None
    subsets: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """As it is written on a command line: `mteb:TASK` or `mteb:TASK/SPLIT`."""
        return f"{MTEB}{self.task}/{self.split}" if self.split else f"{MTEB}{self.task}"


def _metric(name: str) -> str:
    if not is_metric(name):
        raise ValueError(f"no such metric; there is {', '.join(row.name for row in MEASURES)}")
    return name


class Average(Row):
    """A mean over members and nothing else.

    Members are `benchmark/subset`, of which `metric` (`R@5`) is taken, one value a direction; or
    mteb tasks, each by its main score, the plain mean over its subsets.
    """

    metric: Annotated[str, AfterValidator(_metric)] = "R@5"
    of: Annotated[
        tuple[Annotated[str, Field(pattern=_MEMBER)], ...], Field(strict=False, min_length=1)
    ]

    @property
    def of_tasks(self) -> bool:
        """Whether the members are mteb tasks."""
        return self.of[0].startswith(MTEB)

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Average":
        if len({member.startswith(MTEB) for member in self.of}) > 1:
            raise ValueError("an average is over rows or over mteb tasks, not over both")
        # Each task of mteb has its own main score, and R@5 is none of theirs.
        if self.of_tasks and "metric" in self.model_fields_set:
            raise ValueError("mteb tasks count by their main score; leave out `metric`")
        if len(set(self.of)) < len(self.of):
            raise ValueError("a member is listed twice")
        return self


class Suite(Row):
    """Rows and mteb tasks that are run together, and averages over some of them.

    A task is named with its split; `subsets` limits tasks, by `mteb:TASK`, to some of their
    subsets. `about` is printed with the results.
    """

    name: str
    title: Text
    benchmarks: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
    subsets: dict[str, Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]] = Field(
        default_factory=dict
    )
    averages: dict[str, Average] = Field(default_factory=dict)
    about: Text | None = None

    @cached_property
    def tasks(self) -> tuple[TaskRef, ...]:
        """The mteb tasks, limited as the suite says."""
        refs = [task_ref(name) for name in self.benchmarks if name.startswith(MTEB)]
        return tuple(ref._replace(subsets=self.subsets.get(MTEB + ref.task)) for ref in refs)

    @cached_property
    def own(self) -> dict[str, DataRef]:
        """The data of one's own, by how it is written: `birds=captions:data/birds`."""
        refs = {name: data_ref(name) for name in self.benchmarks}
        return {name: ref for name, ref in refs.items() if ref is not None}

    def task(self, member: str) -> TaskRef | None:
        """The task that `mteb:TASK` or `mteb:TASK/SPLIT` means in this suite.

        None when there is not exactly one.
        """
        # Two splits of one task are two tasks here, and `mteb:TASK` says neither.
        refs = self._tasks_of.get(member, [])
        return refs[0] if len(refs) == 1 else None

    @cached_property
    def _tasks_of(self) -> dict[str, list[TaskRef]]:
        """The tasks by `mteb:TASK`, and by the name that says the split too."""
        tasks: dict[str, list[TaskRef]] = {}
        for ref in self.tasks:
            for member in {ref.name, MTEB + ref.task}:
                tasks.setdefault(member, []).append(ref)
        return tasks


def task_ref(name: str) -> TaskRef:
    """`mteb:TASK` or `mteb:TASK/SPLIT` in its parts; ConfigError when it is neither."""
    match = _TASK.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"{name!r} names no mteb task. Write mteb:TASK or mteb:TASK/SPLIT, as mteb:MSMARCO/dev."
        )
    return TaskRef(match[1], match[2])


def suites(path: Path | None = None) -> dict[str, Suite]:
    """All rows of suites.yaml by name.

    ConfigError also when one names a benchmark or subset that there is not.
    """
    file, rows = path or configs() / "suites.yaml", benchmarks()
    all_suites = read_rows(file, Suite)
    for suite in all_suites.values():
        problem = _problem(suite, rows)
        if problem:
            raise ConfigError(f"{file}, row {suite.name}{problem}")
    return all_suites


def find_suite(name: str, rows: dict[str, Suite] | None = None) -> Suite:
    """The row `name` of suites.yaml; ConfigError with the nearest names when there is none."""
    rows = suites() if rows is None else rows
    if name not in rows:
        raise ConfigError(
            f"No suite {name!r}.{nearest(name, rows)} `python -m evals.run --list` shows all."
        )
    return rows[name]


def _problem(suite: Suite, rows: dict[str, Benchmark]) -> str | None:
    """What a suite names that there is not; None when there is all of it."""
    for name in suite.benchmarks:
        if name.startswith(MTEB):
            match = _TASK.fullmatch(name)
            # Without a split mteb's default would decide, and it changes with its version.
            if match is None or match[2] is None:
                return f": {name!r} is no exact task of mteb. Write mteb:TASK/SPLIT."
        elif name in suite.own:
            # A suite that is shared must not read any folder of whoever runs it.
            if suite.own[name].name in rows or leads_out(suite.own[name].place):
                return f": {name!r} is called as a row, or leads out of the folder it is run in."
        elif name not in rows:
            return f": no benchmark {name!r}.{nearest(name, rows)}"
    stray = suite.subsets.keys() - {MTEB + ref.task for ref in suite.tasks}
    if stray:
        return (
            f": it limits the subsets of {min(stray)}, which it does not run. "
            "Write mteb:TASK, without a split."
        )
    for title, average in suite.averages.items():
        for member in average.of:
            if not _has_member(suite, average, member, rows):
                return f", average {title!r}: the suite has no {member}."
    return None


def _has_member(suite: Suite, average: Average, member: str, rows: dict[str, Benchmark]) -> bool:
    if average.of_tasks:
        return suite.task(member) is not None
    name, _, subset = member.partition("/")
    # Which subsets data of one's own has is seen when it is read.
    if name in {ref.name for ref in suite.own.values()}:
        return True
    return name in suite.benchmarks and subset in rows[name].subsets
