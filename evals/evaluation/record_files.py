"""Optional files of a record: rankings, embeddings, and curves over gallery sizes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # the rest is imported where it is used, so that --help answers at once
    from evals.embeddings.kept import KeptRows
    from evals.records.curves import CurveLine
    from evals.tasks.best import Best, Judgements
    from evals.tasks.gallery_curve import Curve


class Kept(NamedTuple):
    """What `--keep-top` keeps of a subset: the best documents of each query, and the judgements."""

    best: Sequence["Best"]
    judgements: Sequence["Judgements"]


def ranking_files(kept: Mapping[str, Kept]) -> dict[str, bytes]:
    """The rankings and judgements of all subsets, as files of the record."""
    if not kept:
        return {}
    from evals.records.rankings import BEST, QRELS, as_file

    best = [_best_table(subset, part) for subset, entry in kept.items() for part in entry.best]
    qrels = [
        _qrels_table(subset, part) for subset, entry in kept.items() for part in entry.judgements
    ]
    return {BEST: as_file(BEST, _joined(best)), QRELS: as_file(QRELS, _joined(qrels))}


def embedding_files(rows: "KeptRows | None") -> dict[str, bytes]:
    """All rows as a file of the record, whose hash the manifest names."""
    from evals.embeddings.kept import EMBEDDINGS

    return {} if rows is None else {EMBEDDINGS: rows.as_bytes()}


def _best_table(subset: str, part: "Best") -> dict[str, Any]:
    n_queries, k = part.docs.shape
    return {
        "subset": [subset] * (n_queries * k),
        "direction": [part.direction] * (n_queries * k),
        "dim": [part.dim] * (n_queries * k),
        "precision": [part.precision] * (n_queries * k),
        "query_id": np.repeat(np.array(part.query_ids, dtype=object), k),
        "rank": np.tile(np.arange(1, k + 1), n_queries),
        "doc_id": np.array(part.doc_ids, dtype=object)[part.docs.ravel()],
        "score": part.scores.ravel(),
    }


def _qrels_table(subset: str, part: "Judgements") -> dict[str, Any]:
    queries, docs, grades = part.qrels.T
    return {
        "subset": [subset] * len(grades),
        "direction": [part.direction] * len(grades),
        "query_id": np.array(part.query_ids, dtype=object)[queries],
        "doc_id": np.array(part.doc_ids, dtype=object)[docs],
        "grade": grades,
    }


def _joined(tables: Sequence[Mapping[str, Any]]) -> Any:
    import pyarrow as pa

    return pa.concat_tables([pa.table(dict(table)) for table in tables])


def curve_files(curves: Mapping[str, Sequence["Curve"]]) -> dict[str, bytes]:
    """The curves of all subsets, and of each query the two counts that they are made of."""
    # No file rather than an empty one: a record without distractors is as it always was.
    if not curves:
        return {}
    from evals.records.curves import COUNTS, CURVES, as_counts, as_lines

    lines = list(curve_lines(curves))
    counts = [
        _counts_table(subset, curve)
        for subset, subset_curves in curves.items()
        for curve in subset_curves
    ]
    return {CURVES: as_lines(lines), COUNTS: as_counts(_joined(counts))}


def curve_lines(curves: Mapping[str, Sequence["Curve"]]) -> "Iterator[CurveLine]":
    """The points of all subsets in the order of the table."""
    from evals.records.curves import CurveLine

    for subset, subset_curves in curves.items():
        for curve in subset_curves:
            for point in curve.points:
                # Apart in the file, as in metrics.jsonl.
                metric, _, k = point.metric.partition("@")
                interval = point.value.interval
                yield CurveLine(
                    subset=subset,
                    direction=curve.direction,
                    dim=curve.dim,
                    metric=metric,
                    k=int(k),
                    n_gallery=point.n_gallery,
                    n_distractors=point.n_distractors,
                    value=point.value.value,
                    ci_low=interval.low if interval else None,
                    ci_high=interval.high if interval else None,
                    n_queries=len(curve.query_ids),
                )


def _counts_table(subset: str, curve: "Curve") -> dict[str, Any]:
    # In the order of queries.parquet: the two can be laid side by side.
    n_queries = len(curve.query_ids)
    return {
        "subset": [subset] * n_queries,
        "direction": [curve.direction] * n_queries,
        "dim": [curve.dim] * n_queries,
        "query_id": list(curve.query_ids),
        "better": curve.counts.better,
        "tied": curve.counts.tied,
    }
