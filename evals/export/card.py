"""Exports records as Markdown tables for a model card: a table per benchmark, with intervals and conditions."""

from collections.abc import Sequence

from evals.escape import markdown_text
from evals.export.forms import Files
from evals.records.identity import SHOWN
from evals.records.record import MetricLine, Run

# What a card has room for; of a task of mteb, and of what has none of these, the first metric.
SHOWN_METRICS = ("R@1", "R@5", "R@10", "acc@1", "acc@5", "mAP", "nDCG@10")


def files(runs: Sequence[Run], form: str) -> Files:
    """`evaluation.md`: values in per cent with their 95% intervals, and below each table what was measured."""
    blocks = [block for run in runs for block in (_heading(run), *_table(run), _conditions(run))]
    text = "\n\n".join(["## Evaluation", *blocks]) + "\n"
    # what a name smuggles in beyond a line would leave its cell
    return {"evaluation.md": text.encode("utf-8", "replace")}


def _heading(run: Run) -> str:
    part = ", a part of it" if run.manifest.partial else ""
    return f"### {markdown_text(run.manifest.title)}: {markdown_text(run.manifest.model)}{part}"


def _table(run: Run) -> list[str]:
    cells: dict[tuple[str, str, int, str], dict[str, MetricLine]] = {}
    for line in run.metrics:
        place = (line.subset, line.direction, line.dim, line.precision)
        cells.setdefault(place, {})[line.name] = line
    names = [name for name in SHOWN_METRICS if any(name in lines for lines in cells.values())]
    if not names and run.main_metric:
        names = [run.main_metric]
    head = ["subset", "direction", "dimensions", "precision", *names]
    lines = [_row(head), _row(["---", "---", "--:", "---", *["--:"] * len(names)])]
    for place, metrics in cells.items():
        lines.append(_row([*map(str, place), *(_cell(metrics.get(name)) for name in names)]))
    return ["\n".join(lines)]


def _row(cells: Sequence[str]) -> str:
    marks = {"---", "--:"}
    return "| " + " | ".join(c if c in marks else markdown_text(c) for c in cells) + " |"


def _cell(line: MetricLine | None) -> str:
    if line is None:
        return ""
    value = f"{100 * line.value:.2f}"
    if line.ci_low is None or line.ci_high is None:
        return value
    return f"{value} ({100 * line.ci_low:.2f} to {100 * line.ci_high:.2f})"


def _conditions(run: Run) -> str:
    model = run.manifest.model_identity
    contents = run.manifest.data_identity.contents
    data = ", ".join(f"{subset} {content[:SHOWN]}" for subset, content in contents.items())
    source = run.manifest.source
    commit = source.commit[:SHOWN] if source else "an unknown commit"
    sentence = (
        f"In per cent, in brackets the 95% interval. {model}; data by content: {data}; "
        f"measured {run.manifest.written} with jina-clip-evals at {commit}."
    )
    return markdown_text(sentence)
