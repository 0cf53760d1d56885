"""A training run that is measured while it runs: each new checkpoint, until a drop is sure:

python -m evals.watch runs/birds scenes --baseline tiny [--limit 1000] [--checkpoints 20]
python -m evals.watch runs/birds --once --figures curve.png
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals.bucket import folder_of, location
from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import DTYPES, Json, comma_list
from evals.cli.vocabulary import Benchmarks, Figures, one_benchmark, shared_words
from evals.progress import Silent
from evals.schema import InvalidError

if TYPE_CHECKING:
    from evals.watch.journal import Step
    from evals.watch.watching import Watch

app = new_app()


@app.command()
@shared_words
def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where checkpoints are saved.")],
    benchmarks: Annotated[
        list[str],
        Benchmarks("Row of configs/benchmarks.yaml, or captions:DIR; default: scenes."),
    ],
    figures: Figures,
    baseline: Annotated[
        str, typer.Option(help="A model, as --model names it; or `first`: the first checkpoint.")
    ] = "first",
    name: Annotated[
        str | None, typer.Option(help="Name of the run in records; default: the folder's name.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="The model that adapters (PEFT) are merged into.")
    ] = None,
    arch: Annotated[
        str | None, typer.Option(help="The architecture of open_clip's .pt files.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=2, help="Only N images, the same for all checkpoints.")
    ] = None,
    probe: Annotated[int | None, typer.Option(min=2, hidden=True)] = None,
    data: Annotated[
        Path | None, typer.Option(help="Local folder (or annotation file) instead of the Hub.")
    ] = None,
    subsets: Annotated[
        str | None, typer.Option(help="Languages, e.g. en,de; default: all.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Metrics to test, e.g. R@1,MRR; default: R@1 (or the main metric)."),
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Probability of a false alarm in the whole run.")
    ] = 0.01,
    checkpoints: Annotated[
        int | None,
        typer.Option(help="Number of checkpoints to come: each then gets an equal share of alpha."),
    ] = None,
    floor: Annotated[
        float, typer.Option(help="The largest drop, as a fraction, that is not reported.")
    ] = 0.003,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda …; default: CUDA if there is a GPU.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help=f"{DTYPES}.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Measure existing checkpoints, and do not wait.")
    ] = False,
    poll: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks into the folder.")
    ] = 30.0,
    idle: Annotated[
        float | None, typer.Option(help="Exit after N seconds without a new checkpoint.")
    ] = None,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds without a write before a checkpoint is measured.")
    ] = 5.0,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Continue after a drop is reported.")
    ] = False,
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Where records are written.")
    ] = "results/runs",
    store: Annotated[
        str, typer.Option(envvar="EVALS_STORE", help="Where embeddings are kept.")
    ] = "results/store",
    json: Json = False,
) -> None:
    """Compare each new checkpoint with the baseline; exit code 1 once one has fallen."""
    with reported(json=json) as log:
        from evals.settings import Settings
        from evals.watch.checkpoints import Kinds
        from evals.watch.journal import journal_folder
        from evals.watch.judging import Rule
        from evals.watch.ownership import alone
        from evals.watch.watching import Watch, check_journal, check_watch

        plot = figures.file("curve.png")
        run_name = name or folder.resolve().name
        watched = Watch(
            folder=folder,
            benchmark=one_benchmark(benchmarks, "scenes"),
            baseline=baseline,
            name=run_name,
            kinds=Kinds(base, arch),
            rule=Rule(comma_list(metric) or (), alpha, checkpoints, floor),
            settings=Settings(
                data=data,
                subsets=comma_list(subsets),
                limit=limit or _former_limit(log, probe),
                device=device,
                dtype=dtype,
                results=results,
                store=store,
            ),
            journal=journal_folder(folder_of(location(results))) / f"{run_name}.jsonl",
            settle=settle,
        )
        check_watch(watched)
        with alone(watched.journal):
            check_journal(watched)
            if not once:
                log.info(
                    f"watching {folder}, every {poll:g} seconds; Ctrl-C leaves, and the same command "
                    "goes on"
                )
            failed = _watch(log, watched, plot, poll=poll, idle=0.0 if once else idle, go_on=go_on)
            _finish(log, watched, failed, plot)


def _former_limit(log: Log, probe: int | None) -> int | None:
    """What was said by the earlier spelling of --limit, with a hint."""
    if probe is not None:
        log.info("hint: --probe is called --limit now. Both work.")
    return probe


class _OnlyErrors(Silent):
    """A line per step is what is read: that of each subset and model would drown it."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def error(self, message: str) -> None:
        """A checkpoint that could not be measured."""
        self._log.error(message)


def _watch(
    log: Log, watch: "Watch", plot: Path | None, *, poll: float, idle: float | None, go_on: bool
) -> set[Path]:
    """Rounds until it is idle or a drop is called; the checkpoints that could not be measured."""
    from evals.watch.watching import line_of, measure_new, rounds

    failed: set[Path] = set()
    for busy in rounds(poll, idle, time.sleep):
        for step in measure_new(watch, failed, reporter=_OnlyErrors(log)):
            busy()
            if not log.json:
                log.result(line_of(step))
            if plot:
                _draw(watch, plot)
            # At once: what is trained from here on is trained from a model that has fallen.
            if step.fell and not go_on:
                return failed
    return failed


def _draw(watch: "Watch", plot: Path) -> None:
    from evals.files import write_atomically
    from evals.watch.curve import curve_png
    from evals.watch.journal import read_journal

    # From the journal, so that a picture has the steps of earlier watches as well.
    steps = read_journal(watch.journal, watch.rule)
    title = f"{watch.name} on {watch.benchmark}, against {watch.baseline}"
    plot.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(plot, curve_png(steps, watch.rule, title))


def _finish(log: Log, watch: "Watch", failed: set[Path], plot: Path | None) -> None:
    """The exit code of all steps of the journal: a drop that was called before counts as well."""
    from evals.watch.journal import Journal, read_journal
    from evals.watch.training_runs import TrainingRun, headline
    from evals.watch.watching import left_out

    steps = read_journal(watch.journal, watch.rule)
    run = TrainingRun(watch.name, watch.journal, Journal(watch.rule, steps))
    fallen = run.fallen
    passed_over = left_out(watch, steps, failed)
    for path, reason in passed_over.items():
        log.info(f"{path}: not measured, {reason}")
    # Before anything is printed: a scheduler reads the code, whatever becomes of the text.
    log.settle(1 if fallen else 0)
    if failed and not fallen:
        names = ", ".join(sorted(map(str, failed)))
        raise InvalidError(f"{names}: could not be measured; the messages above say why.")
    if log.json:
        log.output(
            {
                "schema_version": 1,
                "verdict": "regressed" if fallen else "ok",
                "sentence": headline(run) if steps else None,
                "journal": str(watch.journal),
                "plot": str(plot) if plot else None,
                "steps": [_step_json(step) for step in steps],
                "not_measured": {str(path): reason for path, reason in passed_over.items()},
            }
        )
    elif not steps:
        log.result(
            f"{watch.folder}: no complete checkpoint yet. One is a folder with a step in its name, "
            "such as checkpoint-500, and what docs/watching.md says in it."
        )
    else:
        log.result(headline(run))
        log.result(f"journal: {watch.journal}")
        if plot and plot.exists():
            log.result(f"plot: {plot}")


def _step_json(step: "Step") -> dict[str, Any]:
    judged = [entry._asdict() for entry in step.judged]
    return {**step._asdict(), "judged": judged, "fell": step.fell}


if __name__ == "__main__":
    exit_with(app)
