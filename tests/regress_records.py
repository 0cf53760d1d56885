"""Records to hold against each other: small ones made from ranks, and real ones with some ranks moved."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evals.evaluation.recording import metric_lines, query_table
from evals.ranking.definition import Ranks
from evals.ranking.metrics import mean, mean_rank, median_rank, per_query
from evals.records.record import QUERY_COLUMNS, read_queries, read_run, write_run
from evals.stats.bootstrap import cluster_bootstrap
from evals.tasks.scores import Scores, Value

GALLERY = 100
MANIFEST: dict[str, Any] = {
    "benchmark": "toy",
    "model": "m",
    "status": "complete",
    "partial": None,
    "data": {"en": {"content": "1"}, "de": {"content": "2"}},
    "encoder": {"name": "m", "fingerprint": {"weights": "w"}},
    "packages": {"torch": "2"},
    "host": {"python": "3"},
    "source": {"commit": "c", "dirty": False},
    "config": {"dims": [8]},
}
OWN = ("schema_version", "written", "files", "attempt", "checksum")


def ranked(better: Sequence[int] | np.ndarray) -> Ranks:
    """Ranks without ties: so many documents are better than the one that is wanted."""
    at = np.asarray(better, dtype=np.int64)
    gain = np.where(at < 10, 1 / np.log2(at + 2.0), 0.0)
    return Ranks(at, np.zeros_like(at), np.ones_like(at), (1 - at / 1000).astype(np.float32), gain)


def scores(
    better: Sequence[int] | np.ndarray, *, direction: str = "t2i", dim: int = 8, prefix: str = "q"
) -> Scores:
    """Queries in pairs of one image."""
    ranks = ranked(better)
    columns, groups = per_query(ranks), np.arange(len(ranks)) // 2
    intervals = cluster_bootstrap(columns, groups)
    values = {name: Value(mean(column), intervals[name]) for name, column in columns.items()}
    values |= {
        "median_rank": Value(median_rank(ranks), None),
        "mean_rank": Value(mean_rank(ranks), None),
    }
    ids = [f"{prefix}{i}" for i in range(len(ranks))]
    return Scores(direction, dim, values, vars(ranks), ids, [f"i{g}" for g in groups], GALLERY, 0.0)


def lost(n: int, of: int = 1000) -> np.ndarray:
    """All found at the first place but n, each of another image."""
    better = np.zeros(of, dtype=np.int64)
    better[: 2 * n : 2] = 50
    return better


def record(root: Path, cells: Mapping[str, list[Scores]], **manifest: Any) -> Path:
    """Write a record of these subsets."""
    data = {subset: {"content": subset} for subset in cells}
    told = MANIFEST | {"data": data} | manifest
    return write_run(
        root, manifest=told, metrics=metric_lines(dict(cells)), queries=query_table(dict(cells))
    )


def again(
    path: Path,
    root: Path,
    *,
    drop: Sequence[str] = (),
    miss: Mapping[tuple[str, str], int] = {},
    **manifest: Any,
) -> Path:
    """A real record once more, without some subsets, and with so many first places of some cells lost beyond rank 10."""
    run = read_run(path)
    table = read_queries(run)
    columns = {name: table[name].to_numpy(zero_copy_only=False).copy() for name in QUERY_COLUMNS}
    for (subset, direction), n in miss.items():
        hit = (
            (columns["subset"] == subset)
            & (columns["direction"] == direction)
            & (columns["better"] == 0)
        )
        at = np.flatnonzero(hit & (columns["tied"] == 0))[:n]
        assert len(at) == n
        columns["better"][at], columns["ndcg10"][at] = 60, 0.0
    keep = ~np.isin(columns["subset"], list(drop))
    columns = {name: column[keep] for name, column in columns.items()}
    lines = []
    for line in run.metrics:
        if line.subset in drop:
            continue
        at = (
            (columns["subset"] == line.subset)
            & (columns["direction"] == line.direction)
            & (columns["dim"] == line.dim)
        )
        part = Ranks(
            **{
                name: columns[name][at]
                for name in ("better", "tied", "tied_relevant", "score", "ndcg10")
            }
        )
        found = per_query(part)
        name = line.metric if line.k is None else f"{line.metric}@{line.k}"
        if name in found:
            ends = cluster_bootstrap(
                {name: found[name]}, np.unique(columns["group_id"][at], return_inverse=True)[1]
            )[name]
            assert ends is not None
            lines.append(replace(line, value=mean(found[name]), ci_low=ends.low, ci_high=ends.high))
        else:
            lines.append(
                replace(
                    line, value={"median_rank": median_rank, "mean_rank": mean_rank}[name](part)
                )
            )
    told = {
        key: value
        for key, value in json.loads(json.dumps(dict(run.manifest))).items()
        if key not in OWN
    }
    return write_run(root, manifest=told | manifest, metrics=lines, queries=columns)
