"""What names on a command line mean: a row, a task of mteb, your own data, or a suite."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from evals.config.catalog import Benchmark, benchmarks
from evals.config.models import models
from evals.config.own_data import KINDS, DataRef, data_ref, kinds_in_words
from evals.config.rows import nearest
from evals.config.suites import MTEB, Suite, TaskRef, find_suite, suites, task_ref
from evals.schema import ConfigError

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
    if name in models():
        raise ConfigError(
            f"No benchmark {name!r}: that is a model. Write the benchmark first, and --model {name}."
        )
    before, colon, place = name.partition(":")
    chosen, equals, kind = before.rpartition("=")
    # `st` is a kind of model, and 0.8 like `sts`.
    near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.81)
    if colon and near:
        meant = f"{chosen}{equals}{near[0]}:{place}"
        raise ConfigError(f"No kind of data {kind!r}. Did you mean {meant}?")
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
