"""Synthetic records for the tests of the site: several models, languages, dimensions and dates, and hostile names."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from evals.ranking.definition import Ranks
from evals.ranking.metrics import hit_at
from evals.records.record import MetricLine, write_run
from evals.stats.bootstrap import cluster_bootstrap

SCRIPT, PIPE, FORMULA, ARABIC, HEBREW = "<script>alert(1)</script>", "a|b", "=1+1", "نموذج", "עברית"
HOSTILE = (SCRIPT, PIPE, FORMULA, ARABIC)
IMAGES, CAPTIONS = 20, 2
QUERY_MTEB = {"subset": "string", "direction": "string", "dim": "int32", "precision": "string"} | {
    "query_id": "string",
    "group_id": "string",
    "value": "float64",
}


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
    lines, columns = (
        [],
        {name: [] for name in "subset direction dim precision query_id group_id".split()},
    )
    ranks: dict[str, list[np.ndarray]] = {name: [] for name in "better tied tied_relevant".split()}
    for n, language in enumerate(languages):
        for dim in dims:
            for precision in precisions:
                for direction in ("t2i", "i2t"):
                    found, ids, groups = _ranks(
                        direction, seed=100 * n + day, skill=skill * dim**0.5
                    )
                    cell = {
                        "subset": language,
                        "direction": direction,
                        "dim": dim,
                        "precision": precision,
                    }
                    lines += _lines(cell, found, groups)
                    for name, value in cell.items():
                        columns[name] += [value] * len(ids)
                    columns["query_id"] += ids
                    columns["group_id"] += [str(group) for group in groups]
                    for name in ranks:
                        ranks[name].append(getattr(found, name))
    queries = {**columns, **{name: np.concatenate(parts) for name, parts in ranks.items()}}
    queries |= {"score": np.zeros(len(columns["dim"])), "ndcg10": np.zeros(len(columns["dim"]))}
    return _write(
        root,
        day,
        _manifest(benchmark, model, languages)
        | {"config": {"dims": list(dims)}}
        | dict(manifest or {}),
        lines,
        queries,
    )


def write_task(root: Path, model: str, day: int, benchmark: str = "mteb:Toy") -> Path:
    """A record as of a retrieval task of mteb: a value a query."""
    values = np.random.default_rng(day).random(12)
    cell = {"subset": "default", "direction": "test", "dim": 64, "precision": "float32"}
    line = MetricLine(**cell, metric="ndcg_at_10", k=None, value=float(values.mean()), ci_low=None, ci_high=None,
                      n_queries=12, n_gallery=50, tie_rate=0.0)  # fmt: skip
    queries = {name: [value] * 12 for name, value in cell.items()} | {"value": values}
    queries |= {name: [f"q{i}" for i in range(12)] for name in ("query_id", "group_id")}
    told = {"query_metric": "ndcg_at_10", "lengths": {"texts": 62, "truncated": 3}}
    manifest = {
        "benchmark": benchmark,
        "model": model,
        "data": {"default": {"content": "0"}},
        "mteb": told,
    }
    return _write(root, day, manifest, [line], queries, columns=QUERY_MTEB)


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
    values = {k: hit_at(ranks, k) for k in (1, 5, 10)}
    ends = cluster_bootstrap({str(k): every for k, every in values.items()}, groups, resamples=200)
    tied = float((ranks.tied > 0).mean())
    return [
        MetricLine(
            **cell,
            metric="R",
            k=k,
            value=float(every.mean()),
            ci_low=ends[str(k)].low,
            ci_high=ends[str(k)].high,
            n_queries=len(groups),
            n_gallery=IMAGES,
            tie_rate=tied,
        )
        for k, every in values.items()
    ]


def _manifest(benchmark: str, model: str, languages: Sequence[str]) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "model": model,
        "command": ["python", "-m", "evals.run", benchmark, "--model", model],
        "packages": {"torch": "2.9.0"},
        "source": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "host": {"python": "3.11.7"},
        "encoder": {
            "name": model,
            "dim": 64,
            "fingerprint": {"device": "cpu", "weights": "a" * 64},
        },
        "data": {language: {"content": "0" * 64} for language in languages},
        "seconds": {"encode": 1.5, "score": 0.25},
        "zero_rows": 0,
        "skipped": [],
        "partial": None,
        "status": "complete",
    }


def _write(
    root: Path,
    day: int,
    manifest: Mapping[str, Any],
    lines: list[MetricLine],
    queries: Any,
    **more: Any,
) -> Path:
    with patch("evals.records.record.datetime") as clock:
        clock.now.return_value = datetime(2026, 1, day, 12, 30, tzinfo=UTC)
        return write_run(root, manifest=manifest, metrics=lines, queries=queries, **more)
