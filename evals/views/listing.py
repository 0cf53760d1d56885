"""What can be evaluated: `python -m evals.run --list`."""

import os
from pathlib import Path
from typing import Any

from evals.config.catalog import Benchmark, benchmarks
from evals.config.suites import MTEB, Suite, suites

MANY = 10  # names of rows that a suite shows
RECALL, ACCURACY = "t2i and i2t R@1, R@5, R@10", "acc@1, acc@5, mean per-class recall"


def as_json(data: Path | None) -> dict[str, Any]:
    """Benchmarks and suites as rows of a table.

    `here` tells whether the data is on this machine, `data` being `--data`.
    """
    rows = [
        row.model_dump(mode="json") | {"metric": metric(row), "here": here(row, data)}
        for row in benchmarks().values()
    ]
    return {
        "schema_version": 1,
        "benchmarks": rows,
        "suites": [suite.model_dump(mode="json") for suite in suites().values()],
    }


def print_list(data: Path | None) -> None:
    """The same for a person: captioned images, then classification, then suites."""
    from rich.markup import escape

    from evals.views.style import console

    out = console()
    rows = list(benchmarks().values())
    # Two tables: captions have languages, classes do not, and half of the cells would be empty.
    captioned = [(row, _captioned(row)) for row in rows if not row.classes]
    classified = [(row, _classified(row)) for row in rows if row.classes]
    out.print(_table(("images", "texts", "languages", "data"), captioned, data))
    out.print()
    out.print(f"Images and texts are those of each language. Measured: {RECALL}.", highlight=False)
    out.print()
    out.print(_table(("images", "classes"), classified, data))
    out.print()
    out.print(
        f"Measured: {ACCURACY}; mAP where images have several classes. "
        "Data: CLIP_benchmark's webdatasets on the Hub, or --data.",
        highlight=False,
    )
    out.print()
    for suite in suites().values():
        out.print(
            f"[bold]{suite.name}[/bold]  {escape(suite.title)}: {_parts(suite)}", highlight=False
        )
    out.print()
    out.print(
        "Any task of mteb can be named too, as mteb:TASK or mteb:TASK/SPLIT.", highlight=False
    )


def metric(row: Benchmark) -> str:
    """What is measured of a row."""
    if row.classes is None:
        return RECALL
    return ACCURACY if row.metric == "acc@1" else str(row.metric)


def _table(
    columns: tuple[str, ...], rows: list[tuple[Benchmark, tuple[str, ...]]], data: Path | None
) -> Any:
    from evals.views.table import FittingTable

    table = FittingTable(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("benchmark", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="left" if name == "data" else "right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    for row, cells in rows:
        table.add_row(row.name, *cells, "yes" if here(row, data) else "no")
    return table


def _captioned(row: Benchmark) -> tuple[str, ...]:
    counts = {row.count_texts(subset) for subset in row.subsets}
    texts = f"{min(counts):,}"
    # Languages may have more and fewer captions; the range says so.
    if len(counts) > 1:
        texts = f"{texts}-{max(counts):,}"
    languages = str(len(row.subsets))
    if len(row.subsets) == 1:
        languages = row.subsets[0]
    return f"{row.images:,}", texts, languages, source(row)


def _classified(row: Benchmark) -> tuple[str, ...]:
    classes = f"{row.classes.count:,}" if row.classes else ""
    return f"{row.images:,}", classes


def _parts(suite: Suite) -> str:
    """The rows of a suite, and how many tasks of mteb it has: their names would fill the page."""
    tasks = len(suite.tasks)
    rows = [name for name in suite.benchmarks if not name.startswith(MTEB)]
    if len(rows) > MANY:
        rows = [f"{len(rows)} benchmarks, {rows[0]} to {rows[-1]}"]
    if tasks:
        rows.append(f"{tasks} task{'s' * (tasks != 1)} of mteb")
    return " ".join(rows)


def source(row: Benchmark) -> str:
    """Where the data comes from, in a word."""
    if row.hub:
        revision = row.hub.revision[:7] if row.hub.revision else "newest"
        return f"{row.hub.repo}@{revision}"
    return "bundled" if row.data == "scenes" else "--data only"


def here(row: Benchmark, data: Path | None = None) -> bool:
    """Whether the data is on this machine: bundled, below `--data`, or in the Hub's cache.

    One file of data in the cache is taken for all: the list is no check, the run is.
    """
    if row.data == "scenes":
        return True
    # A folder of its own counts, whatever is in it.
    if data is not None:
        folder = data.expanduser() / (row.folder or row.name)
        if folder.is_dir():
            return True
    if row.hub is None:
        return False
    repo = f"datasets--{row.hub.repo.replace('/', '--')}"
    snapshots = _hub_cache() / repo / "snapshots"
    pattern = f"{row.hub.revision or '*'}/**/*"
    files_by_kind = [snapshots.glob(pattern + kind) for kind in (".parquet", ".tar")]
    # The first match is enough: a snapshot may have thousands of files.
    return any(next(files, None) is not None for files in files_by_kind)


def _hub_cache() -> Path:
    """Where huggingface_hub keeps data sets, by its environment variables.

    The package itself knows, but takes longer to import than the whole list to print.
    """
    cache = os.environ.get("HF_HUB_CACHE")
    if cache:
        return Path(cache)
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    return Path(home).expanduser() / "hub"
