"""The progress of all work of a command in one line: benchmarks, items, the time left, and items per second.

with work_line(reporter, work, refs, settings) as line:
    line.begin(item, ref)             the next benchmark by the next model
    line.plan(encoder, loaded)        what it has to encode, when its data is there
    evaluate(..., reporter=line)      counts what is encoded

What lies ahead is known from the rows of the benchmarks, so nothing is loaded before its turn. A row
says how many items there are and not how many are stored: such a total is called "about". Of tasks of
mteb and of data of one's own nothing is known before their turn: then it is "more than".
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

from evals.config.catalog import Benchmark
from evals.config.choice import Work
from evals.config.models import ModelRef
from evals.evaluation.encoding_plan import planned_sides
from evals.evaluation.forecast import (
    MeasuredSubset,
    duration,
    manifests_of,
    measured_before,
    recorded_rates,
)
from evals.evaluation.load import Loaded
from evals.evaluation.pace import Pace
from evals.progress import LineReporter, Progress, Reporter, Show
from evals.schema import EvalError
from evals.settings import Settings

if TYPE_CHECKING:
    from evals.schema import Encoder

# The items of each kind by the names of benchmark and model, where a plan says them beforehand.
Planned = Mapping[tuple[str, str], Counter[str]]
Word = Literal["", "about", "more than"]  # from the most to the least that is known
WORDS: tuple[Word, ...] = ("", "about", "more than")


class WorkReporter:
    """A reporter for all work that passes everything on, for callers that have no line."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def info(self, message: str) -> None:
        """As the caller's."""
        self._reporter.info(message)

    def error(self, message: str) -> None:
        """As the caller's."""
        self._reporter.error(message)

    def progress(self, title: str) -> AbstractContextManager[Progress]:
        """As the caller's."""
        return self._reporter.progress(title)

    def begin(self, item: Work, ref: ModelRef) -> None:
        """The next benchmark by the next model, in the order in which they were given."""

    def plan(self, encoder: "Encoder", loaded: Loaded | None) -> None:
        """What it has to encode; None is a task of mteb, which loads its data itself."""


class Ahead(NamedTuple):
    """What one benchmark by one model still has to encode, by kind, and how well that is known."""

    items: Counter[str]
    word: Word


class WorkLine(WorkReporter):
    """The same with a line, shown whenever something was encoded.

    The time left is that of encoding alone: `more than` where the rate of a kind or another model
    is not known.
    """

    def __init__(
        self,
        reporter: Reporter,
        show: Show,
        work: Sequence[Work],
        refs: Sequence[ModelRef],
        settings: Settings,
        planned: Planned | None = None,
    ) -> None:
        super().__init__(reporter)
        self._show, self._settings, self._work = show, settings, work
        self._is_planned = planned is not None
        if planned is None:
            self._ahead = [_declared(item, settings) for _ in refs for item in work]
        else:
            names = [(item.name, ref.name) for ref in refs for item in work]
            self._ahead = [Ahead(Counter(planned.get(name)), "") for name in names]
        self._noun = "benchmark" if len(refs) == 1 else "evaluation"
        self._place = -1
        self._name = ""
        self._kind: str | None = None
        self._encoded = 0
        self._pace, self._is_known = Pace({}), False  # of the model, and whether records were asked

    def begin(self, item: Work, ref: ModelRef) -> None:
        """Whatever is left of the one before, nobody will encode it."""
        if self._place >= 0:
            self._ahead[self._place] = Ahead(Counter(), "")
        self._place += 1
        if self._place % len(self._work) == 0:
            # How fast this model is, the one before does not tell.
            self._pace, self._is_known = Pace({}), False
        self._name = f"{item.name} by {ref.name}"
        self._kind = None
        self._tell()

    def plan(self, encoder: "Encoder", loaded: Loaded | None) -> None:
        """Raises what the store raises."""
        from evals.embeddings.store import Store

        if not self._is_known:
            self._is_known = True
            self._learn(encoder)
        if loaded is None or self._is_planned:
            return
        missing: Counter[str] = Counter()
        for side in planned_sides(loaded, encoder, Store(self._settings.store), {}):
            missing[side.kind] += side.missing
        self._ahead[self._place] = Ahead(missing, "")
        self._tell()

    @contextmanager
    def encoding(self, kind: str | None) -> Iterator[Progress]:
        """Counts what is stored while the context is open."""
        counted = 0
        self._pace.start()

        def report(done: int, total: int) -> None:
            nonlocal counted
            # What is read back damaged is encoded once more, and begins at 0 again.
            step, counted = max(0, done - counted), done
            for name, items in self._by_kind(kind, step).items():
                self._kind = name
                self._pace.count(name, items)
                self._left[name] -= items
                self._encoded += items
            if kind is not None:
                self._kind = kind
                # Tasks of mteb say only now what there is to encode.
                self._left[kind] = max(self._left[kind], total - done)
            self._tell()

        yield report

    @property
    def _left(self) -> Counter[str]:
        return self._ahead[self._place].items

    def _by_kind(self, kind: str | None, items: int) -> dict[str, int]:
        """Items of no named kind are those that come first: workers are dealt side after side."""
        if kind is not None or not items:
            return {kind: items} if kind is not None and items else {}
        by_kind = {}
        for name, left in self._left.items():
            taken = min(items, left)
            if taken:
                by_kind[name] = taken
            items -= taken
        return by_kind

    def _learn(self, encoder: "Encoder") -> None:
        """What records tell of a model: how fast it is here, and which benchmarks are stored."""
        try:
            manifests = manifests_of(self._settings.records, encoder.name)
        except EvalError:
            # Who needs the broken record refuses it; a line about progress is no reason to end.
            return
        self._pace = Pace(recorded_rates(manifests, encoder))
        if self._is_planned:
            return
        measured = measured_before(manifests, encoder, self._settings)
        first = self._place // len(self._work) * len(self._work)
        for place, item in enumerate(self._work, first):
            if place <= self._place or not isinstance(item, Benchmark):
                continue
            subsets = self._settings.subsets or item.subsets
            if measured.issuperset(MeasuredSubset(item.name, subset) for subset in subsets):
                self._ahead[place] = Ahead(Counter(), "")

    def _tell(self) -> None:
        pieces = []
        if len(self._ahead) > 1:
            pieces.append(f"{self._noun} {self._place + 1} of {len(self._ahead)}")
        word = max((ahead.word for ahead in self._ahead[self._place :]), key=WORDS.index)
        total = self._encoded + sum(ahead.items.total() for ahead in self._ahead)
        if total:
            pieces.append(f"{self._encoded:,} of {_after(word)}{total:,} items")
        pieces += self._time_left(word)
        rate = None if self._kind is None else self._pace.rate(self._kind)
        if rate is not None:
            # A tenth matters where an item takes seconds.
            digits = 0 if rate >= 10 else 1
            pieces.append(f"{rate:,.{digits}f} {self._kind}s/s")
        self._show([*pieces, self._name])

    def _time_left(self, word: Word) -> list[str]:
        last = (self._place // len(self._work) + 1) * len(self._work)
        of_model: Counter[str] = Counter()
        for ahead in self._ahead[self._place : last]:
            of_model.update(ahead.items)
        seconds = 0.0
        # How fast the models to come are, this one does not tell.
        if any(ahead.items.total() for ahead in self._ahead[last:]):
            word = "more than"
        for kind, items in of_model.items():
            rate = self._pace.rate(kind)
            if rate is not None:
                seconds += items / rate
            elif items:
                word = "more than"
        return [f"{_after(word)}{duration(seconds)} left"] if seconds >= 0.5 else []


@contextmanager
def work_line(
    reporter: Reporter,
    work: Sequence[Work],
    refs: Sequence[ModelRef],
    settings: Settings,
    planned: Planned | None = None,
) -> Iterator[WorkReporter]:
    """A reporter for all work: with a line where the caller's shows one, and else as before.

    `planned` says what there is to encode, where a plan knows it better than the rows and the store.
    """
    if not isinstance(reporter, LineReporter):
        yield WorkReporter(reporter)
        return
    with reporter.line() as show:
        if show is None:
            yield WorkReporter(reporter)
        else:
            yield WorkLine(reporter, show, work, refs, settings, planned)


def _declared(item: Work, settings: Settings) -> Ahead:
    """What the row of a benchmark says that there is."""
    if not isinstance(item, Benchmark):
        return Ahead(Counter(), "more than")
    items: Counter[str] = Counter()
    for subset in settings.subsets or item.subsets:
        counts = item.counts(subset)
        drawn = counts.get("images") or counts.get("queries") or counts["pairs"]
        chosen = min(drawn, settings.limit or drawn)
        if "images" in counts:
            # Languages share their images.
            items["image"] = max(items["image"], chosen)
            # No texts where there are classes: how many prompts they make, their templates say.
            items["text"] += round(counts.get("texts", 0) * chosen / drawn)
        elif "pairs" in counts:
            items["text"] += 2 * chosen
        else:
            items["text"] += chosen + counts["documents"]
    return Ahead(items, "about")


def _after(word: Word) -> str:
    return f"{word} " if word else ""
