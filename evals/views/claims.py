"""Published statements about fewer dimensions, in a table beside what was measured."""

from collections.abc import Sequence

from evals.evaluation.claims import Verdict


def print_claims(verdicts: Sequence[Verdict]) -> None:
    """A line for each statement: published, measured by both readings, verdict.

    Nothing where there are none.
    """
    if not verdicts:
        return
    from rich.markup import escape

    from evals.views.style import console, empty_table

    table = empty_table(
        "Published statements about jina-clip-v2",
        "Kept, in per cent of the full width's score. rel: relative to it; pts: 100 less the loss in points. The source does "
        "not say which is meant; either reproduces it.",
    )
    for name in ("statement", "published", "measured", "verdict"):
        table.add_column(name, overflow="fold")
    for claim, model, relative, points, missing, verdict in verdicts:
        published = f"{'> ' if claim.kind == 'over' else ''}{100 * claim.kept:g}"
        measured = (
            "–"
            if relative is None or points is None
            else f"{100 * relative:.1f} rel, {100 * points:.1f} pts"
        )
        there, n = len(claim.of) - len(missing), len(claim.of)
        tail = (
            f" ({there} of {n} parts)"
            if missing
            else f": {model}"
            if verdict == "other model"
            else ""
        )
        table.add_row(escape(claim.statement), published, measured, escape(verdict + tail))
    console().print(table)
