"""What a tracker is given of a record: one entry per dimension and precision, each a run of the tracker."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evals.evaluation.points import points_of
from evals.records.means import MEAN, has_mean
from evals.records.record import MetricLine, Run
from evals.schema import ConfigError

Parameter = str | int | bool


class Entry(NamedTuple):
    """A record at one dimension and precision, as a run of a tracker.

    `metrics` are the numbers of the record, unrounded: `en/t2i/R@1` with `en/t2i/R@1_low` and
    `en/t2i/R@1_high`, the ends of its 95% interval where it has one. `group` is the record's
    folder name, and the same for all entries of a record. The first of them has `record`, the
    folder to keep as an artifact, and `figures`, paths of PNGs.
    """

    name: str
    group: str
    parameters: dict[str, Parameter]
    metrics: dict[str, float]
    figures: tuple[Path, ...] = ()
    record: Path | None = None


class _Variant(NamedTuple):
    dim: int
    precision: str


def entries_of(run: Run, figures: Sequence[Path] = ()) -> list[Entry]:
    """The entries of a record, widest first and float32 before other precisions.

    Figures are those that lie in the record, and `figures` from elsewhere.
    """
    lines_by_variant: dict[_Variant, list[MetricLine]] = {}
    for line in run.metrics:
        lines_by_variant.setdefault(_Variant(line.dim, line.precision), []).append(line)
    variants = sorted(lines_by_variant, key=lambda v: (-v.dim, v.precision != "float32"))
    means = _means(run)
    shared = _parameters(run)
    entries = []
    for variant in variants:
        metrics: dict[str, float] = {}
        for line in lines_by_variant[variant]:
            metrics |= _with_interval(_key(line.subset, line.direction, line.name), line)
        parameters = shared | {"dimension": variant.dim, "precision": variant.precision}
        name = f"{run.manifest.place.parent.as_posix().replace('/', '-')}-{variant.dim}"
        entries.append(
            Entry(
                name=f"{name}-{variant.precision}",
                group=run.manifest.place.name,
                parameters=parameters,
                metrics=metrics | means.get(variant, {}),
            )
        )
    # once: the files of a sweep are the same for each of its dozens of entries
    pictures = dict.fromkeys([*sorted(run.path.glob("*.png")), *figures])
    return [entries[0]._replace(figures=tuple(pictures), record=run.path), *entries[1:]]


def _parameters(run: Run) -> dict[str, Parameter]:
    manifest, model = run.manifest, run.manifest.model_identity
    task, source = manifest.mteb, manifest.source
    parameters: dict[str, Parameter | None] = {
        "benchmark": manifest.benchmark,
        "model": model.name,
        "weights": model.weights,
        "model_place": model.place,
        "full_width": model.width,
        "commit": source.commit if source else None,
        "changed_since_commit": source.dirty if source else None,
        "partial": manifest.partial is not None,
        "main_metric": run.main_metric,
        "written": manifest.written,
        "record": manifest.place.as_posix(),
        # mteb hashes no content: its revision says which data it was
        "dataset": task.dataset if task else None,
        "dataset_revision": task.revision if task else None,
    }
    for subset, content in manifest.data_identity.contents.items():
        parameters[f"data/{subset}"] = content
    return {name: value for name, value in parameters.items() if value is not None}


def _means(run: Run) -> dict[_Variant, dict[str, float]]:
    """The plain means over several subsets, of the metrics that a sweep shows."""
    if len({line.subset for line in run.metrics}) < 2:
        return {}
    try:
        points = points_of(run)
    # a record without such a metric has no mean to show; all that it has is logged
    except ConfigError:
        return {}
    means: dict[_Variant, dict[str, float]] = {}
    for point in points:
        if has_mean(point.metric):
            key = _key(MEAN, point.direction, point.metric)
            variant = _Variant(point.dim, point.precision)
            means.setdefault(variant, {}).update(_with_interval(key, point))
    return means


def _key(subset: str, direction: str, metric: str) -> str:
    # trackers put what shares the part before the first slash into one section
    return "/".join(part for part in (subset, direction, metric) if part)


def _with_interval(key: str, number: Any) -> dict[str, float]:
    """The value of a metric line or a point, and the ends of its interval when it has both."""
    if number.ci_low is None or number.ci_high is None:
        return {key: number.value}
    return {key: number.value, f"{key}_low": number.ci_low, f"{key}_high": number.ci_high}
