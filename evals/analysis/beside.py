"""Checks the additional files of a record against its metrics and queries: rankings, judgements, distractors.

Rankings name the best documents of each query, so the score of its best relevant one, and how many
stand above it, follow once more. Curves over gallery sizes are made of two counts per query.

Shapes: q queries, k documents.
"""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from evals.ranking.gallery_size import DistractorCounts, gallery_sizes, hit_at_sizes
from evals.ranking.metrics import mean
from evals.records.curves import COUNT_COLUMNS, COUNTS, CURVES, CurveLine, read_curves
from evals.records.manifest import MANIFEST
from evals.records.queries import Cell, by_cell, cell_name, lines_by_cell, ranks_of
from evals.records.rankings import BEST, QRELS, read_rankings
from evals.records.record import QUERIES, Run, read_file
from evals.schema import InvalidError
from evals.tasks.gallery_curve import RECALLS

# Of dot products in float32, added in another order by another search.
ROUNDING = 1e-5
EXACT = 1e-9
PRECISION = "float32"


def unlike_beside(run: Run, tables: Mapping[Cell, Any]) -> Iterator[str]:
    """In what the files beside metrics and queries do not agree with them, a sentence each.

    InvalidError for a file that cannot be read.
    """
    if BEST in run.manifest.files and QRELS in run.manifest.files:
        yield from _rankings(run, tables)
    if CURVES in run.manifest.files and COUNTS in run.manifest.files:
        yield from _curves(run, tables)


def _rankings(run: Run, tables: Mapping[Cell, Any]) -> Iterator[str]:
    qrels, rankings = read_rankings(run, QRELS), by_cell(read_rankings(run, BEST))
    yield from _judgements(run, tables, qrels)
    for cell, table in tables.items():
        best = rankings.pop(cell, None)
        if best is None or not _lists_each(best, table):
            yield f"{BEST}: {cell_name(cell)} does not list as many documents of each query, by rank."
            continue
        yield from _ranked(cell_name(cell), table, best, _of_search(qrels, cell))
    for cell in rankings:
        yield f"{BEST}: {cell_name(cell)} is no part of the record."


def _lists_each(best: Any, table: Any) -> bool:
    """Whether all queries of a cell have as many documents, in order and with ranks from 1."""
    n_queries, k = len(table), len(best) // max(1, len(table))
    if len(best) != n_queries * k:
        return False
    ids = np.repeat(table["query_id"].to_numpy(zero_copy_only=False), k)
    same_ids = (best["query_id"].to_numpy(zero_copy_only=False) == ids).all()
    ranks = np.tile(np.arange(1, k + 1), n_queries)
    return bool(same_ids and (best["rank"].to_numpy() == ranks).all())


def _ranked(where: str, table: Any, best: Any, qrels: Any) -> Iterator[str]:
    """The first query of a cell whose documents are not those that were counted."""
    n_queries = len(table)
    docs, scores, is_relevant = _documents(table, best, qrels)
    twice = (np.diff(np.sort(docs, axis=1), axis=1) == 0).any(axis=1)
    first = is_relevant.argmax(axis=1)
    is_there = is_relevant.any(axis=1)
    recorded, better = table["score"].to_numpy(), table["better"].to_numpy()
    score = np.where(is_there, scores[np.arange(n_queries), first], recorded)
    # MaxSim adds up as many products as a query has vectors.
    rounding = ROUNDING * np.maximum(1, np.abs(recorded))
    rising = (np.diff(scores, axis=1) > rounding[:, None]).any(axis=1)
    above = (scores > (score + rounding)[:, None]).sum(axis=1)
    not_below = (scores >= (score - rounding)[:, None]).sum(axis=1)
    moved = is_there & ((above > better) | (better > not_below))
    # What is not among the best is below the last of them.
    hidden = ~is_there & (recorded > scores[:, -1] + rounding)
    other = np.abs(score - recorded) > rounding
    wrong = np.flatnonzero(twice | rising | moved | hidden | other)
    if len(wrong):
        query = table["query_id"][int(wrong[0])].as_py()
        yield (
            f"{BEST}: the documents of query {query!r} of {where} do not make the score and rank "
            f"that {QUERIES} has; so of {len(wrong):,} of {n_queries:,}."
        )


def _documents(table: Any, best: Any, qrels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A number of each document, its score, and whether it is relevant, all of shape (q, k)."""
    import pyarrow.compute as pc

    shape = len(table), -1
    names = best["doc_id"].combine_chunks().dictionary_encode()
    docs = names.indices.to_numpy().reshape(shape).astype(np.int64)
    graded = qrels.filter(pc.greater(qrels["grade"], 0))
    # A relevant document that is nowhere among the best has no number.
    places = pc.index_in(graded["query_id"], value_set=table["query_id"].combine_chunks())
    numbers = pc.index_in(graded["doc_id"], value_set=names.dictionary)
    is_known = pc.and_(places.is_valid(), numbers.is_valid()).to_numpy(zero_copy_only=False)
    n_docs = len(names.dictionary)
    pairs = (
        places.fill_null(0).to_numpy().astype(np.int64) * n_docs + numbers.fill_null(0).to_numpy()
    )
    of_query = np.arange(len(table))[:, None] * n_docs + docs
    is_relevant = np.isin(of_query, pairs[is_known])
    return docs, best["score"].to_numpy().reshape(shape).astype(np.float64), is_relevant


def _judgements(run: Run, tables: Mapping[Cell, Any], qrels: Any) -> Iterator[str]:
    """Judgements of queries that are none, and others than the other direction or the data has."""
    import pyarrow.compute as pc

    searches = {(cell.subset, cell.direction): (cell, table) for cell, table in tables.items()}
    n_judged = 0
    for (subset, direction), (cell, table) in searches.items():
        of_search = _of_search(qrels, cell)
        n_judged += len(of_search)
        ids = table["query_id"].combine_chunks()
        unknown = pc.invert(pc.is_in(of_search["query_id"], value_set=ids))
        relevant = of_search.filter(pc.greater(of_search["grade"], 0))
        without = pc.invert(pc.is_in(ids, value_set=relevant["query_id"].combine_chunks()))
        if pc.any(unknown).as_py() or pc.any(without).as_py():
            yield f"{QRELS}: {cell_name(cell)} has other queries than {QUERIES}, or one without any relevant document."
        counts = run.manifest.raw.get("data", {}).get(subset, {})
        if len(of_search) != counts.get("judgements", len(of_search)):
            yield f"{QRELS}: {len(of_search):,} judgements of {subset}, and {MANIFEST} counts {counts['judgements']:,}."
        if direction == "t2i" and (subset, "i2t") in searches:
            back, _ = searches[subset, "i2t"]
            if not _same_pairs(relevant, _of_search(qrels, back)):
                yield f"{QRELS}: t2i and i2t of {subset} do not have the same pairs."
    if n_judged != len(qrels):
        yield f"{QRELS}: {len(qrels) - n_judged:,} judgements are of nothing that was measured."


def _same_pairs(forth: Any, back: Any) -> bool:
    """Whether two directions judge the same pairs of a text and an image."""
    columns = ["query_id", "doc_id", "grade"]
    mirrored = back.select(["doc_id", "query_id", "grade"]).rename_columns(columns)
    order = [(name, "ascending") for name in columns]
    return bool(forth.select(columns).sort_by(order).equals(mirrored.sort_by(order)))


def _of_search(qrels: Any, cell: Cell) -> Any:
    """The judgements of the search that a cell is of."""
    import pyarrow.compute as pc

    is_subset = pc.equal(qrels["subset"], cell.subset)
    return qrels.filter(pc.and_(is_subset, pc.equal(qrels["direction"], cell.direction)))


def _curves(run: Run, tables: Mapping[Cell, Any]) -> Iterator[str]:
    counts, lines_of = _counts(run), lines_by_cell(run)
    by_cell: dict[Cell, list[CurveLine]] = {}
    for line in read_curves(run):
        cell = Cell(line.subset, line.direction, line.dim, PRECISION)
        by_cell.setdefault(cell, []).append(line)
    for cell, lines in by_cell.items():
        where = f"{CURVES}: {cell_name(cell)}"
        table, of_cell = tables.get(cell), counts.pop(cell, None)
        if table is None or of_cell is None:
            yield f"{where} is no part of the record."
        elif of_cell["query_id"].to_pylist() != table["query_id"].to_pylist():
            yield f"{COUNTS}: {cell_name(cell)} has other queries than queries.parquet."
        else:
            n_gallery = lines_of[cell][0].n_gallery
            yield from _points(where, lines, table, of_cell, n_gallery)
    for cell in counts:
        yield f"{CURVES}: no curve of {cell_name(cell)}, whose counts {COUNTS} has."


def _points(
    where: str, lines: Sequence[CurveLine], table: Any, counts: Any, n_gallery: int
) -> Iterator[str]:
    """The points of a curve that are missing, or are not what its counts make."""
    total = max(line.n_distractors for line in lines)
    sizes = gallery_sizes(n_gallery, total)
    drawn = [size - n_gallery for size in sizes]
    better, tied = counts["better"].to_numpy(), counts["tied"].to_numpy()
    if (better + tied > total).any():
        yield f"{where}: more distractors than {total:,} are above a query's best document."
        return
    ranks, left = ranks_of(table), {(line.name, line.n_gallery): line for line in lines}
    for name, k in RECALLS.items():
        hits = hit_at_sizes(ranks, DistractorCounts(better, tied, total), drawn, k)
        for size, column in zip(sizes, hits, strict=True):
            line = left.pop((name, size), None)
            if line is None:
                yield f"{where}: {name} among {size:,} is missing."
                continue
            expected = (size - n_gallery, len(column))
            if (line.n_distractors, line.n_queries) != expected:
                yield f"{where}: {name} among {size:,} has other counts than {expected}."
            value = mean(column)
            if abs(line.value - value) > EXACT:
                yield f"{where}: {name} among {size:,} is {line.value!r}, and its counts make {value!r}."
            low, high = line.ci_low, line.ci_high
            if low is None or high is None or not low <= line.value <= high:
                yield f"{where}: {name} among {size:,} is not within its interval."
    for name, size in left:
        yield f"{where}: {name} among {size:,} is no point of the curve."


def _counts(run: Run) -> dict[Cell, Any]:
    """The counts of each cell as an Arrow table. InvalidError for a file that is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = run.path / COUNTS
    try:
        table = pq.read_table(BytesIO(read_file(run, COUNTS)), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise InvalidError(f"{file}: {error}. Run the evaluation again.") from error
    if table.column_names != list(COUNT_COLUMNS):
        raise InvalidError(f"{file}: other columns than {', '.join(COUNT_COLUMNS)}.")
    # Distractors are counted in this precision alone.
    return by_cell(table.append_column("precision", pa.repeat(PRECISION, len(table))))
