"""The verdict as a value: the change of each metric, what has no verdict and why, one exit code."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from evals.records.identity import ModelIdentity
from evals.records.means import MEAN
from evals.schema import EvalError, NotComparableError
from evals.stats.paired import Difference

Judgement = Literal["regressed", "suspicious", "passed", "improved", "unchanged", "untested"]
# as people read them: what asks for a decision first
ORDER: tuple[Judgement, ...] = (
    "regressed",
    "suspicious",
    "improved",
    "passed",
    "untested",
    "unchanged",
)
MOVED: tuple[Judgement, ...] = ("regressed", "suspicious", "improved")
Kind = Literal["missing", "invalid", "not comparable"]
Outcome = Literal["passed", "regressed", "deviates", "invalid", "not comparable"]
# the codes of every command: docs/ci.md
EXIT_CODES: dict[Outcome, int] = {
    "passed": 0,
    "regressed": 1,
    "deviates": 1,
    "invalid": 3,
    "not comparable": 4,
}


class Change(NamedTuple):
    """One metric before and after. Values are fractions in [0, 1], ranks count from 1.

    `difference` is new - old with what the bootstrap says of it. `p` is one-sided, for a drop.
    `p_family` is adjusted over all primary metrics of the verdict, None for others. `judgement` is
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
    p_family: float | None
    judgement: Judgement

    @property
    def where(self) -> str:
        """`en t2i, dim 256`, with the precision unless it is float32."""
        cell = " ".join(part for part in (self.subset, self.direction) if part)
        precision = "" if self.precision == "float32" else f" {self.precision}"
        return f"{cell}, dim {self.dim}{precision}"


class Problem(NamedTuple):
    """Why a benchmark by a model, or a part of it, has no verdict. It is never a pass.

    Both names are empty where nothing could be compared, such as with a broken baseline.
    """

    kind: Kind
    benchmark: str
    model: str
    message: str

    @property
    def where(self) -> str:
        """`scenes by tiny`, or what else has no verdict."""
        return f"{self.benchmark} by {self.model}" if self.benchmark else "all of it"


class PublishedCell(NamedTuple):
    """A measured cell of a published table, in per cent, and the report's verdict on it.

    `stands_in` says which model was measured where it is not the published one.
    """

    table: str
    where: str
    published: float
    measured: float
    difference: float
    verdict: str
    stands_in: str | None = None


class Moved(NamedTuple):
    """Something around two runs that is not the same, such as the version of a package."""

    what: str
    before: str
    after: str


class Compared(NamedTuple):
    """A baseline record and the run held against it; `run` is None where there is none.

    `model` is the baseline's name for the model. `baseline_model` and `run_model` say which models
    were measured, by their weights.
    """

    benchmark: str
    model: str
    gate: str
    baseline: str
    run: str | None
    environment: list[Moved]
    baseline_model: ModelIdentity
    run_model: ModelIdentity | None

    @property
    def stands_in(self) -> str | None:
        """A sentence where the run is of another model than the baseline; None where it is not."""
        run, baseline = self.run_model, self.baseline_model
        if run is None or (run.name == baseline.name and run.same_model(baseline)):
            return None
        return f"{self.benchmark}: {run} is held against {baseline}"


@dataclass(frozen=True)
class Verdict:
    """All that was compared. Incomplete outranks incomparable, and that outranks regressed."""

    baseline: str
    compared: list[Compared] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    published: list[PublishedCell] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        """The verdict in one word."""
        kinds = {problem.kind for problem in self.problems}
        # what is incomplete may hide a regression: it outranks all
        if kinds & {"missing", "invalid"}:
            return "invalid"
        if kinds:
            return "not comparable"
        if self.count("regressed"):
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

    @property
    def models(self) -> set[str]:
        """The models of the baseline, by its names."""
        return {pair.model for pair in self.compared}

    @property
    def stand_ins(self) -> list[str]:
        """One sentence per model that was measured in the place of another."""
        sentences = [pair.stands_in for pair in self.compared]
        sentences += [cell.stands_in for cell in self.published]
        return list(dict.fromkeys(sentence for sentence in sentences if sentence))

    def count(self, judgement: Judgement) -> int:
        """How many metrics were judged so."""
        return sum(change.judgement == judgement for change in self.changes)

    def worst_first(self) -> list[Change]:
        """What a person reads: all that moved enough, and the primary metrics.

        Of the unchanged primary ones only the mean over subsets is shown, where there is one.
        The worst judgement comes first, and within one judgement the largest drop.
        """
        averaged = {(c.benchmark, c.model) for c in self.changes if c.subset == MEAN}

        def shown(change: Change) -> bool:
            if change.judgement == "unchanged":
                has_mean = (change.benchmark, change.model) in averaged
                return change.primary and (change.subset == MEAN or not has_mean)
            return change.primary or change.judgement in MOVED

        def badness(change: Change) -> tuple[int, float]:
            # a drop is negative: ascending order puts the largest first
            return ORDER.index(change.judgement), change.difference.value

        return sorted(filter(shown, self.changes), key=badness)

    def listed(self) -> list[Change]:
        """The rows of `worst_first` that have something to say: all but the unchanged."""
        return [change for change in self.worst_first() if change.judgement != "unchanged"]

    def unlisted(self) -> str:
        """Where to find what `listed` leaves out; empty where nothing is unchanged."""
        if not self.count("unchanged"):
            return ""
        return "Unchanged metrics are counted but not listed; --csv FILE has them."

    def headline(self) -> str:
        """The verdict as a sentence for those who read nothing else."""
        against = f"against the baseline {self.baseline}"
        if self.problems:
            places = list(dict.fromkeys(problem.where for problem in self.problems))
            beyond = f" and {len(places) - 1} more" if len(places) > 1 else ""
            return f"No verdict {against}: {places[0]}{beyond} could not be compared."
        regressed = [change for change in self.worst_first() if change.judgement == "regressed"]
        if regressed:
            worst = regressed[0]
            return (
                f"{len(regressed)} of {len(self.changes)} metrics regressed {against}, most of all "
                f"{worst.benchmark} {worst.where}, {worst.metric}."
            )
        # The rows' own words: what is suspicious may lie below 0 for sure, and still not block.
        text = f"None of {len(self.changes)} metrics regressed {against}"
        suspicious = [change for change in self.worst_first() if change.judgement == "suspicious"]
        if suspicious:
            worst = suspicious[0]
            verb = "is" if len(suspicious) == 1 else "are"
            text += (
                f", but {len(suspicious)} {verb} suspicious, most of all {worst.benchmark} "
                f"{worst.where}, {worst.metric}"
            )
        cells = len(self.deviating)
        if cells:
            verb = "deviates" if cells == 1 else "deviate"
            text += f"; {cells} of {len(self.published)} published numbers {verb}"
        return f"{text}."

    def sentence(self) -> str:
        """The outcome and the counts behind it."""
        # no counts beside a problem: they would be of a part, and read as if they were of all
        if self.problems:
            noun = "problem" if len(self.problems) == 1 else "problems"
            return f"{self.outcome}: {len(self.problems)} {noun}, and so no verdict"
        counts = {judgement: self.count(judgement) for judgement in ORDER}
        parts = [f"{n} {judgement}" for judgement, n in counts.items() if n]
        text = f"{self.outcome}: {', '.join(parts)} of {len(self.changes)} metrics"
        if self.published:
            cells = len(self.published)
            text += f"; {cells - len(self.deviating)} of {cells} published cells reproduced"
        return text


def kind_of(error: EvalError) -> Kind:
    """What an error means to the gate."""
    return "not comparable" if isinstance(error, NotComparableError) else "invalid"
