"""Records to hold against each other: small ones made from ranks, and real ones with some ranks moved."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evals.evaluation.recording import metric_lines, query_table
from evals.ranking.definition import Ranks
from evals.ranking.metric_table import of_queries
from evals.ranking.metrics import mean, mean_rank, median_rank
from evals.records.record import MetricLine, read_run
from evals.stats.bootstrap import cluster_bootstrap
from evals.tasks.scores import Scores, Value
from tests import records

GALLERY = 100
OF_RANKS = {"median_rank": median_rank, "mean_rank": mean_rank}


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
    columns, groups = of_queries(ranks), np.arange(len(ranks)) // 2
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
    return records.write(root, metric_lines(dict(cells)), query_table(dict(cells)), **manifest)


def again(
    path: Path,
    root: Path,
    *,
    drop: Sequence[str] = (),
    miss: Mapping[tuple[str, str], int] = {},
    **manifest: Any,
) -> Path:
    """A real record once more, without some subsets, and with first places of some cells lost beyond rank 10.

    `miss` says how many of each cell, each of another image, and other images in each cell.
    """
    run, columns = read_run(path), records.columns_of(path)
    rng = np.random.default_rng(0)
    for (subset, direction), n in miss.items():
        first = (
            (columns["subset"] == subset)
            & (columns["direction"] == direction)
            & (columns["better"] == 0)
            & (columns["tied"] == 0)
        )
        places = np.flatnonzero(first)
        _, of_each_image = np.unique(columns["group_id"][places], return_index=True)
        at = rng.choice(places[of_each_image], n, replace=False)
        columns["better"][at], columns["ndcg10"][at] = 60, 0.0
    keep = ~np.isin(columns["subset"], list(drop))
    columns = {name: column[keep] for name, column in columns.items()}
    lines = [_measured(line, columns) for line in run.metrics if line.subset not in drop]
    return records.rewritten(path, root, lines=lines, table=columns, **manifest)


def _measured(line: MetricLine, columns: Mapping[str, np.ndarray]) -> MetricLine:
    """The line as it follows from the ranks of its cell."""
    at = np.logical_and.reduce(
        [columns[name] == getattr(line, name) for name in ("subset", "direction", "dim")]
    )
    names = ("better", "tied", "tied_relevant", "score", "ndcg10")
    ranks = Ranks(**{name: columns[name][at] for name in names})
    name = line.metric if line.k is None else f"{line.metric}@{line.k}"
    values = of_queries(ranks)
    if name not in values:
        return replace(line, value=OF_RANKS[name](ranks))
    groups = np.unique(columns["group_id"][at], return_inverse=True)[1]
    ends = cluster_bootstrap({name: values[name]}, groups)[name]
    assert ends is not None
    return replace(line, value=mean(values[name]), ci_low=ends.low, ci_high=ends.high)
