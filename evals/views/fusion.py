"""A fusion run as people and programs read it: a table of what merges gain, the gap in words, JSON."""

from collections.abc import Sequence
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table

from evals.analysis.fusion import Fused, Gain, findings
from evals.tasks.fusion import SWEEP
from evals.views.fusion_figures import METRIC, by_alpha
from evals.views.style import console, empty_table, in_percent, in_points, percent
from evals.views.tables import as_json as runs_json
from evals.views.tables import print_origin

# Directions of the table, the single scores and the model card's merges; the other weights are in
# the sweep below it.
SHOWN = {
    "tt": "text alone",
    "ti": "image alone",
    "weighted@0.6": "weighted 0.6",
    "zscore@0.5": "z-scores",
    "zscore@0.6": "z-scores 0.6",
}

TASK = "A caption looks for its image, whose document has the image and its first caption."
DIRECTIONS = (
    "tt: by the text of a document alone; ti: by its image alone; weighted@W: by both scores, that of "
    "the text with the weight W; zscore@W: the same by their z-scores."
)


def print_fused(fused: Fused) -> None:
    """The single scores, the card's merges, the sweep, the gap, and the paths that were written."""
    out = console()
    out.print(_table(fused))
    out.print(_sweep(fused))
    for subset, gap in fused.gaps.items():
        means = []
        for (kind, pair), cosines in gap.cosines.items():
            means.append(f"{pair} {kind.replace('_', '-')} {cosines.mean():.3f}")
        out.print(
            f"{subset}: mean cosine {', '.join(means)}; "
            f"centroids {gap.centroid_distance:.3f} apart.",
            highlight=False,
        )
    print_origin(out, fused.outcome, fused.files)


def _table(fused: Fused) -> Table:
    outcome = fused.outcome
    part = " · partial: not the benchmark's number" if outcome.partial else ""
    sizes = []
    for subset, subset_scores in outcome.scores.items():
        # The same queries and documents in all directions, so the first one tells.
        first = subset_scores[0]
        sizes.append(f"{subset} {len(first.query_ids):,}/{first.n_gallery:,}")
    table = empty_table(
        f"{outcome.benchmark.title} · {outcome.model}{part}",
        f"{TASK} Per cent, 95% intervals over images; gain: R@1 minus that of the text alone, paired. "
        f"Queries/documents: {', '.join(sizes)}.",
    )
    for name in ("", "dim", "by", "R@1", "R@5", "nDCG@10", "gain"):
        justify: JustifyMethod = "right" if name in ("dim", "nDCG@10") else "left"
        table.add_column(name, justify=justify, no_wrap=True)
    gains = {}
    for gain in fused.gains:
        if gain.metric == METRIC:
            gains[gain.subset, gain.dim, gain.direction] = gain
    for subset, subset_scores in outcome.scores.items():
        for score in subset_scores:
            if score.direction not in SHOWN:
                continue
            table.add_row(
                subset,
                str(score.dim),
                SHOWN[score.direction],
                percent(score.values["R@1"]),
                percent(score.values["R@5"]),
                in_percent(score.values["nDCG@10"].value),
                _signed(gains.get((subset, score.dim, score.direction))),
            )
    return table


def _sweep(fused: Fused) -> Table:
    table = empty_table(
        "R@1 by the weight of the text",
        "0: the image alone, 1: the text alone. "
        "The best of them was chosen on this very data: it flatters.",
    )
    for name in ("", "dim", *(f"{alpha:g}" for alpha in (0, *SWEEP, 1))):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    for subset, subset_scores in fused.outcome.scores.items():
        for dim in dict.fromkeys(score.dim for score in subset_scores):
            swept = by_alpha(subset_scores, dim)
            cells = [in_percent(value.value) for value in swept.values()]
            table.add_row(subset, str(dim), *cells)
    return table


def _signed(gain: Gain | None) -> str:
    if gain is None:
        return ""
    value = in_points(gain.change.value)
    if gain.change.interval is None:
        return value
    low, high = (in_points(end) for end in gain.change.interval)
    # The bracket is escaped: to rich, text in brackets is markup.
    return f"{value} [dim]\\[{low},{high}][/dim]"


def table_rows(done: Sequence[Fused]) -> list[dict[str, Any]]:
    """A row per metric of every record, as `evals.run` has it."""
    rows = []
    for run in runs_json([fused.outcome for fused in done])["runs"]:
        names = {"benchmark": run["benchmark"], "model": run["model"], "record": run["path"]}
        rows += [names | line for line in run["metrics"]]
    return rows


def as_json(done: Sequence[Fused]) -> dict[str, Any]:
    """The machine output: the runs as `evals.run` gives them, with findings and files of each."""
    plain_runs = runs_json([fused.outcome for fused in done])["runs"]
    runs = []
    for run, fused in zip(plain_runs, done, strict=True):
        files = [str(path) for path in fused.files]
        runs.append(run | findings(fused) | {"files": files})
    return {"schema_version": 1, "runs": runs}
