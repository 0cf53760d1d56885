"""What a document's image adds to its text: the gain of each merge, and the modality gap."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.config.catalog import Benchmark
from evals.evaluation.evaluate import evaluate
from evals.evaluation.load import Parts
from evals.evaluation.outcome import Outcome
from evals.progress import SILENT, Reporter
from evals.records.additions import write_into
from evals.schema import ConfigError, ImageText
from evals.settings import Settings

if TYPE_CHECKING:
    from evals.analysis.modality_gap import Gap
    from evals.schema import Encoder
    from evals.stats.paired import Difference
    from evals.tasks.scores import Scores

FINDINGS = "fusion.json"


class Gain(NamedTuple):
    """What a direction adds to a metric of the text alone, over the same queries."""

    subset: str
    dim: int
    direction: str
    metric: str
    change: "Difference"


class Fused(NamedTuple):
    """One benchmark by one model: its record, what merges gain, and the gap of each subset.

    `files` are those that were written beside the record.
    """

    outcome: Outcome
    gains: list[Gain]
    gaps: dict[str, "Gap"]
    files: list[Path]


def as_fusion(row: Benchmark) -> Benchmark:
    """The same data measured as documents with a text and an image, under a key of its own.

    ConfigError for other data.
    """
    if row.task != "image_text":
        raise ConfigError(
            f"{row.name} has classes and no captions. Name a benchmark of captioned images."
        )
    # A name of its own: these are other queries and documents than the benchmark's, and its record
    # must not be taken for the newest one of the benchmark. The folder of the data stays.
    update = {
        "name": f"{row.name}.fusion",
        "title": f"{row.title}, fusion",
        "task": "fusion",
        "folder": row.folder or row.name,
    }
    return row.model_copy(update=update)


def measure(
    row: Benchmark,
    parts: Parts,
    encoder: "Encoder",
    dims: Sequence[int],
    settings: Settings,
    *,
    reporter: Reporter = SILENT,
) -> Fused:
    """Evaluate a fusion row and say what merges gain; the gap is that of the most dimensions.

    No file beside the record yet.
    """
    from evals.analysis.modality_gap import modality_gap
    from evals.embeddings.store import Store
    from evals.tasks.fusion import roles, sides

    outcome = evaluate(row, parts, encoder, dims, settings, reporter=reporter)
    store = Store(settings.store)
    gains: list[Gain] = []
    gaps: dict[str, Gap] = {}
    for subset, data in parts.subsets.items():
        assert isinstance(data, ImageText)  # as_fusion saw to it
        # evaluate has stored all rows: nothing is encoded here
        images, texts = (store.embed(encoder, side).rows for side in sides(data))
        gaps[subset] = modality_gap(images, texts, roles(data), dim=max(dims))
        gains += _gains(subset, outcome.scores[subset])
    return Fused(outcome, gains, gaps, [])


def _gains(subset: str, scores: Sequence["Scores"]) -> Iterable[Gain]:
    """Every metric of every direction against the text alone at the same dimension.

    Changes are paired by query and clustered by image.
    """
    import numpy as np

    from evals.ranking.definition import Ranks
    from evals.ranking.metric_table import of_queries
    from evals.stats.paired import paired_bootstrap

    text_alone = {}
    for score in scores:
        if score.direction == "tt":
            text_alone[score.dim] = of_queries(Ranks(**score.columns))
    # All scores of a subset are of the same queries, and so of the same images.
    groups = np.unique(np.array(scores[0].group_ids), return_inverse=True)[1]
    for score in scores:
        if score.direction == "tt":
            continue
        merged = of_queries(Ranks(**score.columns))
        changes = paired_bootstrap(text_alone[score.dim], merged, groups)
        for metric, change in changes.items():
            yield Gain(subset, score.dim, score.direction, metric, change)


def findings(fused: Fused) -> dict[str, Any]:
    """Gains over the text alone and the modality gap of each subset, as JSON."""
    return {
        "schema_version": 1,
        "gains": [_gain_json(gain) for gain in fused.gains],
        "gap": {subset: gap.as_json() for subset, gap in fused.gaps.items()},
    }


def _gain_json(gain: Gain) -> dict[str, Any]:
    change = gain.change
    return {
        "subset": gain.subset,
        "dim": gain.dim,
        "direction": gain.direction,
        "metric": gain.metric,
        "value": change.value,
        "ci_low": change.interval.low if change.interval else None,
        "ci_high": change.interval.high if change.interval else None,
        "p": change.p,
        "wins": change.wins,
        "losses": change.losses,
    }


def write_findings(fused: Fused) -> Path:
    """Write fusion.json beside the record and return its path."""
    path = fused.outcome.path / FINDINGS
    # RFC 8259 has no NaN: where one would be written, the fault is ours and is told.
    text = json.dumps(findings(fused), allow_nan=False, ensure_ascii=False, indent=1)
    write_into(path, (text + "\n").encode())
    return path
