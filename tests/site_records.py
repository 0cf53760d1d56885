"""Synthetic records for the tests of the site: several models, languages, dimensions and dates, and hostile names."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.ranking.definition import Ranks
from evals.ranking.metrics import hit_at
from evals.records.record import MetricLine
from evals.stats.bootstrap import cluster_bootstrap
from tests import records

SCRIPT, PIPE, FORMULA, ARABIC, HEBREW = "<script>alert(1)</script>", "a|b", "=1+1", "نموذج", "עברית"
HOSTILE = (SCRIPT, PIPE, FORMULA, ARABIC)
IMAGES, CAPTIONS = 20, 2


def write(
    root: Path,
    model: str,
    day: int,
    *,
    benchmark: str = "multi",
    languages: Sequence[str] = ("en", "de", HEBREW),
    dims: Sequence[int] = (64, 32),
    precisions: Sequence[str] = ("float32",),
    skill: float = 1.0,
    manifest: Mapping[str, Any] | None = None,
) -> Path:
    """A record of ranks written on a day of January 2026; a higher `skill` finds more images."""
    lines: list[MetricLine] = []
    columns: dict[str, list[Any]] = {}
    cells = itertools.product(enumerate(languages), dims, precisions, ("t2i", "i2t"))
    for (number, language), dim, precision, direction in cells:
        cell = {"subset": language, "direction": direction, "dim": dim, "precision": precision}
        ranks, ids, groups = _ranks(direction, seed=100 * number + day, skill=skill * dim**0.5)
        lines += _lines(cell, ranks, groups)
        rows = cell | vars(ranks) | {"query_id": ids, "group_id": list(map(str, groups))}
        for name, column in records.queries(len(ids), **rows).items():
            columns.setdefault(name, []).extend(column)
    about = {"benchmark": benchmark, "model": model, "config": {"dims": list(dims)}}
    about["encoder"] = records.encoder(model, dim=64)
    return records.write(root, lines, columns, day=day, **about | dict(manifest or {}))


def write_task(root: Path, model: str, day: int, benchmark: str = "mteb:Toy") -> Path:
    """A record as of a retrieval task of mteb: a value per query."""
    found = np.random.default_rng(day).random(12)
    cell = {"subset": "default", "direction": "test", "dim": 64}
    counts = {"n_queries": 12, "n_gallery": 50}
    line = records.line("ndcg_at_10", float(found.mean()), **cell, **counts)
    task = {"query_metric": "ndcg_at_10", "lengths": {"texts": 62, "truncated": 3}}
    return records.write(
        root,
        [line],
        records.values(12, **cell, value=found),
        day=day,
        benchmark=benchmark,
        model=model,
        mteb=task,
    )


def example(root: Path) -> Path:
    """What the tests of the site read: 11 whole records, one in part, one broken, one incomplete."""
    for day in (2, 5, 9):
        write(
            root, "alpha", day, skill=0.8 + day / 20, manifest={"packages": {"torch": f"2.{day}.0"}}
        )
    write(root, "beta", 10, skill=3.0, precisions=("float32", "int8", "binary"))
    for day, name in enumerate(HOSTILE, 11):
        write(root, name, day, benchmark="hostile", languages=("en", SCRIPT))
    write(root, "alpha", 15, benchmark="single", languages=("en",), dims=(64,))
    write_task(root, "alpha", 16)
    write_task(root, PIPE, 17, benchmark=f"mteb:{FORMULA}")
    write(
        root, "alpha", 18, benchmark="multi.partial", manifest={"partial": {"limit": 5, "seed": 0}}
    )
    broken = write(root, "gamma", 19, benchmark="single", languages=("en",))
    (broken / "metrics.jsonl").write_text("{}\n")
    (root / "single" / "gamma" / "20260120T000000Z-00000000").mkdir()
    return root


def _ranks(direction: str, *, seed: int, skill: float) -> tuple[Ranks, list[str], np.ndarray]:
    """Ranks of texts (several an image) or of images; the ids are the same in every run."""
    groups = np.repeat(np.arange(IMAGES), CAPTIONS) if direction == "t2i" else np.arange(IMAGES)
    rng = np.random.default_rng(seed)
    better = np.minimum(rng.exponential(20 / skill, len(groups)).astype(np.int64), IMAGES - 1)
    tied = (rng.random(len(groups)) < 0.1).astype(np.int64)
    ones, zeros = np.ones(len(groups), dtype=np.int64), np.zeros(len(groups))
    ids = [f"{direction}-{i}" for i in range(len(groups))]
    return Ranks(better, tied, ones, zeros.astype(np.float32), zeros), ids, groups


def _lines(cell: Mapping[str, Any], ranks: Ranks, groups: np.ndarray) -> list[MetricLine]:
    hits = {f"R@{k}": hit_at(ranks, k) for k in (1, 5, 10)}
    ends = cluster_bootstrap(hits, groups, resamples=200)
    counts = {"n_queries": len(groups), "n_gallery": IMAGES}
    lines = []
    for name, column in hits.items():
        interval = {"ci_low": ends[name].low, "ci_high": ends[name].high}
        shared = {**cell, **counts, **interval, "tie_rate": float((ranks.tied > 0).mean())}
        lines.append(records.line(name, float(column.mean()), **shared))
    return lines
