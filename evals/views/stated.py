"""A comparison of means that result files state, in lines and as JSON: who, what, and no test."""

from collections.abc import Iterator
from typing import Any

from evals.analysis.stated import Stated, alone, differences


class StatedComparison:
    """Two sides of means, of which one at least is a result file of another tool.

    NotComparableError when they do not measure the same.
    """

    def __init__(self, a: Stated, b: Stated) -> None:
        self.a, self.b = a, b
        self.rows = differences(a, b)
        self.only = {"only_in_a": alone(a, b), "only_in_b": alone(b, a)}

    @property
    def note(self) -> str:
        """What the numbers are, and what cannot be said of them."""
        files = [side for side in (self.a, self.b) if side.path.is_file()]
        sources = ", ".join(dict.fromkeys(side.source for side in files))
        what = f"read from files of {sources}, means only: no interval, no paired test"
        if len(files) < 2:
            what += "; the record's mean stands beside the file's, and was measured here"
        return f"{what}. A file names its data and has no hash of it."

    def lines(self) -> Iterator[str]:
        """What is printed: the models, the means, what only one side has, and the note."""
        for letter, side in (("A", self.a), ("B", self.b)):
            yield f"{letter}: {side.model or 'no model is named'} ({side.source}, {side.path})"
        for row in self.rows:
            yield f"{row.name}: A {row.a:.5f}, B {row.b:.5f}, B - A {row.difference:+.5f}"
        for place, names in self.only.items():
            if names:
                yield f"{place.replace('_', ' ')}, not compared: {', '.join(names)}"
        yield self.note

    def as_json(self, a: str, b: str) -> dict[str, Any]:
        """The same for machines; `a` and `b` are the operands as they were written."""
        models = {"model_a": self.a.model, "model_b": self.b.model}
        means = [row._asdict() | {"p": None} for row in self.rows]
        operands = {"schema_version": 1, "a": a, "b": b}
        return {**operands, **models, "note": self.note, "means": means, **self.only}
