"""The pages that say what to doubt: the worst queries of each run, and the quality of its data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evals.analysis.stated_files import Unread
from evals.dashboard.history import History, points
from evals.dashboard.parts import Column, Page, Row, Table
from evals.dashboard.rows import DATE, DIM, MAKE_ONE, RUN, WHAT, WHERE, run_row
from evals.dashboard.shown import Refusal, Words
from evals.escape import visible
from evals.ranking.metrics import expected_rank
from evals.records.queries import RANKS, ranks_of
from evals.records.record import Run, read_queries

WORST = 20  # queries shown of each language and direction
VALUE_OF_QUERY = Column("score", "Value, %", "percent")  # of mteb's tasks
SHOWN = (
    Column("asked", "What it says", "items"),
    Column("answer", "Its own", "items"),
    Column("preferred", "Ranked above it", "items"),
)
IDS_ONLY = (
    "Records hold ids, not captions or images: `python -m evals.dashboard --texts` shows what the "
    "queries say, and `--thumbnails` the images, where the data and the embeddings are."
)


def mistakes(history: History, words: Words | None = None) -> Page:
    """The worst queries of the newest runs, by expected rank or by the value that mteb gives them.

    With `words` also what they say, what answers them, and what was ranked above that.
    """
    rows: list[Row] = []
    for run in history.newest():
        rows += _worst(run, words)
    refused = words.refused if words else []
    columns = (
        *WHAT,
        *WHERE[:2],
        Column("query", "Query"),
        Column("rank", "Expected rank", "number"),
        *([VALUE_OF_QUERY] if any("score" in row for row in rows) else []),
        *(SHOWN if words else ()),
        DIM,
        RUN,
    )
    without_words = Table(
        "refused",
        "Shown by ids only",
        (*WHAT, *WHERE[:2], Column("message", "Why")),
        [_refused(each) for each in refused],
        "None.",
    )
    return Page(
        "mistakes",
        "Mistakes",
        f"The {WORST} worst queries of each newest run, language and direction.",
        [
            Table(
                "mistakes",
                "Worst queries",
                columns,
                rows,
                "No record of queries yet. " + MAKE_ONE,
            ),
            *([without_words] if words else []),
        ],
        notes=[
            "The rank is where the first relevant document is expected, from 1, with equal scores "
            "in random order. Tasks of mteb keep a value for each query instead, and those of text "
            "similarity none.",
            _about_words(words),
        ],
        single=("benchmark", "model", "subset", "direction"),
    )


def _about_words(words: Words | None) -> str:
    if words is None:
        return IDS_ONLY
    if not words.photos:
        return "What queries say comes from the data and the stored embeddings, at full width in float32."
    # This loads torch, as looking up the images did.
    from evals.views.mistakes import LICENCE

    return LICENCE


def quality(history: History, unread: Sequence[Unread] = ()) -> Page:
    """What each record tells of its data, and the folders and `unread` files that hold no result."""
    about_data = (
        Column("queries", "Queries", "number"),
        Column("ties", "Highest tie rate, %", "percent"),
        Column("zero", "Zero rows", "number"),
        Column("cut", "Texts cut", "number"),
        Column("skipped", "Skipped", "number"),
        Column("partial", "Part"),
    )
    counts = (Column("n_queries", "Queries", "number"), Column("n_gallery", "Gallery", "number"))
    counted: list[Row] = []
    for run in history.newest():
        counted += _counts(run)
    interrupted = "No manifest: interrupted, or still writing."
    return Page(
        "quality",
        "Data quality",
        "What to know before a number is trusted: ties, empty embeddings, texts that were cut, "
        "parts, and broken folders.",
        [
            # Broken ones first: whoever opens this page looks for what is missing elsewhere.
            Table(
                "broken",
                "Broken records and result files",
                (Column("path", "File or folder"), Column("message", "What is wrong")),
                [
                    {"path": visible(str(path)), "message": visible(message)}
                    for path, message in (*history.broken, *unread)
                ],
                "None: every record and result file could be read, and the records' checksums hold.",
            ),
            Table(
                "incomplete",
                "Incomplete folders",
                (Column("path", "Folder"), Column("message", "What is wrong")),
                [{"path": str(path), "message": interrupted} for path in history.incomplete],
                "None.",
            ),
            Table(
                "quality",
                "What runs tell of their data",
                (DATE, *WHAT, *about_data, RUN),
                [_about_data(run) for run in history.runs[::-1]],
                MAKE_ONE,
            ),
            Table(
                "counts",
                "Counts of the newest runs",
                (
                    *WHAT,
                    *WHERE[:2],
                    DIM,
                    *counts,
                    Column("tie_rate", "Tie rate, %", "percent"),
                    RUN,
                ),
                counted,
                MAKE_ONE,
            ),
        ],
        notes=[
            "A tie rate is the share of queries whose best relevant document has the score of an "
            "irrelevant one; ties count in expectation. “Texts cut” and “Zero rows” stay empty "
            "where a record does not count them."
        ],
    )


def _worst(run: Run, words: Words | None) -> Iterator[dict[str, Any]]:
    """The worst queries of each language and direction at the run's full width."""
    table = read_queries(run)
    names = set(table.column_names)
    # Pairs of a text similarity task have neither: no query has a value by itself.
    if not names & {"better", "value"} or not run.metrics:
        return
    # Every point is at full width: whichever is first says which width that is.
    widest = points(run)[0]
    columns = {name: table[name].to_numpy() for name in table.column_names}
    is_widest = (columns["dim"] == widest.dim) & (columns["precision"] == widest.precision)
    quality = _quality(table, columns)
    for subset, direction in dict.fromkeys((line.subset, line.direction) for line in run.metrics):
        # A language and direction at a time: the worst of all would be those of the hardest
        # language.
        in_cell = (columns["subset"] == subset) & (columns["direction"] == direction)
        imperfect = np.flatnonzero(is_widest & in_cell & (quality.values < quality.best))
        # Stable: of equally bad queries the first of the record, however often the site is made.
        worst_first = np.argsort(quality.values[imperfect], kind="stable")
        # A value per query, as mteb keeps, has no search whose answers could be shown.
        searched = words if quality.column == "rank" else None
        in_words = searched.of(run, subset, direction, WORST) if searched else {}
        for query in imperfect[worst_first][:WORST]:
            yield {
                **run_row(run),
                "subset": subset,
                "direction": direction,
                "dim": widest.dim,
                "query": columns["query_id"][query],
                quality.column: quality.sign * float(quality.values[query]),
                **in_words.get(columns["query_id"][query], {}),
            }


def _refused(refusal: Refusal) -> Row:
    return {
        **run_row(refusal.run),
        "subset": refusal.subset,
        "direction": refusal.direction,
        "message": refusal.message,
    }


class _Quality(NamedTuple):
    """How good each query of a record is, higher being better, and `best` what none can exceed.

    `column` shows the values times `sign`.
    """

    values: np.ndarray
    best: float
    column: str
    sign: float


def _quality(table: Any, columns: Mapping[str, np.ndarray]) -> _Quality:
    if set(table.column_names) >= set(RANKS):
        return _Quality(-expected_rank(ranks_of(table)), best=-1.0, column="rank", sign=-1.0)
    # mteb's values are shares: a query of 1 has nothing wrong with it.
    return _Quality(columns["value"], best=1.0, column="score", sign=1.0)


def _about_data(run: Run) -> dict[str, Any]:
    manifest = run.manifest
    partial = manifest.partial or {}
    # Metrics of one cell are of the same queries, which count once.
    queries_of_cell = {(line.subset, line.direction): line.n_queries for line in run.metrics}
    part = ", ".join(f"{name}: {_in_words(value)}" for name, value in partial.items())
    return {
        **run_row(run),
        "queries": sum(queries_of_cell.values()),
        "ties": max((line.tie_rate for line in run.metrics), default=None),
        "zero": manifest.zero_rows,
        "cut": manifest.truncated,
        "skipped": len(manifest.skipped),
        "partial": part or None,
    }


def _in_words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _counts(run: Run) -> Iterator[dict[str, Any]]:
    """A row per language and direction, at the run's full width."""
    if not run.metrics:
        return
    widest = points(run)[0]
    line_of_cell = {}
    for line in run.metrics:
        if (line.dim, line.precision) == (widest.dim, widest.precision):
            line_of_cell[line.subset, line.direction] = line
    for line in line_of_cell.values():
        yield {
            **run_row(run),
            "subset": line.subset,
            "direction": line.direction,
            "dim": line.dim,
            "n_queries": line.n_queries,
            "n_gallery": line.n_gallery,
            "tie_rate": line.tie_rate,
        }
