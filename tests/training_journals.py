"""Journals of watched training runs for the tests of the site: records of each step, and hand-made verdicts."""

from collections.abc import Sequence
from pathlib import Path

from evals.watch.journal import Step, journal_folder, write_journal
from evals.watch.judging import Judged, Rule
from tests.site_records import write

RULE = Rule((), 0.01, 4)
SHARE = RULE.alpha / 4


def judged(change: float, **fields: object) -> Judged:
    """A metric whose baseline is 60%; it fell where it is a point or more lower."""
    about = {"metric": "t2i/R@1", "value": 0.6 + change, "change": change, "low": change - 0.004}
    about |= {"high": change + 0.004, "p": 1e-5 if change <= -0.01 else 0.5, "alpha": SHARE}
    about |= {"seen": 0.008, "fell": change <= -0.01}
    return Judged(**about | fields)


def steps_of(*changes: float, records: Sequence[Path] = (), baseline: Path | None = None):
    """Steps 500, 1,000 … with one metric each."""
    steps = []
    for number, change in enumerate(changes, 1):
        record = records[number - 1] if records else Path(f"runs/multi/birds-{500 * number}/a")
        before = baseline or Path("runs/multi/tiny/b")
        step = Step(500 * number, "checkpoint", str(record), str(before), [judged(change)])
        steps.append(step)
    return steps


def write_training(root: Path, name: str, steps: Sequence[Step], rule: Rule = RULE) -> Path:
    """The journal of a training run whose records lie below `root`."""
    file = journal_folder(root) / f"{name}.jsonl"
    write_journal(file, list(steps), rule)
    return file


def watched_example(root: Path, name: str = "birds") -> Path:
    """A run that falls at its second checkpoint, with the records of its steps and of its baseline."""
    small = {"benchmark": "trained", "languages": ("en",), "dims": (64,)}
    baseline = write(root, "tiny", 20, **small)
    records = [write(root, f"{name}-{500 * n}", 20 + n, **small) for n in (1, 2)]
    return write_training(root, name, steps_of(0.002, -0.02, records=records, baseline=baseline))
