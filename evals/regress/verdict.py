"""What the gate says: every metric's change with its verdict, every reason why there is no verdict, and one exit code."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from evals.schema import EvalError, NotComparableError
from evals.stats.bootstrap import Difference

Judgement = Literal["regressed", "suspicious", "passed", "improved", "unchanged", "untested"]
ORDER: tuple[Judgement, ...] = (
    "regressed",
    "suspicious",
    "improved",
    "passed",
    "untested",
    "unchanged",
)
Kind = Literal["missing", "invalid", "not comparable"]
Outcome = Literal["passed", "regressed", "deviates", "invalid", "not comparable"]
EXIT_CODES: dict[Outcome, int] = {
    "passed": 0,
    "regressed": 1,
    "deviates": 1,
    "invalid": 3,
    "not comparable": 4,
}
MEAN = "mean"  # stands as subset for the plain mean over all subsets


class Change(NamedTuple):
    """One metric before and after, as fractions (ranks from 1). `difference` is new - old, with what the bootstrap says of it.

    `p` is one-sided, for a drop; `p_holm` adjusts it over the primary metrics where the gate asks for that. `judgement` is
    "untested" for what is no mean over queries and not primary.
    """

    benchmark: str
    model: str
    subset: str
    direction: str
    dim: int
    precision: str
    metric: str
    primary: bool
    old: float
    new: float
    difference: Difference
    p: float | None
    p_holm: float | None
    judgement: Judgement

    @property
    def where(self) -> str:
        """`en t2i, dim 256`."""
        cell = " ".join(part for part in (self.subset, self.direction) if part)
        return f"{cell}, dim {self.dim}" + (
            f" {self.precision}" if self.precision != "float32" else ""
        )


class Problem(NamedTuple):
    """Why a benchmark by a model, or a part of it, has no verdict: never a pass."""

    kind: Kind
    benchmark: str
    model: str
    message: str


class PublishedCell(NamedTuple):
    """A measured cell of a published table, in per cent: exact, reproduced within the table's tolerance, or it deviates."""

    table: str
    where: str
    published: float
    measured: float
    difference: float
    verdict: str


class Compared(NamedTuple):
    """A baseline record, the run held against it (None: there is none), and what is no longer the same around them."""

    benchmark: str
    model: str
    gate: str
    baseline: str
    run: str | None
    environment: list[tuple[str, str, str]]  # what, before, after


@dataclass(frozen=True)
class Verdict:
    """All that was compared. An incomplete result outranks an incomparable one, and that a regression."""

    baseline: str
    compared: list[Compared] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    published: list[PublishedCell] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        """In one word."""
        kinds = {problem.kind for problem in self.problems}
        if kinds & {"missing", "invalid"}:
            return "invalid"
        if kinds:
            return "not comparable"
        if any(change.judgement == "regressed" for change in self.changes):
            return "regressed"
        return "deviates" if self.deviating else "passed"

    @property
    def exit_code(self) -> int:
        """0 passed, 1 regressed or deviates, 3 invalid, 4 not comparable."""
        return EXIT_CODES[self.outcome]

    @property
    def deviating(self) -> list[PublishedCell]:
        """The cells that are not what was published."""
        return [cell for cell in self.published if cell.verdict == "deviates"]

    def count(self, judgement: Judgement) -> int:
        """How many metrics were judged so."""
        return sum(change.judgement == judgement for change in self.changes)

    def worst_first(self) -> list[Change]:
        """What a person reads: all that moved enough to be judged, and every primary metric that moved at all or is the mean of
        a benchmark's subsets (or its only one); worst judgement first, then the largest drop."""
        averaged = {(c.benchmark, c.model) for c in self.changes if c.subset == MEAN}

        def shown(c: Change) -> bool:
            if c.judgement == "unchanged":
                return c.primary and (c.subset == MEAN or (c.benchmark, c.model) not in averaged)
            return c.primary or c.judgement in ("regressed", "suspicious", "improved")

        return sorted(
            filter(shown, self.changes),
            key=lambda c: (ORDER.index(c.judgement), c.difference.value),
        )

    def told(self) -> str:
        """The verdict as a sentence."""
        if self.problems:
            more = f", and {len(self.problems) - 1} more" if len(self.problems) > 1 else ""
            return f"{self.outcome}: {self.problems[0].message}{more}"
        parts = [f"{n} {judgement}" for judgement in ORDER if (n := self.count(judgement))]
        told = f"{self.outcome}: {', '.join(parts)} of {len(self.changes)} metrics"
        if self.published:
            told += f"; {len(self.published) - len(self.deviating)} of {len(self.published)} published cells reproduced"
        return told


def kind_of(error: EvalError) -> Kind:
    """What an error means to the gate."""
    return "not comparable" if isinstance(error, NotComparableError) else "invalid"
