"""The published tables beside what was measured.

python -m evals.report --table v2post-coco [--format md,html,csv,latex,png]
python -m evals.report --all                      the tables of papers, posts and cards
python -m evals.report --official                 the tables of mteb's official records
python -m evals.report --claims card.csv          a model card's table against the records: exit code 0, 1, 3
python -m evals.report --needs jina-clip-v2       what is left to evaluate, a call of evals.run a line
python -m evals.report --check | --write          the tables in README.md and docs
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import Json, comma_list
from evals.cli.results import finish, table_outputs, write_outputs
from evals.cli.vocabulary import TableFiles, shared_words
from evals.files import write_atomically
from evals.paths import checkout
from evals.report.as_json import as_json, cell_rows
from evals.report.checkpoints import check_stand_ins, stand_ins
from evals.report.files import FORMATS, PAGES
from evals.report.files import write as write_files
from evals.report.measured import Records
from evals.report.official import find_table, official_names
from evals.report.tables import table_names
from evals.report.verdicts import Judged, judge
from evals.report.words import overview
from evals.schema import ConfigError

app = new_app()


@app.command()
@shared_words
def report(
    files: TableFiles,
    tables: Annotated[
        list[str] | None, typer.Option("--table", "-t", help="A row of configs/tables. Repeatable.")
    ] = None,
    all_tables: Annotated[
        bool, typer.Option("--all", help="All tables of papers, posts and cards.")
    ] = False,
    official: Annotated[
        bool, typer.Option("--official", help="All tables of mteb's official records.")
    ] = False,
    formats: Annotated[
        str | None, typer.Option("--format", help=f"{','.join(FORMATS)}; md,html,csv with --all.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where files are written.")] = Path("results/report"),
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Where records are.")
    ] = "results/runs",
    stand_in: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            help="MODEL=NEW: use the records of NEW (a name or a checkpoint's folder) for MODEL; "
            "a footnote says so. Repeatable.",
        ),
    ] = None,
    needs: Annotated[
        str | None, typer.Option(help="List what is left to evaluate for this model's cells.")
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Instead: check a CSV of model, benchmark, metric, value[, tolerance] against "
            "the records.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when a cell deviates.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit with 1 when a table in README.md or docs is stale."),
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Refresh the tables in README.md and docs.")
    ] = False,
    root: Annotated[Path | None, typer.Option(hidden=True)] = None,
    json: Json = False,
) -> None:
    """Show published tables beside the measured values, and write them as files."""
    with reported(json=json) as log:
        from evals.records.exchange import open_records
        from evals.views.table_files import contents

        given = {"--check": check, "--write": write, "--claims": claims, "--needs": needs}
        jobs = [option for option, value in given.items() if value]
        if len(jobs) > 1:
            raise ConfigError(f"{jobs[0]} and {jobs[1]} are two jobs. Name one, then the other.")
        shown_only = {"--table": tables, "--all": all_tables, "--official": official}
        unheeded = shown_only | {"--strict": strict, "--format": formats}
        if claims and any(unheeded.values()):
            option = next(option for option, value in unheeded.items() if value)
            raise ConfigError(f"{option} means nothing beside --claims. Leave it out.")
        if check or write:
            _blocks(_pages_of(root), write, log)
            return
        if claims:
            _claims(claims, open_records(results), stand_in or [], files, log=log)
            return
        # Of official records only when asked for: there are 130 tasks of mteb in them.
        published = all_tables or bool(needs and not official and not tables)
        names = _names(tables or (), published=published, official=official)
        if not names:
            there = ", ".join([*table_names(), *official_names()])
            raise ConfigError(f"Name a --table, or --all. The tables are: {there}.")
        records, models = Records(open_records(results)), stand_ins(stand_in or ())
        # Before the records are read: a misspelt model would be a report in which nobody stands in.
        check_stand_ins(models)
        if needs:
            _needs(names, needs, records, models=models, log=log)
            return
        whole = all_tables or official
        chosen = _formats(formats or ("md,html,csv" if whole else None))
        judged = [judge(find_table(name), records, models) for name in names]
        # A single table's file bears its name, so that two calls do not write over each other.
        stem = "report" if whole or len(names) > 1 else names[0]
        head = [overview([table.counts for table in judged]), *_head(records, results, models)]
        paths = write_files(judged, chosen, out=out, stem=stem, head=head)
        content = contents(lambda: cell_rows(judged), "Published tables, measured") | {
            "csv": lambda: PAGES["csv"](judged, head),
            "markdown": lambda: PAGES["md"](judged, head),
            "html": lambda: PAGES["html"](judged, head),
        }
        paths += write_outputs(*table_outputs(files, content)).values()
        # Settled before anything is shown: see evals.cli.results.
        if strict and any(each.counts["deviates"] for each in judged):
            log.settle(1)
        _tell_refused(judged, log)
        _show(judged, paths, summary=whole, log=log)


def _names(tables: Sequence[str], *, published: bool, official: bool) -> list[str]:
    """The tables to show, each once."""
    names = [*tables]
    if published:
        names += table_names()
    if official:
        names += official_names()
    return list(dict.fromkeys(names))


def _formats(text: str | None) -> tuple[str, ...]:
    names = comma_list(text) or ()
    for name in names:
        if name not in FORMATS:
            there = ", ".join(FORMATS)
            raise ConfigError(f"--format {text}: no format {name!r}. There are {there}.")
    return names


def _head(records: Records, results: str, models: dict[str, str]) -> list[str]:
    """What a reader of a file must know before the tables."""
    count = f"{len(records)} record{'s' * (len(records) != 1)}"
    lines = [f"Made by python -m evals.report from {count} in {results}."]
    for model, name in models.items():
        lines.append(f"Where the tables say {model}, records of {name} count for it.")
    return lines


def _tell_refused(judged: Sequence[Judged], log: Log) -> None:
    """Say which records are called like a published model and do not count, each once."""
    reasons: dict[str, None] = {}
    for each in judged:
        for placed in each.results:
            if placed.result.refused:
                reasons[placed.result.refused] = None
    for reason in reasons:
        log.info(
            f"{reason}, which is not what was published. It does not count; "
            "--as MODEL=NAME takes it, with a footnote."
        )


def _show(judged: Sequence[Judged], paths: Sequence[Path], *, summary: bool, log: Log) -> None:
    if log.json:
        log.output(as_json(judged, paths))
        return
    from evals.report.terminal import print_summary, print_table
    from evals.views.style import console

    terminal = console()
    if summary:
        print_summary(judged, terminal)
    else:
        for each in judged:
            print_table(each, terminal)
    for path in paths:
        terminal.print(f"report: {path}", soft_wrap=True, highlight=False, markup=False)


def _needs(
    names: Sequence[str], model: str, records: Records, *, models: dict[str, str], log: Log
) -> None:
    """Print what is left to evaluate, one call of evals.run per line."""
    from evals.report.needs import needs

    calls = needs(map(find_table, names), model, records, models)
    if log.json:
        log.output({"schema_version": 1, "model": model, "calls": calls})
        return
    for call in calls:
        log.result(" ".join(call))


def _claims(
    file: Path,
    results: Path,
    stand_in: list[str],
    files: TableFiles,
    *,
    log: Log,
) -> None:
    """Check a model card's table, and end with the code of its verdicts."""
    from evals.report import claims_shown as shown
    from evals.report.claims import check_claims, exit_code
    from evals.report.claims_csv import read_claims
    from evals.views.table_files import contents

    models = stand_ins(stand_in)
    check_stand_ins(models)
    checked = check_claims(read_claims(file), Records(results), models)
    content = contents(lambda: shown.rows(checked), shown.sentence(checked)) | {
        "csv": lambda: shown.as_csv(checked),
        "markdown": lambda: shown.as_markdown(checked),
    }
    written = write_outputs(*table_outputs(files, content))
    finish(
        log,
        show=lambda: shown.print_claims(checked),
        machine=lambda: shown.as_json(checked, file),
        written=written,
        exit_code=exit_code(checked),
    )


def _pages_of(root: Path | None) -> Path:
    """Where README.md and docs are. ConfigError for an installed copy, which has none."""
    folder = root or checkout()
    if folder is None:
        raise ConfigError(
            "--check and --write are for README.md and docs. Run them in a clone of the repository."
        )
    return folder


def _blocks(root: Path, write: bool, log: Log) -> None:
    """Refresh the blocks in documents, or say which pages are stale and exit with 1."""
    from evals.report.blocks import pages, refreshed

    new = {path: refreshed(path, root) for path in pages(root)}
    stale = [path for path, text in new.items() if text != path.read_text(encoding="utf-8")]
    # The same code as a number that fell: to CI a stale table is a claim that no longer holds.
    if stale and not write:
        log.settle(1)
    for path in stale:
        if write:
            write_atomically(path, new[path].encode())
        log.info(f"{path}: {'refreshed' if write else 'stale; run python -m evals.report --write'}")
    if log.json:
        log.output({"schema_version": 1, "stale": [] if write else [str(path) for path in stale]})


if __name__ == "__main__":
    exit_with(app)
