"""Exports records as `.eval_results/*.yaml`, which the Hub shows on a model's page.

Source: https://huggingface.co/docs/hub/eval-results. The Hub knows no intervals, widths or
precisions: those go into `notes`, and every width and precision has a file of its own.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evals.export.forms import Files, add
from evals.mteb_bridge.eval_results import as_yaml, in_per_cent, task_entries
from evals.ranking.ranges import range_of
from evals.records.identity import SHOWN
from evals.records.manifest import MANIFEST, REMEDY, path_component
from evals.records.record import MetricLine, Run
from evals.schema import InvalidError, NotComparableError

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry

FOLDER = ".eval_results"


def files(runs: Sequence[Run], form: str) -> Files:
    """One file per record, width and precision, with an entry per mean over queries, in per cent.

    NotComparableError for a partial record, and for data that has no repository on the Hub.
    """
    identities = [run.manifest.model_identity for run in runs]
    models = {(model.name, model.key): model for model in identities}
    if len(models) > 1:
        raise NotComparableError(
            f"{FOLDER} belongs to one model's repository, and these records are of "
            f"{', '.join(sorted(map(str, models.values())))}. Choose with --model, or name records."
        )
    written: dict[str, bytes] = {}
    for run in runs:
        if run.manifest.partial:
            raise NotComparableError(
                f"{run.path}: a part of {run.manifest.benchmark}, and the Hub shows benchmarks. "
                "Evaluate it whole, or export it --to csv."
            )
        variants: dict[tuple[int, str], list[MetricLine]] = {}
        for line in run.metrics:
            variants.setdefault((line.dim, line.precision), []).append(line)
        for (dim, precision), lines in variants.items():
            precision_part = "" if precision == "float32" else f".{precision}"
            name = path_component(f"{run.manifest.benchmark}.dim{dim}{precision_part}")
            make = _of_task if run.manifest.mteb else _of_row
            add(written, f"{FOLDER}/{name}.yaml", as_yaml(make(run, lines)))
    return written


def _of_task(run: Run, lines: Sequence[MetricLine]) -> list["EvalResultEntry"]:
    """The main score of a task of mteb, under mteb's own names."""
    about = run.manifest.mteb
    if about is None or about.dataset is None or about.mteb_version is None:
        raise InvalidError(
            f"{run.path / MANIFEST}: mteb.dataset or mteb.mteb_version is missing. {REMEDY}"
        )
    # of mteb's metrics the main one alone has an interval
    main = {
        (line.subset, line.direction): line.value for line in lines if line.name == run.main_metric
    }
    date = run.manifest.written[:10]
    notes = f"{lines[0].dim} dimensions; {_model(run)}"
    return task_entries(about.model_dump(), main, whole_task=True, date=date, notes=notes)


def _of_row(run: Run, lines: Sequence[MetricLine]) -> list["EvalResultEntry"]:
    from huggingface_hub import EvalResultEntry

    contents = run.manifest.data_identity.contents
    entries = []
    for line in lines:
        # ranks are no scores, and the Hub's leaderboards sort by value
        if range_of(line.name) is None:
            continue
        repo, revision = _dataset(run, line.subset)
        where = "/".join(name for name in (line.subset, line.direction, line.name) if name)
        content = contents.get(line.subset, "")[:SHOWN]
        notes = [f"{line.dim} dimensions, {line.precision}", f"data {content}", _model(run)]
        if line.ci_low is not None and line.ci_high is not None:
            interval = f"{in_per_cent(line.ci_low)} to {in_per_cent(line.ci_high)}"
            notes.insert(0, f"95% interval {interval}")
        entries.append(
            EvalResultEntry(
                dataset_id=repo,
                dataset_revision=revision,
                task_id=where,
                value=in_per_cent(line.value),
                date=run.manifest.written[:10],
                notes="; ".join(notes),
            )
        )
    return entries


def _dataset(run: Run, subset: str) -> tuple[str, str | None]:
    """The repository that the data came from, else the one that its row names.

    The revision is None for a local copy: its content hash, in the notes, says which it was.
    """
    data = run.manifest.data.get(subset)
    if data and data.origin.repo:
        return data.origin.repo, data.origin.revision
    hub = run.manifest.config.row.hub
    if hub and hub.repo:
        return hub.repo, None
    raise NotComparableError(
        f"{run.path}: {run.manifest.benchmark} has no repository on the Hub, and an entry there "
        "names one. Export it --to card or --to csv."
    )


def _model(run: Run) -> str:
    model = run.manifest.model_identity
    return f"weights {model.weights[:SHOWN]}" if model.weights else model.place
