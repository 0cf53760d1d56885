"""The first sentences of the site: what the gate, the comparisons and the published tables say, in words."""

from collections import Counter
from collections.abc import Iterator, Sequence

from evals.analysis.stated_files import Results
from evals.counts import counted
from evals.dashboard.history import History
from evals.dashboard.judged import REPRODUCED, WORST_FIRST
from evals.dashboard.parts import Row, Sentence
from evals.dashboard.watched import training_sentences

UNJUDGED = ("invalid", "missing", "not comparable")
MOST = 6  # sentences about comparisons, or training runs: one for each would fill the page
# Of published cells, from what needs looking at to what says nothing.
REPRODUCTION = ("invalid", "deviates", "reproduced", "exact")


def sentences(
    history: History,
    gates: Sequence[Row],
    reproduction: Sequence[Row],
    compared: Sequence[Sentence],
    imported: Results,
) -> list[Sentence]:
    """What a reader should know before any number, what needs action first."""
    if not history.runs and not imported.stated and not history.trainings:
        return []
    judged = [*of_gates(gates), *_of_published(reproduction), *compared[:MOST]]
    if len(compared) > MOST:
        text = f"{len(compared) - MOST} more benchmarks are compared on their own page."
        judged.append(Sentence("more", text, "compare"))
    return [
        *_of_data(history, imported),
        *_of_trainings(history),
        *judged,
        *_of_imported(imported),
    ]


def _of_data(history: History, imported: Results) -> Iterator[Sentence]:
    broken = len(history.broken) + len(imported.unread)
    if broken:
        text = f"{counted(broken, 'record or result file', 'records or result files')} could not be read."
        yield Sentence("invalid", text, "quality")
    if history.incomplete:
        text = f"{counted(len(history.incomplete), 'run was', 'runs were')} interrupted, or still writes."
        yield Sentence("incomplete", text, "quality")


def _of_trainings(history: History) -> Iterator[Sentence]:
    """The watched runs, those that fell first; the list of all is on their own page."""
    said = training_sentences(history.trainings)
    yield from said[:MOST]
    if len(said) > MOST:
        text = f"{counted(len(said) - MOST, 'more training run was', 'more training runs were')} watched."
        yield Sentence("more", text, "watched")


def of_gates(rows: Sequence[Row]) -> Iterator[Sentence]:
    """One sentence per baseline: `Against the baseline ci: 1 regressed, 93 unchanged.`"""
    baselines: dict[str, list[Row]] = {}
    for row in rows:
        baselines.setdefault(row["baseline"], []).append(row)
    for name, of_baseline in baselines.items():
        counts = Counter(row["verdict"] for row in of_baseline)
        verdicts = [verdict for verdict in WORST_FIRST if counts[verdict]]
        parts = ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in verdicts)
        text = f"Against the baseline {name}: {parts}.{_worst_drop(of_baseline)}"
        if set(verdicts) & set(UNJUDGED):
            text += " What could not be judged is no pass."
        yield Sentence(verdicts[0], text, "gates")
    if not rows:
        text = "No baseline is set, so nothing is held against an earlier state."
        yield Sentence("no baseline", text, "gates")


def _worst_drop(rows: Sequence[Row]) -> str:
    drops = [row for row in rows if row["verdict"] == "regressed"]
    if not drops:
        return ""
    worst = min(drops, key=lambda row: row["difference"])
    names = [worst[name] for name in ("model", "benchmark", "subset", "direction", "metric")]
    where = " ".join(str(name) for name in names if name)
    dim = f" at {worst['dim']} dimensions" if worst.get("dim") else ""
    return f" The largest drop is {-100 * worst['difference']:.2f} points: {where}{dim}."


def _of_published(rows: Sequence[Row]) -> Iterator[Sentence]:
    counts = Counter(row["verdict"] for row in rows)
    measured = [verdict for verdict in REPRODUCTION if counts[verdict]]
    if not measured:
        if rows:
            text = f"None of the {len(rows):,} published numbers was measured here yet."
            yield Sentence(REPRODUCED[3], text, "reproduction")
        return
    parts = ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in measured)
    n_measured = len(rows) - counts["not run"]
    text = f"{n_measured:,} of {len(rows):,} published numbers were measured here: {parts}."
    yield Sentence(measured[0], text, "reproduction")


def _of_imported(imported: Results) -> Iterator[Sentence]:
    if imported.stated:
        count = counted(len(imported.stated), "result is", "results are")
        text = f"{count} stated by files of other tools: shown beside ours, and judged by nothing."
        yield Sentence("not judged", text, "foreign")
