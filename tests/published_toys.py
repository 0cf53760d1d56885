"""Records made of published numbers, one for each benchmark and model, to prove selectors with."""

from collections.abc import Iterable
from pathlib import Path
from unittest.mock import patch

from evals.records.record import MetricLine, write_run
from evals.report.names import ALL, MAIN, Meaning, Place, selector
from evals.report.published import published, slug
from evals.report.tables import table

Values = dict[tuple[str, str], dict[Place, float]]  # (benchmark, model): where and what
QUERY = {"subset": ["en"], "direction": ["t2i"], "dim": [8], "precision": ["float32"], "query_id": ["q"], "group_id": ["g"]} | {
    "better": [0], "tied": [0], "tied_relevant": [0], "score": [0.5], "ndcg10": [1.0]
}  # fmt: skip


def write_record(
    root: Path,
    benchmark: str,
    model: str,
    values: dict[Place, float],
    *,
    width: int = 1024,
    partial: dict | None = None,
    **how,
) -> Path:
    """A record that holds a line for each place; `how` replaces fields of every line."""
    lines = [_line(place, value, width, how) for place, value in values.items()]
    manifest = {
        "benchmark": benchmark,
        "model": model,
        "encoder": {"dim": width},
        "partial": partial,
    }
    return write_run(root, manifest=manifest, metrics=lines, queries=QUERY)


def _line(place: Place, value: float, width: int, how: dict) -> MetricLine:
    name, _, k = ("map_at_1000" if place.metric == MAIN else place.metric).partition("@")
    fields = {
        "subset": "default" if place.subset in (None, ALL) else place.subset, "direction": place.direction or "",
        "dim": place.dim or width, "precision": "float32", "metric": name, "k": int(k) if k else None, "value": value,
        "ci_low": None, "ci_high": None, "n_queries": 1, "n_gallery": 1, "tie_rate": 0.0,
    }  # fmt: skip
    return MetricLine(**(fields | how))


def write_singles(root: Path, tables: Iterable[str]) -> None:
    """A record of every single number of these tables, under the model's published name as a key."""
    values: Values = {}
    for name in tables:
        for _, cell in table(name).cells:
            places = [place for group in cell.selector.groups for place in group]
            if len(places) == 1 and not cell.base:
                _keep(values, places[0], cell.published.model, cell.published.value)
    _write(root, values)


def write_languages(root: Path, name: str, direction: str) -> None:
    """A record of the per-language Recall@5 of a table without a layout."""
    values: Values = {}
    for number in published()[name]:
        if (number.direction, number.metric) == (
            direction,
            "recall@5",
        ) and number.language != "avg":
            row = {"crossmodal3600": "xm3600-first", "multilingual_mscoco": "xtd"}[number.benchmark]
            place = Place(row, None, number.language, direction, "R@5", None)
            _keep(values, place, number.model, number.value)
    _write(root, values)


def of_published(benchmark: str, metric: str, **wanted):
    """The selector of a published benchmark."""
    return selector(benchmark, Meaning(metric, **wanted))


def _keep(values: Values, place: Place, model: str, value: float) -> None:
    values.setdefault((place.keys[0], slug(model)), {})[place] = value / 100


def _write(root: Path, values: Values) -> None:
    """Hundreds of records, so without waiting for the disk."""
    with patch("os.fsync"):
        for (benchmark, model), lines in values.items():
            write_record(root, benchmark, model, lines)
