"""A ranking of models as people and programs read it: table, Markdown, CSV, JSON."""

import csv
from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.markup import escape

from evals.analysis.standings import BenchmarkInfo, PairTest, Standing, Standings
from evals.counts import counted
from evals.escape import markdown_text, spreadsheet_text
from evals.records.entrants import Entrant
from evals.stats.all_pairs import Ranks
from evals.views.style import console, empty_table, in_percent, in_points

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LEGEND = (
    "In per cent, with 95% intervals. 95%: the ranks that a model can have, with 95% confidence "
    "for this model; at once: with 95% confidence for all models together. Models that share a "
    "letter cannot be told apart (all pairs, paired by query, the queries of an image together, "
    "step-down max-T, family-wise error below 5%)."
)

PAIRS = (
    "Differences in points, each with its 95% interval by itself; p is adjusted over all pairs. Two "
    "models are told apart at 0.046: 0.05 minus what 10,000 random flips leave uncertain."
)


def letter(group: int) -> str:
    """The sign of a group: a to z, then aa, ab …"""
    # As the columns of a spreadsheet: there is no letter for nothing.
    first, last = divmod(group, len(LETTERS))
    return (letter(first - 1) if first else "") + LETTERS[last]


def in_ranks(ranks: Ranks) -> str:
    """`2–4`, or `2` where no other is possible."""
    return str(ranks.low) if ranks.low == ranks.high else f"{ranks.low}–{ranks.high}"


def columns(result: Standings) -> list[str]:
    """The heads of the table; a column per benchmark where there are several."""
    names = [info.name for info in result.benchmarks]
    return ["rank", "95%", "at once", "", "model", "score", *(names if len(names) > 1 else [])]


def cells(result: Standings, standing: Standing) -> list[str]:
    """The cells of a model under `columns`."""
    score = in_percent(standing.score, 2)
    if standing.interval:
        low, high = (in_percent(end, 2) for end in standing.interval)
        score += f" [{low},{high}]"
    # One benchmark's score is the score: a column of its own would say it twice.
    row = [
        str(standing.rank),
        in_ranks(standing.ranks),
        in_ranks(standing.ranks_at_once),
        "".join(letter(group) for group in standing.groups),
        standing.name,
        score,
    ]
    if len(result.benchmarks) > 1:
        row += [in_percent(value, 2) for value in standing.by_benchmark.values()]
    return row


def weighting(result: Standings) -> list[str]:
    """A sentence per benchmark: what is averaged, and how much it weighs."""
    return [_in_words(info) for info in result.benchmarks]


def verdict(result: Standings) -> str:
    """The answer in a sentence: the best model, or those that may be it."""
    names = result.may_be_best
    # By all ranks at once: a sentence on several models must hold for all of them.
    best = result.standings[0].name
    if len(names) == 1:
        return f"{best} is best: with 95% confidence, no other model has rank 1."
    equal = [standing.name for standing in result.standings if standing.rank == 1]
    leaders = " and ".join(equal)
    if len(equal) == len(names):
        return f"{leaders} have the same score, and nothing tells them apart."
    rivals = ", ".join(name for name in names if name not in equal)
    verb = "has" if len(equal) == 1 else "share"
    return f"{leaders} {verb} the best score; these may be best, too: {rivals}."


def print_standings(result: Standings, entrants: Sequence[Entrant]) -> None:
    """The answer, the table, what was averaged, and the records that were read."""
    table = empty_table("Which model is best", "")
    for name in columns(result):
        table.add_column(name, no_wrap=name != "model", overflow="fold")
    for standing in result.standings:
        table.add_row(*(escape(cell) for cell in cells(result, standing)))
    out = console()
    out.print(f"[bold]{escape(verdict(result))}[/bold]", highlight=False)
    out.print()
    out.print(table)
    out.print(LEGEND, style="dim", highlight=False)
    for line in weighting(result):
        out.print(escape(line), soft_wrap=True, highlight=False)
    for entrant in entrants:
        for side in entrant.sides.values():
            note = f"{entrant.name}: {side.run.path}"
            out.print(escape(note), soft_wrap=True, highlight=False)


def as_markdown(result: Standings) -> str:
    """The table and all pairs, as GitHub reads them."""
    heads = columns(result)
    lines = ["# Which model is best", "", markdown_text(verdict(result)), ""]
    lines += [_line([markdown_text(name) for name in heads]), _line(["---"] * len(heads))]
    for standing in result.standings:
        lines.append(_line([markdown_text(cell) for cell in cells(result, standing)]))
    lines += ["", LEGEND, ""]
    lines += [f"- {markdown_text(line)}" for line in weighting(result)]
    lines += ["", f"## All pairs\n\n{PAIRS}\n"]
    lines += ["| better | worse | difference | p | |", "|---|---|--:|--:|---|"]
    for pair in result.pairs:
        lines.append(_line([markdown_text(cell) for cell in pair_cells(pair)]))
    return "\n".join(lines) + "\n"


def pair_cells(pair: PairTest) -> list[str]:
    """Two models, their difference in points, the adjusted p, and whether they are told apart."""
    difference = in_points(pair.difference, 2)
    if pair.interval:
        low, high = (in_points(end, 2) for end in pair.interval)
        difference += f" [{low},{high}]"
    # Of 10,000 sign flips more digits would be those of the seed.
    p = f"{pair.p:.3f}" if pair.p >= 0.001 else "<0.001"
    return [pair.better, pair.worse, difference, p, "apart" if pair.apart else ""]


def as_csv(result: Standings) -> str:
    """A line per model, shares as numbers in [0, 1]; names are never formulas."""
    out = StringIO()
    # Names of benchmarks come from folders, and a spreadsheet would calculate "=1".
    heads = "rank rank_low rank_high rank_low_at_once rank_high_at_once model groups".split()
    heads += ["score", "ci_low", "ci_high", *(info.name for info in result.benchmarks)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([spreadsheet_text(name) for name in heads])
    for standing in result.standings:
        low, high = standing.interval or (None, None)
        row = [standing.rank, *standing.ranks, *standing.ranks_at_once]
        names = spreadsheet_text(standing.name), "".join(map(letter, standing.groups))
        numbers = [standing.score, low, high, *standing.by_benchmark.values()]
        writer.writerow([*row, *names, *numbers])
    return out.getvalue()


def as_json(result: Standings, entrants: Sequence[Entrant]) -> dict[str, Any]:
    """The machine output: fractions in [0, 1]; what has no value is null."""
    records = {}
    for entrant in entrants:
        records[entrant.name] = {
            benchmark: str(side.run.path) for benchmark, side in entrant.sides.items()
        }
    return {
        "schema_version": 1,
        "may_be_best": result.may_be_best,
        "standings": [_standing_json(standing) for standing in result.standings],
        "groups": result.groups,
        "pairs": [_pair_json(pair) for pair in result.pairs],
        "benchmarks": [info._asdict() for info in result.benchmarks],
        "records": records,
    }


def _standing_json(standing: Standing) -> dict[str, Any]:
    low, high = standing.interval or (None, None)
    return {
        "model": standing.name,
        "rank": standing.rank,
        "rank_low": standing.ranks.low,
        "rank_high": standing.ranks.high,
        "rank_low_at_once": standing.ranks_at_once.low,
        "rank_high_at_once": standing.ranks_at_once.high,
        "groups": [letter(group) for group in standing.groups],
        "score": standing.score,
        "ci_low": low,
        "ci_high": high,
        "by_benchmark": standing.by_benchmark,
    }


def _pair_json(pair: PairTest) -> dict[str, Any]:
    low, high = pair.interval or (None, None)
    return {
        "better": pair.better,
        "worse": pair.worse,
        "difference": pair.difference,
        "ci_low": low,
        "ci_high": high,
        "p_adjusted": pair.p,
        "apart": pair.apart,
    }


def _in_words(info: BenchmarkInfo) -> str:
    measured = f"{info.name}: {info.metric}"
    # A task without directions has none to name; one is named as it is, of several the mean ranked.
    if info.directions:
        mean_over = "mean over " if len(info.directions) > 1 else ""
        measured += f", {mean_over}{', '.join(info.directions)}"
    if len(info.subsets) > 1:
        measured += f", {len(info.subsets)} subsets"
    counts = counted(info.queries, "query", "queries")
    # Both counts: the queries of an image are not independent of each other.
    if info.groups != info.queries:
        counts += f" of {counted(info.groups, 'image')}"
    return f"{measured}; weight {info.weight:.3g}; {counts}"


def _line(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"
