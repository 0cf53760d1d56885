"""Watched training runs: their journals, the verdict of each step, and a sentence per run."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from evals.counts import counted
from evals.schema import InvalidError, MissingError
from evals.views.style import in_percent, in_points
from evals.watch.journal import (
    IN_TRAINING,
    Journal,
    Step,
    journal_folder,
    read_whole_journal,
)
from evals.watch.judging import Judged

FELL, NO_FALL, UNTESTED, BASELINE = "fell", "no fall seen", "untested", "baseline"
LISTED = 6  # steps that a sentence names: a run that fell early and went on may have hundreds


class TrainingRun(NamedTuple):
    """A watched training run: its name, the file of its journal, and what that says."""

    name: str
    file: Path
    journal: Journal

    @property
    def tested(self) -> list[Step]:
        """The steps on which alpha was spent."""
        return [step for step in self.journal.steps if outcome(step) in (FELL, NO_FALL)]

    @property
    def fallen(self) -> list[Step]:
        """The steps at which a metric fell."""
        return [step for step in self.journal.steps if step.fell]

    @property
    def outcome(self) -> str:
        """The verdict on the whole run: a step that fell stays a fall, whatever came after it."""
        if self.fallen:
            return FELL
        return NO_FALL if self.tested else UNTESTED

    @property
    def spent(self) -> float:
        """The part of alpha that the tests so far have used."""
        return math.fsum(entry.alpha for step in self.journal.steps for entry in step.judged)


class UnreadJournal(NamedTuple):
    """A journal that could not be read, and why."""

    path: Path
    message: str


class TrainingRuns(NamedTuple):
    """The watched runs by their names, and the journals that could not be read."""

    runs: tuple[TrainingRun, ...]
    unread: tuple[UnreadJournal, ...]


def read_training_runs(records: Path) -> TrainingRuns:
    """The journals of the training runs whose records lie below a folder.

    One that cannot be read is among the `unread`.
    """
    folder = journal_folder(records)
    runs, unread = [], []
    for file in sorted(folder.rglob("*.jsonl")):
        try:
            journal = read_whole_journal(file)
        except (InvalidError, MissingError) as error:
            unread.append(UnreadJournal(file, str(error)))
        else:
            runs.append(TrainingRun(_name(file.relative_to(folder)), file, journal))
    return TrainingRuns(tuple(runs), tuple(unread))


def _name(file: Path) -> str:
    name = file.with_suffix("").as_posix()
    # A run may be watched both ways: from its files, and from inside its loop.
    if name.endswith(IN_TRAINING):
        return f"{name.removesuffix(IN_TRAINING)} (in training)"
    return name


def outcome(step: Step) -> str:
    """What came of a step: it fell, no fall was seen, it had no alpha, or it is the baseline."""
    if not step.judged:
        return BASELINE
    outcomes = [outcome_of(entry) for entry in step.judged]
    return next(word for word in (FELL, NO_FALL, UNTESTED) if word in outcomes)


def outcome_of(entry: Judged) -> str:
    """What came of one metric of a step."""
    if entry.fell:
        return FELL
    # With --checkpoints K there is no alpha for what comes after the K-th.
    return NO_FALL if entry.alpha else UNTESTED


def headline(run: TrainingRun) -> str:
    """What a reader should know of a watched run before any number: `Step 1,000 fell: …`."""
    if run.fallen:
        return " ".join([_first_fall(run.fallen[0]), *_after_the_fall(run)])
    if not run.tested:
        return "Nothing is tested yet: there is only the baseline itself."
    text = f"No fall seen in {counted(len(run.tested), 'checkpoint')}"
    sees = _visible_drop(run)
    if sees is not None:
        drop = in_percent(sees, 2)
        text += f"; at the last, a drop of {drop} points would be called in four of five cases"
    n_untested = sum(outcome(step) == UNTESTED for step in run.journal.steps)
    if n_untested:
        text += f"; {counted(n_untested, 'checkpoint')} came when no alpha was left, untested"
    return f"{text}."


def _first_fall(step: Step) -> str:
    """The largest of the drops that were called at a step."""
    worst = min((entry for entry in step.judged if entry.fell), key=lambda entry: entry.change)
    interval = ""
    if worst.low is not None and worst.high is not None:
        low, high = in_points(worst.low, 2), in_points(worst.high, 2)
        interval = f"95% interval {low} to {high}, "
    return (
        f"Step {step.step:,} fell: {worst.metric} is {in_percent(worst.value, 2)}%, "
        f"{in_percent(-worst.change, 2)} points below the baseline "
        f"({interval}p {worst.p:.2g}; {worst.alpha:.2g} or less is called a fall)."
    )


def _after_the_fall(run: TrainingRun) -> list[str]:
    later = run.fallen[1:]
    sentences = []
    if later:
        sentences.append(f"So did {_listed(later)}.")
    last = run.journal.steps[-1]
    # A fall that was trained away is another piece of news than one that lasts.
    if outcome(last) == NO_FALL:
        sentences.append(f"At the last, step {last.step:,}, no fall was seen.")
    return sentences


def _listed(steps: Sequence[Step]) -> str:
    names = [f"{step.step:,}" for step in steps[:LISTED]]
    if len(steps) > LISTED:
        names.append(f"{len(steps) - LISTED:,} more")
    if len(names) == 1:
        return f"step {names[0]}"
    return f"steps {', '.join(names[:-1])} and {names[-1]}"


def _visible_drop(run: TrainingRun) -> float | None:
    """The drop, a share, that the last test sees in each of its metrics; None where nobody can tell."""
    last = run.tested[-1].judged
    seen = [entry.seen for entry in last if entry.seen is not None]
    # No drop up to the floor is called, however sure it is.
    if len(seen) < len(last) or max(seen) <= run.journal.rule.floor:
        return None
    return max(seen)
