"""The records as a static, offline site.

python -m evals.dashboard --results results/runs --out site
python -m evals.dashboard theirs.json MTEB/results    # means of mteb and CLIP_benchmark beside them
python -m evals.dashboard --timings benchmarks/results
"""

from pathlib import Path
from typing import Annotated

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.counts import counted
from evals.paths import baseline_folder, baseline_folders
from evals.schema import MissingError

RESULTS, BASELINES = "results/runs", baseline_folder()
app = new_app()


@app.command()
def dashboard(
    foreign: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="Result files and folders of mteb and CLIP_benchmark: shown as means, not judged.",
        ),
    ] = None,
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Folder of records.")
    ] = RESULTS,
    baselines: Annotated[Path, typer.Option(help="Folder of baselines.")] = BASELINES,
    out: Annotated[
        Path, typer.Option(help="Folder of the site; an earlier site there is replaced.")
    ] = Path("site"),
    timings: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="What `make bench` and `make bench-gpu` wrote: adds the page Speed.",
        ),
    ] = None,
    texts: Annotated[
        bool,
        typer.Option(
            "--texts",
            help="Show the texts of the worst queries, if the data and the embeddings are there.",
        ),
    ] = False,
    thumbnails: Annotated[
        bool,
        typer.Option(
            "--thumbnails",
            help="The same with small copies of the images: check their licence.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write a site of all records, which opens from disk or from a server and fetches nothing."""
    with reported(json=json) as log:
        from evals.analysis.stated_files import read_results
        from evals.dashboard.history import read_history
        from evals.dashboard.shown import Words
        from evals.dashboard.site import Verdicts, build
        from evals.dashboard.timings import read_timings
        from evals.dashboard.verdicts import gate_rows, reproduction_rows
        from evals.records.exchange import open_records

        # The usual folders may be absent, as before the first run: the site then says how to make one.
        records = open_records(results)
        if baselines == BASELINES:
            # The repository's, as the gate finds them, where this folder has none.
            there = (folder for folder in baseline_folders() if folder.is_dir())
            baselines = next(there, BASELINES)
        for folder, usual in ((records, Path(RESULTS)), (baselines, BASELINES)):
            if folder != usual and not folder.is_dir():
                raise MissingError(
                    f"{folder}: no such folder. Name the one that holds the records or baselines."
                )
        imported = read_results(foreign or [])
        measured_speed = read_timings(timings) if timings else ()
        history = read_history(records)
        words = Words(thumbnails) if texts or thumbnails else None
        verdicts = Verdicts(gate_rows(records, baselines), reproduction_rows(records))
        pages = build(
            history, verdicts, out, imported=imported, timings=measured_speed, words=words
        )
        for _, message in (*history.broken, *imported.unread):
            # Told, and no failure: a site that shows what is broken is what was asked for.
            log.info(f"broken, shown under Data quality: {message}")
        counts = {
            "runs": len(history.runs),
            "broken": len(history.broken) + len(imported.unread),
            "incomplete": len(history.incomplete),
            "foreign": len(imported.stated),
        }
        log.info(
            f"{counted(counts['runs'], 'record')}, {counts['broken']} broken, "
            f"{counts['incomplete']} incomplete, "
            f"{counted(counts['foreign'], 'result')} of other tools, {counted(pages, 'page')}"
        )
        index = out / "index.html"
        if json:
            log.output({"schema_version": 1, "index": str(index), "pages": pages, **counts})
        else:
            log.result(str(index))


if __name__ == "__main__":
    exit_with(app)
