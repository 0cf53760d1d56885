"""What was measured of a training run so far: a file of JSON lines, one per checkpoint, in their order.

The place of a line is what the test spends alpha by, so a run that is watched again goes on where it
stopped, and no checkpoint is tested twice.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.files import write_atomically
from evals.reading import read_jsonl
from evals.schema import ConfigError, InvalidError
from evals.watch.judging import Judged, Rule

# Of a journal that evals.callbacks writes, whose steps are objects and not files.
IN_TRAINING = ".in-training"


class _JudgedLine(BaseModel):
    """A `Judged` as it is written."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    metric: str
    value: float
    change: float
    low: float | None
    high: float | None
    p: float
    alpha: float
    seen: float | None
    fell: bool


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    schema_version: Literal[1]
    step: int
    checkpoint: str
    record: str
    baseline: str
    rule: tuple[list[str], float, int | None, float]
    judged: list[_JudgedLine]


class Step(NamedTuple):
    """A checkpoint that was measured: its record, and what was judged; nothing of a first baseline."""

    step: int
    checkpoint: str
    record: str
    baseline: str
    judged: list[Judged]

    @property
    def fell(self) -> bool:
        """Whether a tested metric dropped, for sure and by more than the floor."""
        return any(entry.fell for entry in self.judged)


class Journal(NamedTuple):
    """All that a journal says: the rule that its steps were judged by, and the steps in their order."""

    rule: Rule
    steps: list[Step]


def journal_folder(records: Path) -> Path:
    """The folder of the journals of training runs whose records lie below `records`."""
    return records.parent / "watch"


def read_journal(path: Path, rule: Rule) -> list[Step]:
    """The steps of a journal; none where there is no file yet.

    InvalidError for a line that is none, ConfigError for one that was judged by another rule: alpha
    that was spent by one rule is not there to be spent by another.
    """
    if not path.exists():
        return []
    steps = []
    for line, where in _lines(path):
        # Another alpha halfway would make the rate of false alarms neither the old nor the new one.
        if line.rule != _rule(rule):
            raise ConfigError(
                f"{where}: was judged by other metrics, --alpha, --checkpoints or --floor. "
                "Use the same, or another --name for a new journal."
            )
        steps.append(_step(line))
    return steps


def read_whole_journal(path: Path) -> Journal:
    """The steps of a journal with their rule, for who only shows them.

    InvalidError for a file without a step, a line that is none, a step that is not after the one
    before it, and for lines of two rules: each names the line and what to do.
    """
    steps: list[Step] = []
    rule = None
    for line, where in _lines(path):
        rule = line.rule if rule is None else rule
        if line.rule != rule:
            raise InvalidError(
                f"{where}: was judged by another rule than the lines before it. A journal has one "
                "rule: move the file away, and watch the run again."
            )
        if steps and line.step <= steps[-1].step:
            raise InvalidError(
                f"{where}: step {line.step} comes after step {steps[-1].step}. Steps increase: put "
                "back the journal as it was written, or move it away."
            )
        steps.append(_step(line))
    if rule is None:
        raise InvalidError(f"{path}: holds no step. Remove the file.")
    metrics, alpha, checkpoints, floor = rule
    return Journal(Rule(tuple(metrics), alpha, checkpoints, floor), steps)


class _Placed(NamedTuple):
    line: _Line
    where: str


def _lines(path: Path) -> Iterator[_Placed]:
    for entry in read_jsonl(path):
        # The validator's own JSON mode: a tuple is a list there.
        try:
            line = _Line.model_validate_json(json.dumps(entry.value))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InvalidError(
                f"{entry.where}: {place}: {first['msg']}. Put back the journal as it was written, "
                "or move it away and watch the run again."
            ) from None
        yield _Placed(line, entry.where)


def _step(line: _Line) -> Step:
    judged = [Judged(**entry.model_dump()) for entry in line.judged]
    return Step(line.step, line.checkpoint, line.record, line.baseline, judged)


def write_journal(path: Path, steps: list[Step], rule: Rule) -> None:
    """The journal as a whole, so that no reader ever meets half a line."""
    lines = []
    for step in steps:
        judged = [entry._asdict() for entry in step.judged]
        entry = {"schema_version": 1, **step._asdict(), "rule": _rule(rule), "judged": judged}
        lines.append(json.dumps(entry, allow_nan=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())


def _rule(rule: Rule) -> tuple[list[str], float, int | None, float]:
    return [*rule.metrics], rule.alpha, rule.checkpoints, rule.floor
