"""The loop of a watch: find new checkpoints, measure them, judge them, write them down.

A record of each checkpoint lies with all others in results/runs, as if `evals.run` had made it: the
site shows it, and `evals.compare` takes it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evals import jobs
from evals.config.choice import choose_row
from evals.config.models import resolve_model
from evals.evaluation.load import check
from evals.evaluation.outcome import Results
from evals.progress import Reporter
from evals.records.places import read_placed
from evals.schema import ConfigError, MissingError
from evals.settings import Settings
from evals.watch.checkpoints import (
    Checkpoint,
    Kinds,
    complete_checkpoints,
    find_checkpoints,
    obstacles,
)
from evals.watch.journal import Step, read_journal, write_journal
from evals.watch.judging import Rule, check_rule, judge
from evals.watch.ownership import check_name, check_same_run

FIRST = "first"


@dataclass(frozen=True)
class Watch:
    """One training run that is watched.

    `name` is what records call its checkpoints, with the step behind it; `baseline` a model, or
    `first` for the first checkpoint. `settle` is how many seconds a checkpoint must be at rest.
    """

    folder: Path
    benchmark: str
    baseline: str
    name: str
    kinds: Kinds
    rule: Rule
    settings: Settings
    journal: Path
    settle: float = 5.0


def check_watch(watch: Watch) -> None:
    """Refuse what cannot be meant before anything is loaded; ConfigError says what."""
    check_name(watch.name)
    check_rule(watch.rule)
    check([choose_row(watch.benchmark)], [], watch.settings)
    if watch.baseline != FIRST:
        resolve_model(watch.baseline)
    if not watch.folder.is_dir():
        raise ConfigError(f"{watch.folder}: no such folder. Name the one that checkpoints go to.")


def check_journal(watch: Watch) -> None:
    """Refuse the journal of another run, or of another rule. ConfigError, and InvalidError for a broken one."""
    check_same_run(
        watch.journal,
        read_journal(watch.journal, watch.rule),
        folder=watch.folder,
        benchmark=watch.benchmark,
        baseline=None if watch.baseline == FIRST else watch.baseline,
    )


def new_checkpoints(watch: Watch, steps: list[Step], failed: set[Path]) -> list[Checkpoint]:
    """Complete checkpoints that were not measured yet and are after the last one that was.

    A step behind the last one would be judged out of turn, and is left out.
    """
    # Without a step yet, also a checkpoint of step 0 is new.
    last = steps[-1].step if steps else -1
    complete = find_checkpoints(watch.folder, watch.kinds, settle=watch.settle)
    return [entry for entry in complete if entry.step > last and entry.path not in failed]


def left_out(watch: Watch, steps: list[Step], failed: set[Path]) -> dict[Path, str]:
    """What lies in the folder and was not measured, with the reason: none yet, or not in its turn.

    Not those that `failed`, whose own errors were reported.
    """
    reasons = obstacles(watch.folder, watch.kinds, settle=watch.settle)
    by_step = {step.step: Path(step.checkpoint).resolve() for step in steps}
    last = max(by_step, default=-1)
    for checkpoint in complete_checkpoints(watch.folder, watch.kinds, settle=watch.settle):
        measured = by_step.get(checkpoint.step)
        if measured is not None and measured != checkpoint.path.resolve():
            reasons[checkpoint.path] = (
                f"{measured} has step {checkpoint.step}, too. Give each checkpoint another number"
            )
        elif measured is None and checkpoint.step < last and checkpoint.path not in failed:
            reasons[checkpoint.path] = (
                f"its step {checkpoint.step} is behind {last}, which is measured already"
            )
    return reasons


def measure_new(watch: Watch, failed: set[Path], *, reporter: Reporter) -> Iterator[Step]:
    """Each new checkpoint measured, judged and written down, one by one.

    One that cannot be measured is reported, added to `failed` and not tried again; one that is
    removed before its turn comes is reported, and is no failure. Raises what
    reading the journal and comparing records raise, and the baseline's own error.
    """
    steps = read_journal(watch.journal, watch.rule)
    for checkpoint in new_checkpoints(watch, steps, failed):
        name = f"{watch.name}-{checkpoint.step}"
        try:
            results = _measure(watch, f"{name}={checkpoint.spec}", reporter)
        except MissingError:
            if checkpoint.path.exists():
                raise
            results = Results([], [])
        if not results.outcomes and not checkpoint.path.exists():
            # A trainer that keeps the last few removes the others, whoever waits for them.
            reporter.error(
                f"{checkpoint.path}: was removed before it was measured. Keep more checkpoints "
                "(save_total_limit of Trainer), or measure fewer images with --limit."
            )
            continue
        # Its files are whole and it is no model of ours: looking again would find the same.
        if results.failures:
            failed.add(checkpoint.path)
            continue
        record = results.outcomes[0].path
        step = _step(watch, checkpoint, record, steps, reporter)
        # After each one: what is killed here goes on behind it.
        steps.append(step)
        write_journal(watch.journal, steps, watch.rule)
        yield step


def _measure(watch: Watch, model: str, reporter: Reporter) -> Results:
    def full_width(width: int) -> tuple[int, ...]:
        return (width,)

    # As `evals.run` does it, so that numbers, records and stored rows are the same.
    item = choose_row(watch.benchmark)
    return jobs.evaluate_all([item], [model], full_width, watch.settings, reporter=reporter)


def _step(
    watch: Watch, checkpoint: Checkpoint, record: Path, steps: list[Step], reporter: Reporter
) -> Step:
    """The checkpoint judged against the baseline; the first one may be that itself."""
    # The record that the first step was judged against: measured again it would be another one.
    if steps:
        baseline = steps[0].baseline
    elif watch.baseline == FIRST:
        return Step(checkpoint.step, str(checkpoint.path), str(record), str(record), [])
    else:
        baseline = _baseline(watch, reporter)
    # The first checkpoint is no test where it is the baseline.
    place = 1 + sum(bool(step.judged) for step in steps)
    judged = judge(read_placed(Path(baseline)), read_placed(record), watch.rule, place)
    return Step(checkpoint.step, str(checkpoint.path), str(record), baseline, judged)


def _baseline(watch: Watch, reporter: Reporter) -> str:
    """The record of the baseline, measured now; its rows may be in the store already."""
    results = _measure(watch, watch.baseline, reporter)
    if results.failures:
        raise results.failures[0].error
    return str(results.outcomes[0].path)


def line_of(step: Step) -> str:
    """A step in one line: values, changes in points with their intervals, and the verdict."""
    if not step.judged:
        return f"step {step.step:,}: the baseline"
    parts = []
    for entry in step.judged:
        interval = ""
        if entry.low is not None and entry.high is not None:
            interval = f" [{100 * entry.low:+.2f},{100 * entry.high:+.2f}]"
        seen = f"; a drop of {100 * entry.seen:.2f} would be seen" if entry.seen else ""
        mark = " FELL" if entry.fell else ""
        parts.append(
            f"{entry.metric} {100 * entry.value:.2f} ({100 * entry.change:+.2f}{interval}, "
            f"p {entry.p:.2g}, {entry.alpha:.2g} or less is a fall{seen}){mark}"
        )
    return f"step {step.step:,}: {', '.join(parts)}"


def rounds(
    poll: float, idle: float | None, wait: Callable[[float], None]
) -> Iterator[Callable[[], None]]:
    """Endless rounds, `poll` seconds apart, until nothing has happened for `idle` seconds.

    Each round is the function to call when something happened in it.
    """
    quiet = 0.0

    def busy() -> None:
        nonlocal quiet
        quiet = 0.0

    while True:
        yield busy
        if idle is not None and quiet >= idle:
            return
        wait(poll)
        quiet += poll
