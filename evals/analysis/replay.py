"""A record scored once more from its stored rows: equal to the bit, or what differs, and from what.

Nothing is encoded. The data says which documents are relevant, the rows come from the store or from
the record itself (`--keep-embeddings`), and the task's own code makes ranks and metrics of them.

Shapes: q queries.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import join
from typing import Any, NamedTuple

import numpy as np

from evals.analysis.recorded import (
    Recorded,
    recorded_data,
    recorded_encoder,
    recorded_row,
    recorded_store,
    stored_rows,
    stored_vectors,
)
from evals.bucket import Location
from evals.embeddings.kept import EMBEDDINGS, read_kept
from evals.embeddings.store import Store
from evals.evaluation.recording import metric_lines
from evals.records.provenance import host, source_state
from evals.records.queries import Cell, cell_name, cell_of, tables_by_cell
from evals.records.record import MetricLine, Run, read_file
from evals.schema import ConfigError, Side, is_multi_vector
from evals.tasks import TASKS, task_for
from evals.tasks.scores import Scores

SCORE = "score"
RANKS = {"better", "tied", "tied_relevant"}
OTHER_QUERIES = {"queries", "query_id", "group_id"}
# Of dot products of unit rows in float32: 1,024 products added in another order differ by 1e-6.
ROUNDING = 1e-5
HOST = ("python", "machine", "processor", "accelerator")
NUMBERS = ("value", "ci_low", "ci_high", "n_queries", "n_gallery", "tie_rate")

# The rows of a side of the data, or where its vectors lie.
RowsOf = Callable[[Side], Any]


class Difference(NamedTuple):
    """What came out otherwise: a column of queries, or a number of a metric.

    `largest` is the largest absolute difference, None of what are no numbers; `example` is the
    first query, or the recorded number and the new one.
    """

    cell: str
    what: str
    rows: int
    largest: float | None
    example: str


class Replay(NamedTuple):
    """What came of a replay: where rows came from, how much was compared, what differs.

    `changed` says in what this machine is not the one that measured: packages, processor, source.
    """

    path: Path
    rows_from: str
    queries: int
    numbers: int
    differences: list[Difference]
    changed: dict[str, tuple[Any, Any]]
    device: str

    @property
    def bit_equal(self) -> bool:
        """Whether all queries and metrics are the recorded ones, to the last bit."""
        return not self.differences

    @property
    def cause(self) -> str:
        """What the pattern of differences tells."""
        if self.bit_equal:
            return "bit-equal"
        columns = {difference.what for difference in self.differences}
        if columns & OTHER_QUERIES:
            return "queries, or their groups, are others: nothing can be said of their ranks"
        if columns & RANKS:
            return "ranks differ: other rows, or another way to score them"
        if SCORE not in columns:
            return "ranks are equal and numbers made of them are not: another version computes them"
        apart = [entry.largest or 0.0 for entry in self.differences if entry.what == SCORE]
        if not max(apart) <= ROUNDING:
            return (
                f"no rank differs, and scores do by up to {max(apart):.2g}, more than rounding: "
                "other rows, or another way to score them"
            )
        if columns == {SCORE}:
            return (
                "ranks and metrics are equal; only the last bits of scores differ, as products "
                "by another processor, thread count or library do"
            )
        return "ranks are equal; the last bits of scores differ, and so do numbers made of them"


def replay(run: Run, *, data: Path | None = None, store: Location | None = None) -> Replay:
    """Score the rows of a record again, and compare all queries and metrics with it.

    `data` and `store` stand in for the places that the record names; rows that the record keeps
    come before those of its store. ConfigError for records without rows (mteb's tasks, run files,
    probes), MissingError for rows that are nowhere, NotComparableError for other data.
    """
    check_replayable(run)
    encoder = recorded_encoder(run)
    rows_of, rows_from = _source(run, encoder, store)
    row = recorded_row(run)
    task = task_for(row.task, encoder)
    config = run.manifest.raw["config"]
    # A run of several kinds of data names measures that only one kind has.
    measures: dict[str, Any] = {}
    if config.get("measures") and row.task == "retrieval":
        measures["measures"] = tuple(config["measures"])
    device = _device(run)
    scores: dict[str, list[Scores]] = {}
    for subset, part in recorded_data(run, list(run.manifest.data), data).items():
        scores[subset] = task.score(
            [rows_of(side) for side in task.sides(part)],
            part,
            dims=tuple(config["dims"]),
            precisions=tuple(config.get("precisions", ("float32",))),
            device=device,
            **measures,
        )
    differences = [*_of_queries(run, scores), *_of_metrics(run, metric_lines(scores))]
    return Replay(
        path=run.path,
        rows_from=rows_from,
        queries=sum(len(score.query_ids) for part in scores.values() for score in part),
        numbers=len(run.metrics) * len(NUMBERS),
        differences=differences,
        changed=changed_since(run),
        device=device,
    )


def check_replayable(run: Run) -> None:
    """Refuse a record whose numbers come from no stored rows, or from more than them. ConfigError."""
    manifest = run.manifest
    reason = None
    if manifest.mteb is not None:
        reason = "a task of mteb, which mteb scores"
    elif manifest.encoder.fingerprint.get("run") == "trec":
        reason = "of a run file, which has no rows. Score that again with python -m evals.score"
    elif "probe" in manifest.raw:
        reason = f"a probe, which was trained on other images. Run again: {join(manifest.command)}"
    elif manifest.config.row.task not in TASKS:
        reason = "of data that no task here scores"
    if reason:
        raise ConfigError(f"{run.path}: {reason}. It cannot be replayed.")


def changed_since(run: Run) -> dict[str, tuple[Any, Any]]:
    """In what this machine is not the one that measured: what it was then, and what it is now."""
    from evals.packages import packages

    then: dict[str, Any] = dict(run.manifest.packages)
    here: dict[str, Any] = {name: packages().get(name) for name in then}
    machine = host()
    for name in HOST:
        then[name], here[name] = run.manifest.host.get(name), machine.get(name)
    source = run.manifest.source
    then["commit"] = source.commit if source else None
    here["commit"] = (source_state() or {}).get("commit")
    return {name: (then[name], here[name]) for name in then if then[name] != here[name]}


def _source(run: Run, encoder: Recorded, place: Location | None) -> tuple[RowsOf, str]:
    """Where rows come from: the named store, else the record, else the store that it names."""
    if place is None and EMBEDDINGS in run.manifest.files:
        kept = read_kept(read_file(run, EMBEDDINGS), str(run.path / EMBEDDINGS))
        return lambda side: kept.rows(encoder, side), EMBEDDINGS
    store = Store(place or recorded_store(run))
    if is_multi_vector(encoder):
        return lambda side: stored_vectors(store, encoder, side), str(store.place)
    return lambda side: stored_rows(store, encoder, side), str(store.place)


def _device(run: Run) -> str:
    """Where ranks were counted, if that is here; counts are the same everywhere."""
    if run.manifest.encoder.fingerprint.get("device") != "cuda":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _of_queries(run: Run, scores: Mapping[str, Sequence[Scores]]) -> Iterator[Difference]:
    """The columns of queries.parquet that came out otherwise, cell by cell."""
    tables = tables_by_cell(run)
    replayed = set()
    for subset, subset_scores in scores.items():
        for score in subset_scores:
            cell = Cell(subset, score.direction, score.dim, score.precision)
            replayed.add(cell)
            name = cell_name(cell)
            if cell not in tables:
                yield Difference(name, "queries", len(score.query_ids), None, "not in the record")
                continue
            table = tables[cell]
            if table["query_id"].to_pylist() != list(score.query_ids):
                yield Difference(name, "query_id", len(table), None, "other queries")
                continue
            yield from _of_columns(name, table, score)
    for cell in tables:
        if cell not in replayed:
            yield Difference(cell_name(cell), "queries", len(tables[cell]), None, "not replayed")


def _of_columns(name: str, table: Any, score: Scores) -> Iterator[Difference]:
    if table["group_id"].to_pylist() != list(score.group_ids):
        yield Difference(name, "group_id", len(table), None, "other groups")
    for column, values in score.columns.items():
        if column not in table.column_names:
            yield Difference(name, column, len(values), None, "not in the record")
            continue
        recorded = table[column].to_numpy()
        # In the type of the file: a score is kept in float32.
        again = np.asarray(values).astype(recorded.dtype)
        apart = np.flatnonzero(_bits(recorded) != _bits(again))
        if len(apart):
            change = again[apart].astype(np.float64) - recorded[apart].astype(np.float64)
            query = table["query_id"][int(apart[0])].as_py()
            largest = float(np.abs(change).max())
            yield Difference(name, column, len(apart), largest, f"query {query}")


def _bits(values: np.ndarray) -> np.ndarray:
    """Numbers as their bits: 0.0 and -0.0 are equal numbers and other bits."""
    return values.view(f"i{values.dtype.itemsize}") if values.dtype.kind == "f" else values


def _of_metrics(run: Run, lines: Sequence[MetricLine]) -> Iterator[Difference]:
    """The numbers of metrics.jsonl that came out otherwise."""
    replayed = {(cell_of(line), line.name): line for line in lines}
    for line in run.metrics:
        again = replayed.pop((cell_of(line), line.name), None)
        where = f"{line.name} of {cell_name(cell_of(line))}"
        if again is None:
            yield Difference(where, "metric", 1, None, "not replayed")
            continue
        for number in NUMBERS:
            old, new = getattr(line, number), getattr(again, number)
            if old != new:
                largest = None if old is None or new is None else abs(new - old)
                yield Difference(where, number, 1, largest, f"{old!r}, now {new!r}")
    for cell, metric in replayed:
        yield Difference(f"{metric} of {cell_name(cell)}", "metric", 1, None, "not in the record")
