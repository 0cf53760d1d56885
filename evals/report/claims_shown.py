"""Shows checked claims: a sentence and a line per claim, as text, Markdown, CSV or JSON."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from evals.escape import markdown_text, spreadsheet_text, visible
from evals.report.claims import Checked, counts, exit_code
from evals.report.words import DASH, signed

HEADER = ("model", "benchmark", "metric", "claimed", "measured", "95% interval", "deviation")
LEGEND = (
    "Per cent, or ranks. Claimed is what the file says, measured what the newest record has; an "
    "interval is of the measured value. agrees: within the tolerance (0.3 points unless the file "
    "says otherwise) or the rounding of the claim; deviates: further off, too high included."
)


def sentence(checked: Sequence[Checked]) -> str:
    """`2 of 3 claims were measured: 1 agrees, 1 deviates.`"""
    counted = counts(checked)
    claims = f"{len(checked)} claim{'s' * (len(checked) != 1)}"
    measured = len(checked) - counted["not measured"]
    if not measured:
        return f"None of {claims} was measured."
    agree = f"{counted['agrees']} agree{'s' * (counted['agrees'] == 1)}"
    deviate = f"{counted['deviates']} deviate{'s' * (counted['deviates'] == 1)}"
    return f"{measured} of {claims} measured: {agree}, {deviate}."


def print_claims(checked: Sequence[Checked]) -> None:
    """The sentence, then the table."""
    from rich.markup import escape

    from evals.views.style import console, empty_table

    out = console()
    out.print(escape(sentence(checked)), highlight=False)
    table = empty_table("", LEGEND)
    # One column for the three names: in a narrow terminal it wraps between them.
    table.add_column("claim")
    for name in HEADER[3:]:
        table.add_column(name, justify="left" if name == "95% interval" else "right", no_wrap=True)
    table.add_column("verdict")
    for each in checked:
        model, benchmark, metric, *numbers = (visible(text) for text in _texts(each))
        cells = f"{model} {benchmark} {metric}", *numbers, each.verdict
        table.add_row(*map(escape, cells))
    out.print(table)
    for reason in dict.fromkeys(each.why for each in checked if each.why):
        lines = ", ".join(str(each.claim.line) for each in checked if each.why == reason)
        out.print(escape(f"Not measured (line {lines}): {reason}"), highlight=False, soft_wrap=True)
    for model in _models(checked):
        out.print(escape(f"Measured: {model}"), highlight=False, soft_wrap=True)


def as_markdown(checked: Sequence[Checked]) -> str:
    """The sentence and a table, any text in it as text."""
    rows = [(*HEADER, "verdict"), ("---",) * (len(HEADER) + 1)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    for each in checked:
        texts = (markdown_text(visible(text)) for text in (*_texts(each), each.verdict))
        lines.append(f"| {' | '.join(texts)} |")
    models = [markdown_text(visible(f"Measured: {model}")) for model in _models(checked)]
    parts = [markdown_text(sentence(checked)), "\n".join(lines), markdown_text(LEGEND), *models]
    return "\n\n".join(parts) + "\n"


def as_csv(checked: Sequence[Checked]) -> str:
    """A line per claim, with all that `as_json` has of it."""
    claims = [_claim(each) for each in checked]
    text = StringIO()
    writer = csv.DictWriter(text, list(claims[0]), lineterminator="\n")
    writer.writeheader()
    for fields in claims:
        fields["records"] = " ".join(fields["records"])
        writer.writerow({name: _field(value) for name, value in fields.items()})
    return text.getvalue()


def rows(checked: Sequence[Checked]) -> list[dict[str, Any]]:
    """A row per claim, as `as_json` has it."""
    return [_claim(each) for each in checked]


def as_json(checked: Sequence[Checked], file: Path) -> dict[str, Any]:
    """One object; `claimed` and `measured` are in per cent, or in ranks."""
    return {
        "schema_version": 1,
        "file": str(file),
        "sentence": sentence(checked),
        "counts": counts(checked),
        "exit_code": exit_code(checked),
        "claims": rows(checked),
    }


def _claim(each: Checked) -> dict[str, Any]:
    claim = each.claim
    models = dict.fromkeys(str(number.model) for number in each.numbers)
    return {
        "line": claim.line,
        "model": claim.model,
        "benchmark": claim.benchmark,
        "direction": claim.direction,
        "metric": claim.metric,
        "dim": claim.dim,
        "printed": claim.printed,
        "claimed": claim.value,
        "tolerance": claim.tolerance,
        "measured": each.measured,
        "ci_low": each.low,
        "ci_high": each.high,
        "deviation": each.deviation,
        "verdict": each.verdict,
        "why": each.why or None,
        "measured_model": " ".join(models) or None,
        "records": list(dict.fromkeys(str(number.record) for number in each.numbers)),
    }


def _texts(each: Checked) -> tuple[str, ...]:
    claim = each.claim
    # As printed, with its zeros, unless it was printed as a fraction.
    printed = claim.printed.removesuffix("%")
    claimed = printed if float(printed) == claim.value else f"{claim.value:.12g}"
    names = claim.model, claim.benchmark, claim.label
    if each.measured is None or each.deviation is None:
        return (*names, claimed, DASH, "", "")
    interval = ""
    if each.low is not None and each.high is not None:
        interval = f"[{each.low:.2f}, {each.high:.2f}]"
    return (*names, claimed, f"{each.measured:.2f}", interval, signed(each.deviation))


def _models(checked: Sequence[Checked]) -> list[str]:
    """Whose numbers they are: names, places and weights, each once."""
    models: dict[str, None] = {}
    for each in checked:
        models |= dict.fromkeys(str(number.model) for number in each.numbers)
    return list(models)


def _field(value: object) -> str:
    if value is None:
        return ""
    # 12 digits: 100 * 0.1535 is 15.350000000000001 in floating point.
    return f"{value:.12g}" if isinstance(value, float) else spreadsheet_text(str(value))
