"""What was measured of a training run so far: a file of JSON lines, one per checkpoint, in their order.

The place of a line is what the test spends alpha by, so a run that is watched again goes on where it
stopped, and no checkpoint is tested twice.
"""

import json
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.files import write_atomically
from evals.reading import read_jsonl
from evals.schema import ConfigError, InvalidError
from evals.watch.judging import Judged, Rule


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


def read_journal(path: Path, rule: Rule) -> list[Step]:
    """The steps of a journal; none where there is no file yet.

    InvalidError for a line that is none, ConfigError for one that was judged by another rule: alpha
    that was spent by one rule is not there to be spent by another.
    """
    if not path.exists():
        return []
    steps = []
    for entry in read_jsonl(path):
        # The validator's own JSON mode: a tuple is a list there.
        try:
            line = _Line.model_validate_json(json.dumps(entry.value))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InvalidError(f"{entry.where}: {place}: {first['msg']}.") from None
        # Another alpha halfway would make the rate of false alarms neither the old nor the new one.
        if line.rule != _rule(rule):
            raise ConfigError(
                f"{entry.where}: was judged by other metrics, --alpha, --checkpoints or --floor. "
                "Use the same, or another --name for a new journal."
            )
        judged = [Judged(**entry.model_dump()) for entry in line.judged]
        steps.append(Step(line.step, line.checkpoint, line.record, line.baseline, judged))
    return steps


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
