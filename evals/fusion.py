"""Retrieval over documents that have a text and an image: by one of them, by merged scores, and the modality gap between both.

python -m evals.fusion [BENCHMARK...] [--model PATH] [--dims 256,64] [--data DIR] [--json]
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import Options, dims_list, takes_options
from evals.config.catalog import Benchmark, ModelRef, benchmark, resolve_model
from evals.evaluation.evaluate import Outcome, evaluate
from evals.run import Models, build_encoder, check, load_parts
from evals.schema import ConfigError, ImageText

if TYPE_CHECKING:
    from evals.analysis.modality_gap import Gap
    from evals.schema import Encoder
    from evals.stats.bootstrap import Difference
    from evals.tasks.scores import Scores

EXPORT = "fusion.json"
app = new_app()


class Gain(NamedTuple):
    """What a direction adds to a metric of the text alone, over the same queries."""

    subset: str
    dim: int
    direction: str
    metric: str
    change: "Difference"


class Fused(NamedTuple):
    """One benchmark by one model: its record, what merges gain, the gap of each subset, and the files beside the record."""

    outcome: Outcome
    gains: list[Gain]
    gaps: dict[str, "Gap"]
    files: list[Path]


@app.command()
@takes_options
def fusion(
    options: dict[str, Any],
    benchmarks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BENCHMARK...", help="Rows with two captions an image; scenes unless given."
        ),
    ] = None,
    model: Models = ["tiny"],  # noqa: B006 - typer copies it
    dims: Annotated[
        str | None, typer.Option(help="Dimensions to score, e.g. 256,64; full width unless given.")
    ] = None,
) -> None:
    """Score text-text, text-image and their merges from stored embeddings, write the record, and draw what it shows."""
    with reported(json=options["json"]) as log:
        from evals.views.fusion import as_json, print_fused

        given, asked = Options(**options), dims_list(dims)
        rows = [as_fusion(benchmark(name)) for name in dict.fromkeys(benchmarks or ["scenes"])]
        refs = [resolve_model(name) for name in dict.fromkeys(model)]
        check(rows, refs, given)
        done = []
        for fused in _measured(rows, refs, asked, given, log):
            done.append(fused)
            if not log.json:
                print_fused(fused)
        if log.json:
            log.output(as_json(done))


def as_fusion(row: Benchmark) -> Benchmark:
    """The same data measured as documents with a text and an image, under a key of its own; ConfigError for other data."""
    if row.task != "image_text":
        raise ConfigError(
            f"{row.name} has classes and no captions. Name a benchmark of captioned images."
        )
    about = {
        "name": f"{row.name}.fusion",
        "title": f"{row.title}, fusion",
        "task": "fusion",
        "folder": row.folder or row.name,
    }
    return row.model_copy(update=about)


def _measured(
    rows: Sequence[Benchmark],
    refs: Sequence[ModelRef],
    dims: Sequence[int] | None,
    options: Options,
    log: Log,
) -> Iterable[Fused]:
    for ref in refs:  # one model at a time in memory
        encoder = build_encoder(ref, options)
        for row in rows:
            yield _one(row, encoder, dims or (encoder.dim,), options, log)


def _one(
    row: Benchmark, encoder: "Encoder", dims: Sequence[int], options: Options, log: Log
) -> Fused:
    from evals.analysis.modality_gap import modality_gap
    from evals.embeddings.store import Store
    from evals.tasks.fusion import roles, sides
    from evals.views.fusion_figures import plot_alpha, plot_gap

    parts = load_parts(row, options)
    outcome = evaluate(row, parts, encoder, dims, options, log)
    store, widest = Store(options.store), max(dims)
    gains = [gain for subset, scores in outcome.scores.items() for gain in _gains(subset, scores)]
    gaps, plots = {}, []
    for subset, data in parts.subsets.items():
        assert isinstance(data, ImageText)  # as_fusion saw to it
        images, texts = (
            store.embed(encoder, side).rows for side in sides(data)
        )  # evaluate has stored them all
        gaps[subset] = modality_gap(images, texts, roles(data), dim=widest)
        title = f"{row.title} · {subset} · {encoder.name} · {widest} dimensions"
        scores = [s for s in outcome.scores[subset] if s.dim == widest]
        plots.append(plot_alpha(outcome.path / f"alpha-{subset}.png", scores, title))
        plots.append(plot_gap(outcome.path / f"gap-{subset}.png", gaps[subset], title))
    fused = Fused(outcome, gains, gaps, [outcome.path / EXPORT, *plots])
    _export(fused)
    return fused


def _gains(subset: str, scores: Sequence["Scores"]) -> Iterable[Gain]:
    """Every metric of every direction against the text alone at the same dimension, paired by query, clustered by image."""
    import numpy as np

    from evals.ranking.definition import Ranks
    from evals.ranking.metrics import per_query
    from evals.stats.bootstrap import paired_bootstrap

    alone = {s.dim: per_query(Ranks(**s.columns)) for s in scores if s.direction == "tt"}
    groups = np.unique(np.array(scores[0].group_ids), return_inverse=True)[1]
    for s in (s for s in scores if s.direction != "tt"):
        changes = paired_bootstrap(alone[s.dim], per_query(Ranks(**s.columns)), groups)
        yield from (
            Gain(subset, s.dim, s.direction, name, change) for name, change in changes.items()
        )


def _export(fused: Fused) -> None:
    from evals.files import write_atomically
    from evals.views.fusion import findings

    data = json.dumps(findings(fused), allow_nan=False, ensure_ascii=False, indent=1)
    write_atomically(fused.outcome.path / EXPORT, (data + "\n").encode())


if __name__ == "__main__":
    exit_with(app)
