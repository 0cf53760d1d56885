"""The pages that tell what to doubt: the worst queries of each run, and what the records say of their own data."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from evals.dashboard.model import History, points
from evals.dashboard.parts import Column, Page, Table
from evals.dashboard.rows import DATE, DIM, MAKE_ONE, RUN, WHAT, WHERE, run_row
from evals.ranking.metrics import expected_rank
from evals.records.queries import RANKS, ranks_of
from evals.records.record import Run, read_queries

WORST = 20  # queries shown of each language and direction


def mistakes(history: History) -> Page:
    """The worst queries of the newest runs, by expected rank of the first relevant document, or by mteb's value."""
    rows = [row for run in history.newest() for row in _worst(run)]
    columns = (
        *WHAT,
        *WHERE[:2],
        Column("query", "Query"),
        Column("rank", "Expected rank", "number"),
        Column("score", "Value, %", "percent"),
        DIM,
        RUN,
    )
    return Page(
        "mistakes",
        "Mistakes",
        f"The {WORST} worst queries of each newest run, language and direction.",
        [
            Table(
                "mistakes", "Worst queries", columns, rows, "No record of queries yet. " + MAKE_ONE
            )
        ],
        notes=[
            "The rank is where the first relevant document is expected, from 1, with equal scores in random order. "
            "Tasks of mteb keep a value for each query instead, and those of text similarity none.",
            "Records hold ids, not captions or images: `python -m evals.mistakes` shows those where the data is.",
        ],
        single=("benchmark", "model", "subset", "direction"),
    )


def quality(history: History) -> Page:
    """What each record tells of its data, and the folders that hold no record."""
    told = (
        Column("queries", "Queries", "number"),
        Column("ties", "Highest tie rate, %", "percent"),
        Column("zero", "Zero rows", "number"),
        Column("cut", "Texts cut", "number"),
        Column("skipped", "Skipped", "number"),
        Column("partial", "Part"),
    )
    counts = (Column("n_queries", "Queries", "number"), Column("n_gallery", "Gallery", "number"))
    counted = [row for run in history.newest() for row in _counts(run)]
    return Page(
        "quality",
        "Data quality",
        "What to know before a number is trusted: ties, empty embeddings, texts that were cut, parts, and broken folders.",
        [
            Table(
                "broken",
                "Broken records",
                (Column("path", "File or folder"), Column("message", "What is wrong")),
                [{"path": str(path), "message": message} for path, message in history.broken],
                "None: every record could be read and its checksums hold.",
            ),
            Table(
                "incomplete",
                "Incomplete folders",
                (Column("path", "Folder"), Column("message", "What is wrong")),
                [
                    {"path": str(path), "message": "No manifest: interrupted, or still writing."}
                    for path in history.incomplete
                ],
                "None.",
            ),
            Table(
                "quality",
                "What runs tell of their data",
                (DATE, *WHAT, *told, RUN),
                [*map(_told, history.runs[::-1])],
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
            "A tie rate is the share of queries whose best relevant document has the score of an irrelevant one; ties count in "
            "expectation. “Texts cut” and “Zero rows” stay empty where a record does not count them."
        ],
    )


def _worst(run: Run) -> Iterator[dict[str, Any]]:
    """The worst queries of each language and direction at the run's full width."""
    table = read_queries(run)
    there = set(table.column_names)
    if not there & {"better", "value"} or not run.metrics:
        return  # pairs of an STS task: no query has a value of its own
    dim, precision = points(run)[0][3:5]
    columns = {name: table[name].to_numpy() for name in table.column_names}
    full = (columns["dim"] == dim) & (columns["precision"] == precision)
    if there >= set(RANKS):
        badness, right, name, sign = expected_rank(ranks_of(table)), 1.0, "rank", 1.0
    else:
        badness, right, name, sign = -columns["value"], -1.0, "score", -1.0
    for subset, direction in dict.fromkeys((line.subset, line.direction) for line in run.metrics):
        own = np.flatnonzero(
            full & (columns["subset"] == subset) & (columns["direction"] == direction)
        )
        wrong = own[badness[own] > right]
        for i in wrong[np.argsort(-badness[wrong], kind="stable")][:WORST]:
            where = {
                "subset": subset,
                "direction": direction,
                "dim": dim,
                "query": columns["query_id"][i],
            }
            yield {**run_row(run), **where, name: sign * float(badness[i])}


def _told(run: Run) -> dict[str, Any]:
    manifest = run.manifest
    partial, lengths = manifest.get("partial"), (manifest.get("mteb") or {}).get("lengths") or {}
    cells = {(line.subset, line.direction): line.n_queries for line in run.metrics}
    return {
        **run_row(run),
        "queries": sum(cells.values()),
        "ties": max((line.tie_rate for line in run.metrics), default=None),
        "zero": manifest.get("zero_rows"),
        "cut": lengths.get("truncated"),
        "skipped": len(manifest.get("skipped", ())),
        "partial": ", ".join(f"{name}: {value}" for name, value in partial.items())
        if partial
        else None,
    }


def _counts(run: Run) -> Iterator[dict[str, Any]]:
    """A row a language and direction, at the run's full width."""
    if not run.metrics:
        return
    dim, precision = points(run)[0][3:5]
    lines = [line for line in run.metrics if (line.dim, line.precision) == (dim, precision)]
    for line in {(line.subset, line.direction): line for line in lines}.values():
        yield {**run_row(run), **{name: getattr(line, name) for name in
                                  ("subset", "direction", "dim", "n_queries", "n_gallery", "tie_rate")}}  # fmt: skip
