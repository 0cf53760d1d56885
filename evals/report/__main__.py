"""The published tables beside what was measured.

python -m evals.report --table v2post-coco [--format md,html,csv,latex,png]
python -m evals.report --all
python -m evals.report --needs jina-clip-v2        what is left to evaluate, a line of arguments for evals.run each
python -m evals.report --check | --write           the tables in README.md and docs
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import comma_list
from evals.files import write_atomically
from evals.paths import checkout
from evals.report.measured import Records
from evals.report.names import stand_ins
from evals.report.tables import table, table_names
from evals.report.verdicts import Judged, judge
from evals.schema import ConfigError

FORMATS = ("md", "html", "csv", "latex", "png")
app = new_app()


@app.command()
def report(
    tables: Annotated[
        list[str] | None, typer.Option("--table", "-t", help="A row of configs/tables. Repeatable.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All tables.")] = False,
    formats: Annotated[
        str | None, typer.Option("--format", help=f"{','.join(FORMATS)}; md,html,csv with --all.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where files are written.")] = Path("results/report"),
    results: Annotated[
        Path, typer.Option(envvar="EVALS_RESULTS", help="Where records lie.")
    ] = Path("results/runs"),
    stand_in: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            help="MODEL=RECORDS: take for MODEL's the records of this name, or of this checkpoint folder. Repeatable.",
        ),
    ] = None,
    needs: Annotated[
        str | None, typer.Option(help="What is left to evaluate for the cells of this model.")
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
    json: Annotated[
        bool, typer.Option("--json", help="Machine output on stdout; messages go to stderr.")
    ] = False,
) -> None:
    """Show published tables beside what the records say, and write them as files."""
    with reported(json=json) as log:
        if check or write:
            _blocks(_pages_of(root), write, log)
            return
        names = list(dict.fromkeys(table_names() if every or needs else tables or ()))
        if not names:
            raise ConfigError(
                f"Name a --table, or --all. The tables are: {', '.join(table_names())}."
            )
        records, others = Records(results), stand_ins(stand_in or ())
        if needs:
            _needs(names, needs, records, others, log)
            return
        wanted = _formats(formats or ("md,html,csv" if every else None))
        judged = [judge(table(name), records, others) for name in names]
        paths = _files(
            judged,
            wanted,
            out,
            "report" if every or len(names) > 1 else names[0],
            _head(records, results, others),
        )
        _show(judged, paths, every, log)
        if strict and any(one.counts["deviates"] for one in judged):
            raise typer.Exit(1)


def _formats(given: str | None) -> tuple[str, ...]:
    found = comma_list(given) or ()
    if unknown := [name for name in found if name not in FORMATS]:
        raise ConfigError(
            f"--format {given}: no format {unknown[0]!r}. There are {', '.join(FORMATS)}."
        )
    return found


def _head(records: Records, results: Path, others: dict[str, str]) -> list[str]:
    """What a reader of a file must know before the tables."""
    told = [
        f"Made by python -m evals.report from {len(records)} record{'s' * (len(records) != 1)} in {results}."
    ]
    return told + [
        f"Where the tables say {model}, the records of {name} were taken."
        for model, name in others.items()
    ]


def _files(
    judged: Sequence[Judged], formats: Sequence[str], out: Path, stem: str, head: Sequence[str]
) -> list[Path]:
    """Write the report in each format and return the paths; a PNG is written for each table."""
    bodies: dict[Path, Callable[[], bytes]] = {}
    for name in formats:
        if name == "png":
            for one in judged:
                bodies[out / f"{one.table.row.name}.png"] = partial(_png, one)
        else:
            bodies[out / f"{stem}.{'tex' if name == 'latex' else name}"] = partial(
                _page, name, judged, head
            )
    if bodies:
        out.mkdir(parents=True, exist_ok=True)
    for path, body in bodies.items():
        write_atomically(path, body())
    return list(bodies)


def _page(name: str, judged: Sequence[Judged], head: Sequence[str]) -> bytes:
    if name == "csv":
        from evals.report import plain

        return plain.page(judged).encode()
    if name == "html":
        from evals.report import web

        return web.page(judged, head).encode()
    from evals.report import latex, markdown

    return {"md": markdown.page, "latex": latex.page}[name](judged, head).encode()


def _png(judged: Judged) -> bytes:
    from evals.report.picture import png

    return png(judged)


def _show(judged: Sequence[Judged], paths: Sequence[Path], every: bool, log: Log) -> None:
    if log.json:
        log.output(_as_json(judged, paths))
        return
    from evals.report.terminal import print_summary, print_table
    from evals.views.tables import console

    shown = console()
    if every:
        print_summary(judged, shown)
    else:
        for one in judged:
            print_table(one, shown)
    for path in paths:
        shown.print(f"report: {path}", soft_wrap=True, highlight=False, markup=False)


def _as_json(judged: Sequence[Judged], paths: Sequence[Path]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "files": [str(path) for path in paths],
        "tables": [_table_json(one) for one in judged],
    }


def _table_json(judged: Judged) -> dict[str, Any]:
    cells = [
        {
            "section": section or None,
            "row": row,
            "column": column,
            "published": result.cell.published._asdict() | {"score": result.cell.published.value},
            "measured": result.measured,
            "difference": result.difference,
            "interval": None if result.low is None else [result.low, result.high],
            "verdict": result.verdict,
            "coverage": result.coverage or None,
            "why": result.why or None,
            "tolerance": result.cell.tolerance,
            "records": [str(path) for path in result.records],
        }
        for section, row, column, result in judged.results
    ]
    row = judged.table.row
    return {
        "name": row.name,
        "title": row.title,
        "counts": judged.counts,
        "footnotes": judged.table.footnotes,
        "cells": cells,
    }


def _needs(
    names: Sequence[str], model: str, records: Records, others: dict[str, str], log: Log
) -> None:
    from evals.report.needs import needs

    calls = needs(map(table, names), model, records, others)
    if log.json:
        log.output({"schema_version": 1, "model": model, "calls": calls})
    for call in () if log.json else calls:
        typer.echo(" ".join(call))


def _pages_of(root: Path | None) -> Path:
    """Where README.md and docs are; ConfigError for an installed copy, which has none."""
    folder = root or checkout()
    if folder is None:
        raise ConfigError(
            "--check and --write are for README.md and docs. Run them in a clone of the repository."
        )
    return folder


def _blocks(root: Path, write: bool, log: Log) -> None:
    """Refresh the blocks, or say which pages are stale and exit with 1."""
    from evals.report.blocks import pages, refreshed

    new = {path: refreshed(path, root) for path in pages(root)}
    stale = [path for path, text in new.items() if text != path.read_text(encoding="utf-8")]
    for path in stale:
        if write:
            write_atomically(path, new[path].encode())
        log.info(f"{path}: {'refreshed' if write else 'stale; run python -m evals.report --write'}")
    if log.json:
        log.output({"schema_version": 1, "stale": [] if write else [str(path) for path in stale]})
    if stale and not write:
        raise typer.Exit(1)


if __name__ == "__main__":
    exit_with(app)
