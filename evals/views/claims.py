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
        "Kept, in per cent of the full width's score. rel: relative to it; pts: 100 minus the loss "
        "in points. The source does not say which is meant; either reproduces it.",
    )
    for name in ("statement", "published", "measured", "verdict"):
        table.add_column(name, overflow="fold")
    for verdict in verdicts:
        claim = verdict.claim
        bound = "> " if claim.kind == "over" else ""
        table.add_row(
            escape(claim.statement),
            f"{bound}{100 * claim.kept:g}",
            _measured(verdict),
            escape(_in_words(verdict)),
        )
    console().print(table)
    for model in dict.fromkeys(verdict.stands_in for verdict in verdicts if verdict.stands_in):
        # a number of another model must never look like the published one's
        note = f"* measured: {model}, in the place of jina-clip-v2"
        console().print(escape(note), soft_wrap=True, highlight=False)


def _measured(verdict: Verdict) -> str:
    if verdict.relative is None or verdict.points is None:
        return "–"
    from evals.views.style import in_percent

    return f"{in_percent(verdict.relative)} rel, {in_percent(verdict.points)} pts"


def _in_words(verdict: Verdict) -> str:
    n_parts = len(verdict.claim.of)
    # A mean over fewer parts than the statement's would be another statement: none is shown.
    if verdict.missing:
        return f"{verdict.verdict} ({n_parts - len(verdict.missing)} of {n_parts} parts)"
    if verdict.stands_in:
        return f"{verdict.verdict}*"
    # The statements are about one model; of another one its name is what a reader looks for.
    if verdict.verdict == "other model":
        return f"{verdict.verdict}: {verdict.model}"
    return verdict.verdict
