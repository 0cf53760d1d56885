"""A parity certificate in the terminal and as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.parity.certificate import Certificate
from evals.parity.probe import Runner, parts_of
from evals.views.style import in_percent, in_points

GROUP_HEAD = ("items", "number", "least cosine", "0.1%", "median", "norm A", "norm B")
METRIC_HEAD = ("metric", "A", "B", "B - A [95%]", "ranks changed")
# Causes by name that rows show as a fact, of which no share was tried.
SEEN_IN_ROWS = frozenset(
    ("not_normalised", "cut", "order", "zeros", "constant", "padding", "mixed", "unrepeatable")
)
SAME = "SAME: all is within the tolerances, and nothing but rounding was found to differ."


def verdict_line(certificate: Certificate) -> str:
    """The verdict in a sentence."""
    if certificate.verdict == "same":
        return SAME
    number = len(certificate.reasons)
    return f"DIFFERS, for {number} {'reason' if number == 1 else 'reasons'}:"


def group_rows(certificate: Certificate) -> list[list[str]]:
    """The cells of GROUP_HEAD."""
    rows = []
    for group in certificate.groups:
        # Set in, so that the parts of texts and of images stand below their kind.
        name = f"{group.kind}s" if group.by == "all" else f"  {group.by}: {group.group}"
        cosines = (group.cosine_min, group.cosine_tail, group.cosine_median)
        norms = (group.norm_a, group.norm_b)
        cells = [name, f"{group.n:,}", *(f"{value:.6f}" for value in cosines)]
        rows.append([*cells, *(f"{value:.4f}" for value in norms)])
    return rows


def metric_rows(certificate: Certificate) -> list[list[str]]:
    """The cells of METRIC_HEAD."""
    rows = []
    for change in certificate.changes:
        interval = change.difference.interval
        ends = ""
        if interval is not None:
            low, high = (in_points(end, digits=2) for end in interval)
            ends = f" [{low},{high}]"
        difference = f"{in_points(change.difference.value, digits=2)}{ends}"
        a, b = (in_percent(value, digits=2) for value in (change.a, change.b))
        rows.append([change.name, a, b, difference, f"{in_percent(change.flipped)}%"])
    return rows


def cause_lines(certificate: Certificate) -> list[str]:
    """What each cause is, of what, and how sure it is."""
    lines = []
    for cause in certificate.causes:
        if cause.tried:
            sure = f"{cause.certainty}: {100 * cause.share:.1f}% of the difference goes away"
            if cause.certainty == "reproduced" and cause.name in SEEN_IN_ROWS:
                sure = "seen in the rows"
        else:
            sure = "a guess from the pattern"
        lines.append(f"{cause.kind}s · {cause.cause} · {cause.words} ({sure})")
    return lines


def settings_apart(a: Runner, b: Runner) -> list[tuple[str, str, str]]:
    """Entries of the fingerprints and settings that differ: the name, that of A, that of B."""
    values_a = {**a.encoder.fingerprint, **a.settings}
    values_b = {**b.encoder.fingerprint, **b.settings}
    # In the order of A's fingerprint; what only B has follows.
    names = [*values_a, *(name for name in values_b if name not in values_a)]
    return [
        (name, str(values_a.get(name, "–")), str(values_b.get(name, "–")))
        for name in names
        if values_a.get(name) != values_b.get(name)
    ]


def counts(certificate: Certificate) -> str:
    """What was compared, in words."""
    total = {"text": 0, "image": 0}
    for part in parts_of(certificate.probe):
        total[part.side.kind] += len(part.side)
    words = " and ".join(f"{count:,} {kind}s" for kind, count in total.items() if count)
    # What has no benchmark has no metric, and is in the first table only.
    beside = " and made for the purpose" if certificate.probe.shaped else ""
    return f"{words}, of {certificate.probe.name}{beside}"


def print_certificate(certificate: Certificate, written: Mapping[str, Path]) -> None:
    """All of it in the terminal, the verdict last."""
    from rich.markup import escape

    from evals.views.style import console

    out = console()
    out.print(f"[bold]A[/bold] {escape(certificate.a.label)}", highlight=False)
    out.print(f"[bold]B[/bold] {escape(certificate.b.label)}", highlight=False)
    out.print(counts(certificate), style="dim", highlight=False)
    out.print()
    out.print(_table(GROUP_HEAD, group_rows(certificate)))
    if certificate.changes:
        out.print()
        out.print(_table(METRIC_HEAD, metric_rows(certificate)))
    out.print()
    for line in cause_lines(certificate):
        out.print(escape(f"cause: {line}"), soft_wrap=True, highlight=False)
    for note in certificate.notes:
        out.print(escape(f"note: {note}"), soft_wrap=True, highlight=False)
    for kind, path in written.items():
        out.print(escape(f"{kind}: {path}"), soft_wrap=True, highlight=False)
    # Last: what a terminal shows without scrolling back is the verdict and its reasons.
    style = "bold green" if certificate.verdict == "same" else "bold red"
    out.print(escape(verdict_line(certificate)), style=style, highlight=False)
    for reason in certificate.reasons:
        out.print(escape(f"  {reason}"), soft_wrap=True, highlight=False)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from rich.markup import escape

    from evals.views.table import FittingTable

    table = FittingTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def as_json(certificate: Certificate) -> dict[str, Any]:
    """The machine output; shares in [0, 1], None where there is nothing."""
    changes = []
    for change in certificate.changes:
        entry = change._asdict()
        difference = entry.pop("difference")
        entry["difference"] = difference.value
        # Flat, as in metrics.jsonl: one reader does for both.
        interval = difference.interval
        entry["ci_low"] = interval.low if interval else None
        entry["ci_high"] = interval.high if interval else None
        changes.append(entry)
    return {
        "schema_version": 1,
        "verdict": certificate.verdict,
        "reasons": list(certificate.reasons),
        "a": _runner_json(certificate.a),
        "b": _runner_json(certificate.b),
        "probe": {
            "name": certificate.probe.name,
            "partial": certificate.probe.partial,
            "sha256": certificate.content,
        },
        "tolerances": vars(certificate.limits),
        "distances": dict(certificate.distances),
        "groups": [group._asdict() for group in certificate.groups],
        "metrics": changes,
        "causes": [
            {**cause._asdict(), "certainty": cause.certainty} for cause in certificate.causes
        ],
        "notes": list(certificate.notes),
    }


def _runner_json(runner: Runner) -> dict[str, Any]:
    return {
        "label": runner.label,
        "role": runner.role,
        "settings": dict(runner.settings),
        "dim": runner.encoder.dim,
        "fingerprint": dict(runner.encoder.fingerprint),
    }
