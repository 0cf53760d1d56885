"""How many images a comparison needs, as people and programs read it: table, Markdown, CSV, JSON."""

import csv
from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.markup import escape

from evals.analysis.planning import Answer, Plan
from evals.counts import counted
from evals.escape import markdown_text, spreadsheet_text
from evals.stats.sample_size import Design
from evals.views.style import console, empty_table, in_percent

HEAD = (
    "benchmark",
    "direction",
    "metric",
    "r",
    "design effect",
    "points",
    "images",
    "queries",
    "power now",
)
TITLE = "How many images it takes"
TEXTS = 3  # the first columns are names, all others numbers


def legend(design: Design) -> str:
    """What the columns mean."""
    return (
        "images, queries: how many it takes to find a difference of so many points with a power of "
        f"{100 * design.power:g}% (two-sided test at {100 * design.alpha:g}%). power now: the power "
        "with the images of the benchmark. r: correlation of the two models' scores over images. "
        "design effect: how many times larger the variance is than that of independent queries; "
        "queries of one image are not independent."
    )


def notes(plans: Sequence[Plan]) -> list[str]:
    """What the benchmark shows with the images it has, and what was assumed."""
    lines = []
    # The answer to the other question: what the images there are can show.
    for plan in plans:
        if plan.obstacle:
            lines.append(plan.obstacle)
            continue
        seen = in_percent(plan.seen_now, 2)
        where = f"{plan.where}, r {plan.correlation:.2f}"
        # Both counts: the queries of an image are not independent, and images are what one collects.
        counts = f"{counted(plan.images, 'image')} ({counted(plan.queries, 'query', 'queries')})"
        lines.append(f"{where}: {counts} can show a difference of {seen} points.")
    if any(plan.assumed for plan in plans):
        lines.append(
            "r is assumed: one record does not say how a second model goes with it. Two of them "
            "(evals.plan A B) tell it."
        )
    return lines


def rows(plans: Sequence[Plan]) -> list[list[str]]:
    """The cells under HEAD: a row per plan and difference."""
    table = []
    for plan in plans:
        table += [[*_names(plan), *_numbers(plan, answer)] for answer in plan.answers]
    return table


def print_plans(plans: Sequence[Plan], design: Design) -> None:
    """The table, and what the images show that there are."""
    table = empty_table(TITLE, "")
    for place, name in enumerate(HEAD):
        table.add_column(name, justify="left" if place < TEXTS else "right", no_wrap=True)
    for row in rows(plans):
        table.add_row(*map(escape, row))
    out = console()
    out.print(table)
    out.print(legend(design), style="dim", highlight=False)
    for line in dict.fromkeys(notes(plans)):
        out.print(escape(line), soft_wrap=True, highlight=False)


def as_markdown(plans: Sequence[Plan], design: Design) -> str:
    """The table, as GitHub reads it."""
    rule = ["---"] * TEXTS + ["--:"] * (len(HEAD) - TEXTS)
    lines = [f"# {TITLE}", "", _line(HEAD), _line(rule)]
    lines += [_line([markdown_text(cell) for cell in row]) for row in rows(plans)]
    lines += ["", legend(design), ""]
    lines += [f"- {markdown_text(note)}" for note in dict.fromkeys(notes(plans))]
    return "\n".join(lines) + "\n"


def as_csv(plans: Sequence[Plan]) -> str:
    """A line per plan and difference; differences are shares in [0, 1]."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    # One flat table: whoever plots it wants what is there beside what is needed.
    writer.writerow(
        "benchmark direction metric correlation assumed design_effect variance images_now "
        "queries_now seen_now difference images queries power_now".split()
    )
    for plan in plans:
        names = [spreadsheet_text(name) for name in _names(plan)]
        of_plan = [plan.correlation, plan.assumed, plan.design_effect, plan.variance]
        now = [plan.images, plan.queries, plan.seen_now]
        for answer in plan.answers:
            writer.writerow([*names, *of_plan, *now, *answer])
    return out.getvalue()


def as_json(plans: Sequence[Plan], design: Design, records: Sequence[str]) -> dict[str, Any]:
    """The machine output: differences are shares in [0, 1]; what has no value is null."""
    entries = []
    for plan in plans:
        answers = [answer._asdict() for answer in plan.answers]
        entries.append(plan._asdict() | {"answers": answers})
    return {
        "schema_version": 1,
        "alpha": design.alpha,
        "power": design.power,
        "plans": entries,
        "records": list(records),
    }


def table_rows(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """A row per plan and difference, with all that `as_json` has of both, under the CSV's names."""
    rows_of_plans = []
    for plan in plans:
        fields = plan._asdict()
        # Rows are of answers, which identical models have none of.
        del fields["answers"], fields["identical"]
        # of the images that are there; an answer has those that are needed
        for name in ("images", "queries"):
            fields[f"{name}_now"] = fields.pop(name)
        fields["seen_now"] = fields.pop("seen_now")
        rows_of_plans += [fields | answer._asdict() for answer in plan.answers]
    return rows_of_plans


def _names(plan: Plan) -> list[str]:
    return [plan.benchmark, plan.direction, plan.metric]


def _numbers(plan: Plan, answer: Answer) -> list[str]:
    return [
        f"{plan.correlation:.2f}",
        f"{plan.design_effect:.2f}",
        f"{100 * answer.difference:g}",
        f"{answer.images:,}",
        f"{answer.queries:,}",
        f"{100 * answer.power_now:.0f}%",
    ]


def _line(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"
