"""Records made of published numbers, one for each benchmark and model, to prove selectors with."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from unittest.mock import patch

from evals.config.models import ModelRow, models
from evals.records.record import MetricLine
from evals.report.names import ALL, MAIN, Meaning, Place, selector
from evals.report.published_csv import published, slug
from evals.report.tables import table
from tests import records

Values = dict[tuple[str, str], dict[Place, float]]  # (benchmark, model): where and what

WIDTHS = {"jina-clip-v1": 768}  # of those that are published at another than 1,024


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
    """A record that holds a line for each place; `how` replaces fields of every line.

    A model of configs/models.yaml has the repository and commit, or the spec, of its row.
    """
    lines = [_line(place, value, width, how) for place, value in values.items()]
    about = {"benchmark": benchmark, "model": model, "partial": partial}
    return records.write(root, lines, **about, encoder=encoder(model, width))


def encoder(model: str, width: int, **source: str) -> dict:
    """What a manifest says of a model; its weights have the hash of its name."""
    row = catalog().get(model)
    places = {"repo": row.repo, "revision": row.revision, "spec": row.spec} if row else {}
    weights = hashlib.sha256(model.encode()).hexdigest()
    return records.encoder(model, width, weights=weights) | {"source": places | source}


def _line(place: Place, value: float, width: int, how: dict) -> MetricLine:
    cell = {
        "subset": "default" if place.subset in (None, ALL) else place.subset,
        "direction": place.direction or "",
        "dim": place.dim or width,
    }
    metric = "map_at_1000" if place.metric == MAIN else place.metric
    return records.line(metric, value, **(cell | how))


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
            write_record(root, benchmark, model, lines, width=WIDTHS.get(model, 1024))


@cache
def catalog() -> dict[str, ModelRow]:
    return models()
