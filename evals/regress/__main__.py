"""Did retrieval get worse? Exit code 0 passed, 1 regressed, 2 usage, 3 missing or unsound results, 4 not comparable.

python -m evals.regress --baseline NAME_OR_PATH [--runs DIR]... [--json]
                        [--markdown FILE] [--csv FILE] [--junit FILE] [--badge FILE]
python -m evals.regress --baseline NAME_OR_PATH --as MODEL=NEW     a new checkpoint, the old baseline
python -m evals.regress baseline set NAME --why "…" [--runs DIR]... [--suite ci] [--baselines DIR]
python -m evals.regress baseline show NAME
python -m evals.regress --noise 3 --model tiny --benchmarks scenes [--out FILE]
"""

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import Json, needed
from evals.cli.results import Output as Asked
from evals.cli.results import write_outputs
from evals.cli.vocabulary import Benchmarks, TableFiles, one_benchmark, shared_words
from evals.schema import ConfigError

if TYPE_CHECKING:
    from evals.regress.verdict import Verdict

app, baseline_app = new_app(), new_app()
app.add_typer(baseline_app, name="baseline", help="Set a baseline, or show it and its history.")

Results = Annotated[str, typer.Option(envvar="EVALS_RESULTS", help="Where records are.")]
Runs = Annotated[
    list[Path] | None,
    typer.Option(help="A record's folder, instead of the newest below --results. Repeatable."),
]
Output = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write the verdict to this file.")
]


def unless_subcommand(command: Callable[..., None]) -> Callable[..., None]:
    """A callback that does nothing where a subcommand follows.

    `command` itself takes no context: typer hands over one of a class that it does not export, so
    that no annotation of ours would be true.
    """

    @functools.wraps(command)
    def callback(**arguments: Any) -> None:
        if arguments.pop("context").invoked_subcommand is None:
            command(**arguments)

    keyword = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("context", keyword, annotation=typer.Context)
    options = [p.replace(kind=keyword) for p in inspect.signature(command).parameters.values()]
    callback.__signature__ = inspect.Signature([context, *options])  # type: ignore[attr-defined]
    callback.__annotations__ = {**command.__annotations__, "context": typer.Context}
    # typer would read the signature of `command`
    del callback.__wrapped__
    return callback


@app.callback(invoke_without_command=True)
@unless_subcommand
@shared_words
def regress(
    benchmarks: Annotated[
        list[str], Benchmarks("Benchmarks for --noise; default: scenes.", positional=False)
    ],
    tables: TableFiles,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Name below results/baselines, here or in the repository, a record, or a folder of "
            "records."
        ),
    ] = None,
    runs: Runs = None,
    results: Results = "results/runs",
    gates: Annotated[
        Path | None, typer.Option(help="Another file than configs/gates.yaml.")
    ] = None,
    published: Annotated[
        list[str] | None,
        typer.Option(help="A table of evals.report, compared with the newest records. Repeatable."),
    ] = None,
    stand_in: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            help="MODEL=NEW: compare NEW (a name in records or a checkpoint's folder) with MODEL "
            "of the baseline (or of --published). Repeatable.",
        ),
    ] = None,
    junit: Output = None,
    badge: Output = None,
    noise: Annotated[
        int | None,
        typer.Option(min=2, help="Instead: repeat an evaluation N times, and report what changes."),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Model for --noise.")] = "tiny",
    data: Annotated[
        Path | None, typer.Option(help="For --noise: local folder instead of the Hub.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where --noise writes its JSON.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare the newest runs with a baseline, metric by metric: exit code 1 when one regressed."""
    with reported(json=json) as log:
        from evals.records.exchange import open_records

        if noise is not None:
            _noise(noise, one_benchmark(benchmarks, "scenes"), model, data=data, out=out, log=log)
        elif baseline is not None:
            if published and runs:
                raise ConfigError(
                    "--published takes the newest records below --results, not those of --runs. "
                    "Leave one of them out."
                )
            verdict = _verdict(
                baseline,
                runs,
                open_records(results),
                gates=gates,
                tables=published,
                stand_in=stand_in,
            )
            log.settle(verdict.exit_code)
            _show(verdict, tables._asdict() | {"junit": junit, "badge": badge}, log)
        else:
            raise ConfigError(
                "Name a --baseline, or say --noise N, or set a baseline: "
                "python -m evals.regress baseline set."
            )


def _verdict(
    baseline: str,
    runs: list[Path] | None,
    results: Path,
    *,
    gates: Path | None,
    tables: list[str] | None,
    stand_in: list[str] | None,
) -> "Verdict":
    from evals.records.identity import Named
    from evals.regress.gates import read_gates
    from evals.regress.published import held_against, published_models
    from evals.regress.runs import against
    from evals.report.checkpoints import stand_ins

    names = stand_ins(stand_in or [])
    chosen = {model: Named.of(text) for model, text in names.items()}
    verdict = against(baseline, runs, results, read_gates(gates), chosen)
    models = verdict.models | (published_models() if tables else set())
    for model in names:
        if models and model not in models:
            there = ", ".join(sorted(models))
            raise ConfigError(f"--as {model}=…: nothing here is of {model}. There is {there}.")
    if not tables:
        return verdict
    cells, problems = held_against(tables, results, names)
    return replace(verdict, published=cells, problems=[*verdict.problems, *problems])


def _show(verdict: "Verdict", files: dict[str, Path | None], log: Log) -> None:
    """Write the verdict to the files that were asked for, to GitHub's summary, and print it."""
    from evals.regress import outputs
    from evals.views.table_files import contents
    from evals.views.table_page import table_page

    page = outputs.as_markdown(verdict)
    bodies = contents(lambda: outputs.as_json(verdict)["metrics"], verdict.headline()) | {
        "markdown": lambda: page,
        "html": lambda: table_page(
            outputs.page_rows(verdict), verdict.headline(), [*filter(None, [verdict.unlisted()])]
        ),
        "junit": lambda: outputs.as_junit(verdict),
        "badge": lambda: outputs.as_badge(verdict),
    }
    outputs_asked = (Asked(name, path, bodies[name]) for name, path in files.items())
    written = [str(path) for path in write_outputs(*outputs_asked).values()]
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            # appended, because other steps of the job write there too
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(f"{page}\n")
            written.append(summary)
        except OSError as error:
            # Nobody asked for it: the verdict stands, as it does when the terminal is gone.
            log.info(f"warning: GitHub's summary {summary} cannot be written: {error.strerror}")
    if log.json:
        log.output(outputs.as_json(verdict, written))
    else:
        from evals.regress.table import print_verdict
        from evals.views.style import console

        print_verdict(verdict, console())
    for path_written in written:
        log.info(f"written: {path_written}")


def _noise(
    times: int, benchmark: str, model: str, *, data: Path | None, out: Path | None, log: Log
) -> None:
    from evals.regress.noise import Case, measure, print_noise, write

    noise = measure(times, Case(benchmark, model, data), log)
    path = write(noise, out)
    if log.json:
        log.output(noise)
    else:
        print_noise(noise)
    log.info(f"written: {path}")


@baseline_app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="Folder below results/baselines, or --baselines.")],
    why: Annotated[
        str | None,
        typer.Option(help="Reason for the change, which history.jsonl keeps; required."),
    ] = None,
    runs: Runs = None,
    suite: Annotated[
        str | None, typer.Option("--suite", "-s", help="Only benchmarks of this suite.")
    ] = None,
    results: Results = "results/runs",
    baselines: Annotated[
        Path | None,
        typer.Option(help="Folder of baselines; default: results/baselines in the current folder."),
    ] = None,
    json: Json = False,
) -> None:
    """Copy the newest complete records, or those given, and note the reason in the history."""
    with reported(json=json) as log:
        from evals.records.exchange import open_records
        from evals.regress.moves import set_baseline
        from evals.regress.runs import chosen

        reason = needed(why, "--why", "what changed, and why the new numbers are right")
        records = chosen(runs, suite, open_records(results))
        for run in records:
            source = run.manifest.source
            if source is None or source.dirty:
                log.info(
                    f"warning: {run.path} comes from source that is not committed; "
                    "the history says so."
                )
        move = set_baseline(name, records, reason, baselines)
        folders = [str(folder) for folder in move.records]
        place = str(move.folder.resolve())
        if log.json:
            output = {"schema_version": 1, "baseline": name, "folder": place, "records": folders}
            log.output(output | {"history": move.history})
        log.info(f"baseline {name}: {place}")
        for folder in folders:
            log.info(f"written: {folder}")


@baseline_app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name or path of a baseline.")], json: Json = False
) -> None:
    """Show the records of a baseline, and when, why and by whom it was changed."""
    with reported(json=json) as log:
        from evals.regress.baselines import history, locate, read_baseline

        records, lines = read_baseline(name), history(locate(name))
        if log.json:
            paths = [str(run.path) for run in records]
            log.output({"schema_version": 1, "baseline": name, "records": paths, "history": lines})
            return
        from evals.regress.table import print_baseline
        from evals.views.style import console

        print_baseline(records, lines, console())


if __name__ == "__main__":
    exit_with(app)
