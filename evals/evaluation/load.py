"""What a name on the command line becomes: data that is counted, an encoder that is not loaded yet."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.config.catalog import Benchmark
from evals.config.choice import Work
from evals.config.models import BUILT_IN, ModelRef
from evals.config.own_data import KINDS, DataRef, OwnBenchmark, Reading
from evals.config.plugins import ENCODERS, plugins
from evals.config.suites import TaskRef
from evals.evaluation.plugged import Plugged
from evals.schema import (
    ConfigError,
    Data,
    MissingError,
    TextRetrieval,
)
from evals.settings import ENCODER_SETTINGS, Settings

if TYPE_CHECKING:
    from evals.schema import Encoder


# Tasks without a second stage, and why.
NOT_RESCORED = {
    "classification": "classes are few, and are not rescored",
    "retrieval": "graded judgements are not scored in two stages",
    "text_pairs": "pairs are not searched",
}


RANKING = ("image_text", "retrieval")  # tasks whose queries rank documents


class Parts(NamedTuple):
    """The subsets of a benchmark, and why they are not the whole of it (None: they are)."""

    subsets: Mapping[str, Data]
    partial: dict[str, Any] | None


class Loaded(NamedTuple):
    """A row and its parts; the row of data of one's own is made when the data is read."""

    row: Benchmark
    parts: Parts


def check(
    work: Sequence[Work],
    refs: Sequence[ModelRef],
    settings: Settings,
    precisions: Sequence[str] = ("float32",),
) -> None:
    """Refuse what can be seen to be wrong before anything is loaded.

    Raises ConfigError for names, subsets and precisions that do not go together, MissingError when
    mteb is needed and absent.
    """
    for item in work:
        if not isinstance(item, Benchmark):
            continue
        unknown = set(settings.subsets or ()) - set(item.subsets)
        if unknown:
            raise ConfigError(
                f"{item.name} has no subset {', '.join(sorted(unknown))}. "
                f"It has {', '.join(item.subsets)}."
            )
    _check_own([item for item in work if isinstance(item, DataRef)], work, settings)
    tasks = [item for item in work if isinstance(item, TaskRef)]
    retrieval = any(task_of_work(item) == "retrieval" for item in work)
    if settings.instruction and not tasks and not retrieval:
        raise ConfigError(
            "--instruction means nothing without a task of mteb or text retrieval. Leave it out."
        )
    _check_measures(settings, retrieval=retrieval)
    _check_tasks(tasks, settings)
    if settings.keep_top is not None:
        _check_kept(work, precisions)
    if tasks and tuple(precisions) != ("float32",):
        raise ConfigError(
            f"{tasks[0].name} is measured in float32 only. "
            "Leave out --precisions, or name benchmarks alone."
        )
    plain = [item for item in work if task_of_work(item) in NOT_RESCORED]
    if plain and any("+rescore" in name for name in precisions):
        reason = NOT_RESCORED[task_of_work(plain[0])]
        raise ConfigError(f"{plain[0].name}: {reason}. Leave --rescore out.")
    # Their records would lie in one folder, and the newest would be taken for both.
    names = [ref.name for ref in refs]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ConfigError(
            f"Two models would share the name {min(repeated)} and the folder of their results. "
            "Give one another name: --model NAME=MODEL."
        )


def task_of_work(item: Work) -> str:
    """The task, before anything is read; empty for those of mteb, and for what a program holds."""
    if isinstance(item, Benchmark):
        return item.task
    kind = KINDS.get(item.kind) if isinstance(item, DataRef) else None
    return kind.task if kind else ""


def _check_own(refs: Sequence[DataRef], work: Sequence[Work], settings: Settings) -> None:
    """Refuse options of one's own data without any, and those of rows where there is none."""
    own_options = {
        "--name": settings.name,
        "--split": settings.split,
        "--columns": settings.columns,
    }
    used = [option for option, value in own_options.items() if value]
    if used and not refs:
        raise ConfigError(
            f"{used[0]} is for data of your own, such as captions:DIR, and none is named. "
            "Leave it out."
        )
    for option in used:
        # Of several kinds one must heed the option; the others have nothing that it could mean.
        heeded = option == "--name" or any(
            ref.kind not in KINDS or option in KINDS[ref.kind].options for ref in refs
        )
        if not heeded:
            raise ConfigError(f"{option} means nothing to {refs[0].written}. Leave it out.")
    rows = [item for item in work if not isinstance(item, DataRef)]
    if refs and not rows and (settings.data or settings.allow_subset):
        option = "--data" if settings.data else "--allow-subset"
        raise ConfigError(
            f"{option} means nothing to {refs[0].written}, which says itself where it is and is "
            "counted as it is. Leave it out."
        )


def _check_kept(work: Sequence[Work], precisions: Sequence[str]) -> None:
    """Whether all work ranks documents in one stage, so that the best ones can be kept."""
    for item in work:
        if task_of_work(item) not in RANKING:
            raise ConfigError(
                f"--keep-top keeps what queries rank, and {item.name} has no such rankings here. "
                "Leave it out."
            )
    if any("+rescore" in name for name in precisions):
        raise ConfigError("--keep-top keeps rankings of one stage. Leave --rescore out.")


def _check_measures(settings: Settings, *, retrieval: bool) -> None:
    """Refuse names that are no measures before hours of encoding, and those that nothing has."""
    if settings.measures and not retrieval:
        raise ConfigError(
            "--measures are those of text retrieval, such as beir:DIR, and none is named. "
            "Leave it out."
        )
    check_measures(settings.measures or ())


def check_measures(names: Sequence[str]) -> None:
    """Raises ConfigError for a name that is no measure of text retrieval."""
    from evals.ranking.metric_table import graded_measure

    for name in names:
        try:
            graded_measure(name)
        except ValueError as error:
            raise ConfigError(f"--measures {name}: {error}.") from None


def _check_tasks(tasks: Sequence[TaskRef], settings: Settings) -> None:
    if not tasks:
        return
    name = tasks[0].name
    if importlib.util.find_spec("mteb") is None:
        raise MissingError(f"{name} needs mteb. Run: pip install 'jina-clip-evals[mteb]'.")
    # mteb's loaders have no part of a task, and a score of a part would bear the task's name.
    for option, is_set in (
        ("--limit", settings.limit is not None),
        ("--allow-subset", settings.allow_subset),
    ):
        if is_set:
            raise ConfigError(
                f"{option} means nothing to {name}: tasks of mteb are measured whole. Leave it out."
            )
    if settings.keep_embeddings:
        raise ConfigError(
            f"--keep-embeddings means nothing to {name}: mteb scores it, and no replay does. "
            "Leave it out."
        )


def build_encoder(ref: ModelRef, settings: Settings) -> "Encoder":
    """The encoder of a model, fingerprinted but not loaded yet."""
    from evals.encoders import build, construct

    place = {
        "name": ref.name,
        "folder": ref.folder,
        "repo": ref.repo,
        "revision": ref.revision,
        "spec": ref.spec,
        "adapter": ref.adapter,
    }
    options = {name: getattr(settings, name) for name in ENCODER_SETTINGS}
    defaults = {name: getattr(Settings(), name) for name in ENCODER_SETTINGS}
    if ref.encoder in BUILT_IN:
        return build(ref.encoder, place, options, defaults)
    plugin = plugins(ENCODERS, BUILT_IN)[ref.encoder]
    made_by_plugin = construct(plugin.load(), ref.encoder, place, options, defaults)
    return Plugged(made_by_plugin, plugin.package)


def load_item(item: Benchmark | DataRef, settings: Settings) -> Loaded:
    """A row with its data, or data of one's own with the row that was made of it.

    Raises what `load_parts` and the readers of own data raise.
    """
    if not isinstance(item, DataRef):
        return Loaded(item, load_parts(item, settings))
    from evals.data.own import read_own

    row, subsets = read_own(item, Reading(settings.subsets, settings.split, settings.columns))
    return Loaded(row, limited(subsets, settings))


def limited(subsets: Mapping[str, Data], settings: Settings) -> Parts:
    """The same with `--limit` images, queries or pairs, and with roles for `--instruction`."""
    from evals.data import subset_of
    from evals.data.items import with_roles

    partial: dict[str, Any] = {}
    chosen: dict[str, Any] = dict(subsets)
    for subset, data in subsets.items():
        if settings.limit is not None and settings.limit < len(data.drawn):
            partial = {"limit": settings.limit, "seed": 0}
            chosen[subset] = subset_of(chosen[subset], settings.limit, seed=0)
        if settings.instruction and isinstance(data, TextRetrieval):
            chosen[subset] = with_roles(chosen[subset])
    return Parts(chosen, partial or None)


def load_parts(row: Benchmark, settings: Settings) -> Parts:
    """The data of a benchmark, counted.

    Raises InvalidError when the counts are not those of the row (unless `allow_subset`), and what
    the loaders raise.
    """
    from evals.data import load
    from evals.data.sources import source_of

    if isinstance(row, OwnBenchmark):
        return _read_again(row, settings)
    partial: dict[str, Any] = {}
    names = settings.subsets or row.subsets
    if set(names) != set(row.subsets):
        partial["subsets"] = list(names)
    parts = load(row.data, source_of(row, names, settings.data))
    counts = counted(row, parts, settings)
    return Parts(counts.subsets, partial | (counts.partial or {}) or None)


def counted(row: Benchmark, parts: Mapping[str, Data], settings: Settings) -> Parts:
    """The same, or a limited part; InvalidError when the counts are not those of the row."""
    from evals.data import check_counts

    partial: dict[str, Any] = {}
    for subset, data in parts.items():
        name = f"{row.name} {subset}"
        incomplete = check_counts(
            data, **row.counts(subset), allow_subset=settings.allow_subset, name=name
        )
        if incomplete:
            partial["allow_subset"] = True
    chosen = limited(parts, settings)
    return Parts(chosen.subsets, partial | (chosen.partial or {}) or None)


def _read_again(row: OwnBenchmark, settings: Settings) -> Parts:
    """Data of one's own by the row of a record, or from where `--data` says that it is now."""
    place = str(settings.data) if settings.data else row.own.place
    ref = DataRef(row.own.kind, place, row.name)
    as_read = replace(settings, subsets=row.subsets, split=row.split, columns=row.own.columns)
    return load_item(ref, as_read).parts
