"""A fusion run as people and programs read it: a table with what merges gain, the gap in words, or JSON."""

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from evals.analysis.fusion import Fused, Gain, findings
from evals.tasks.fusion import SWEEP
from evals.views.fusion_figures import METRIC, alpha_of
from evals.views.style import console, empty_table, percent
from evals.views.tables import as_json as runs_json

SHOWN = {
    "tt": "text alone",
    "ti": "image alone",
    "weighted@0.6": "weighted 0.6",
    "zscore@0.5": "z-scores",
    "zscore@0.6": "z-scores 0.6",
}


def print_fused(fused: Fused) -> None:
    """The single scores, the card's merges, the sweep, the gap, and the paths of the record and of what lies beside it."""
    out = console()
    out.print(_table(fused))
    out.print(_sweep(fused))
    for subset, gap in fused.gaps.items():
        means = {
            f"{pair} {kind.replace('_', '-')}": f"{values.mean():.3f}"
            for (kind, pair), values in gap.cosines.items()
        }
        cosines = ", ".join(f"{name} {mean}" for name, mean in means.items())
        out.print(
            f"{subset}: mean cosine {cosines}; centroids {gap.centroid_distance:.3f} apart.",
            highlight=False,
        )
    encoded = " and ".join(f"{n:,} {kind}s" for kind, n in fused.outcome.encoded.items())
    out.print(f"Encoded now: {encoded}; the rest came from the store.", highlight=False)
    for name, path in (("record", fused.outcome.path), *(("wrote", path) for path in fused.files)):
        out.print(f"{name}: {escape(str(path))}", soft_wrap=True, highlight=False)
    out.print()


def _table(fused: Fused) -> Table:
    outcome = fused.outcome
    part = " · partial: not the benchmark's number" if outcome.partial else ""
    sizes = [
        f"{subset} {len(subset_scores[0].query_ids):,}/{subset_scores[0].n_gallery:,}"
        for subset, subset_scores in outcome.scores.items()
    ]
    table = empty_table(
        f"{outcome.benchmark.title} · {outcome.model}{part}",
        "A caption looks for its image, whose document has the image and its first caption. Per cent, 95% intervals over "
        f"images; gain: R@1 less that of the text alone, paired. Queries/documents: {', '.join(sizes)}.",
    )
    for name in ("", "dim", "by", "R@1", "R@5", "nDCG@10", "gain"):
        table.add_column(
            name, justify="right" if name in ("dim", "nDCG@10") else "left", no_wrap=True
        )
    gains = {(g.subset, g.dim, g.direction): g for g in fused.gains if g.metric == METRIC}
    for subset, subset_scores in outcome.scores.items():
        for score in (score for score in subset_scores if score.direction in SHOWN):
            cells = [
                percent(score.values["R@1"]),
                percent(score.values["R@5"]),
                f"{100 * score.values['nDCG@10'].value:.1f}",
            ]
            table.add_row(
                subset,
                str(score.dim),
                SHOWN[score.direction],
                *cells,
                _signed(gains.get((subset, score.dim, score.direction))),
            )
    return table


def _sweep(fused: Fused) -> Table:
    table = empty_table(
        "R@1 by the weight of the text",
        "0: the image alone, 1: the text alone. The best of them was chosen on this very data: it flatters.",
    )
    for name in ("", "dim", *(f"{alpha:g}" for alpha in (0, *SWEEP, 1))):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    for subset, subset_scores in fused.outcome.scores.items():
        for dim in dict.fromkeys(score.dim for score in subset_scores):
            by_alpha = {
                alpha: score.values[METRIC].value
                for score in subset_scores
                if score.dim == dim and (alpha := alpha_of(score.direction)) is not None
            }
            table.add_row(
                subset, str(dim), *(f"{100 * by_alpha[alpha]:.1f}" for alpha in sorted(by_alpha))
            )
    return table


def _signed(gain: Gain | None) -> str:
    if gain is None:
        return ""
    value, ends = gain.change.value, gain.change.interval
    return f"{100 * value:+.1f}" + (
        f" [dim]\\[{100 * ends.low:+.1f},{100 * ends.high:+.1f}][/dim]" if ends else ""
    )


def as_json(done: Sequence[Fused]) -> dict[str, Any]:
    """The machine output: the runs as `evals.run` gives them, with the findings of each and the files it wrote."""
    runs = runs_json([fused.outcome for fused in done])["runs"]
    also = [findings(fused) | {"files": [str(path) for path in fused.files]} for fused in done]
    return {
        "schema_version": 1,
        "runs": [run | details for run, details in zip(runs, also, strict=True)],
    }
