"""What a name on a command line means: a row, a task of mteb, data of one's own, or a suite."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from evals.config.catalog import Benchmark, benchmarks
from evals.config.own_data import DataRef, data_ref, kinds_in_words
from evals.config.rows import Row, Text, nearest, read_rows
from evals.paths import configs, leads_out
from evals.ranking.measures import MEASURES, is_metric
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

    @property
    def tasks(self) -> list[TaskRef]:
        """The mteb tasks, limited as the suite says."""
        refs = [task_ref(name) for name in self.benchmarks if name.startswith(MTEB)]
        return [ref._replace(subsets=self.subsets.get(MTEB + ref.task)) for ref in refs]

    @property
    def own(self) -> dict[str, DataRef]:
        """The data of one's own, by how it is written: `birds=captions:data/birds`."""
        refs = {name: data_ref(name) for name in self.benchmarks}
        return {name: ref for name, ref in refs.items() if ref is not None}

    def task(self, member: str) -> TaskRef | None:
        """The task that `mteb:TASK` or `mteb:TASK/SPLIT` means in this suite.

        None when there is not exactly one.
        """
        # Two splits of one task are two tasks here, and `mteb:TASK` says neither.
        refs = [ref for ref in self.tasks if member in (ref.name, MTEB + ref.task)]
        return refs[0] if len(refs) == 1 else None


Work = Benchmark | TaskRef | DataRef  # what can be evaluated


class Choice(NamedTuple):
    """What a command line asks for.

    `work` is what is evaluated, each once and in the order that it was named; `suites` are those
    that were named.
    """

    work: list[Work]
    suites: list[Suite]


def choose(
    names: Sequence[str],
    suite_names: Sequence[str] = (),
    *,
    subsets: Sequence[str] | None = None,
    data_name: str | None = None,
) -> Choice:
    """What names mean: mteb tasks, data of one's own, rows, or suites where there is no such row.

    Behind them come the suites of `suite_names`. `subsets` is the option: ConfigError when a suite
    limits them too. `data_name` is what the only data of one's own is called. ConfigError also for
    a name that means nothing here; whether mteb has a task is seen when it is run, and whether data
    is where it should be when it is loaded.
    """
    # Rows before suites: a suite may be called as a row that it holds.
    rows, all_suites = benchmarks(), suites()
    meant = [_meaning(name, rows, all_suites, data_name) for name in names]
    _check_names([item for item in meant if isinstance(item, DataRef)], data_name)
    meant += [find_suite(name, all_suites) for name in suite_names]
    chosen = {item.name: item for item in meant if isinstance(item, Suite)}
    for suite in chosen.values():
        if subsets is not None and suite.subsets:
            raise ConfigError(
                f"--subsets {','.join(subsets)}: the suite {suite.name} has its own. "
                "Name single benchmarks instead."
            )
    # What is named twice is evaluated once.
    work: dict[tuple[str, tuple[str, ...] | None], Work] = {}
    for item in meant:
        for part in _parts(item, rows):
            subsets_of_part = None if isinstance(part, DataRef) else part.subsets
            work.setdefault((part.name, subsets_of_part), part)
    return Choice(list(work.values()), list(chosen.values()))


def choose_row(name: str, *, data_name: str | None = None) -> Benchmark | DataRef:
    """What a name means where only rows and data of one's own can be measured.

    ConfigError for anything else, as `choose` gives it.
    """
    [item, *rest] = choose([name], data_name=data_name).work
    if rest or isinstance(item, TaskRef):
        raise ConfigError(
            f"{name}: is no row of configs/benchmarks.yaml. Name one, or captions:DIR."
        )
    return item


def _meaning(
    name: str, rows: dict[str, Benchmark], all_suites: dict[str, Suite], data_name: str | None
) -> Benchmark | TaskRef | DataRef | Suite:
    if name.startswith(MTEB):
        return task_ref(name)
    ref = data_ref(name, data_name)
    if ref is not None:
        return _unlike_rows(ref, {**rows, **all_suites})
    if name in rows:
        return rows[name]
    if name in all_suites:
        return all_suites[name]
    if Path(name).expanduser().exists():
        raise ConfigError(
            f"{name}: is a folder or file, and what is in it is not said. "
            f"Write its kind before it: {kinds_in_words()}."
        )
    raise ConfigError(
        f"No benchmark {name!r}.{nearest(name, {**rows, **all_suites})} `python -m evals.run --list` shows "
        f"all rows and suites. A task of mteb is mteb:TASK, and data of your own is {kinds_in_words()}."
    )


def _unlike_rows(ref: DataRef, rows: Mapping[str, object]) -> DataRef:
    """The same; ConfigError for a name under which others would read a benchmark's number."""
    if ref.name in rows:
        raise ConfigError(
            f"{ref.written}: {ref.name} is a row of configs/, and this data would pass for it. "
            f"Choose another name with --name, or measure that row: {ref.name} --data {ref.place}."
        )
    return ref


def _check_names(refs: Sequence[DataRef], data_name: str | None) -> None:
    """Refuse two data of one name, and a --name that does not say which data it names."""
    if data_name and len(refs) != 1:
        raise ConfigError(
            f"--name {data_name}: names one data of your own, and there are {len(refs)}. "
            "Write NAME=KIND:PLACE for each, as in birds=captions:DIR."
        )
    first: dict[str, DataRef] = {}
    for ref in refs:
        same = first.setdefault(ref.name, ref)
        if same != ref:
            raise ConfigError(
                f"{same.written} and {ref.written} would both be called {ref.name}. "
                f"Write NAME={ref.written} for one of them."
            )


def _parts(item: Benchmark | TaskRef | DataRef | Suite, rows: dict[str, Benchmark]) -> list[Work]:
    """The rows and tasks of a suite; anything else is its only part."""
    if not isinstance(item, Suite):
        return [item]
    parts: dict[str, Work] = {**rows, **item.own}
    parts |= {task.name: task for task in item.tasks}
    return [parts[name] for name in item.benchmarks]


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
            f"No suite {name!r}.{nearest(name, rows)} The suites are: {', '.join(rows)}."
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
