"""Means that the result files of mteb and CLIP_benchmark state, and how two of them are compared.

Such a file holds no value per query: nothing can be paired, so there is no interval and no p, and
no verdict and no history takes its means. evals.analysis.stated_files reads the files.
"""

from pathlib import Path
from typing import NamedTuple

from evals.schema import NotComparableError


class Mean(NamedTuple):
    """A mean under the tool's name for it, in the tool's unit.

    `subset`, `direction` and `metric` are what our records would call it.
    """

    name: str
    subset: str
    direction: str
    metric: str
    value: float


class Stated(NamedTuple):
    """What a result file says: of which model, measured by which tool, on what.

    `measured` is what must be equal for a comparison. `model` is None where nothing names it.
    """

    path: Path
    tool: str
    version: str | None
    model: str | None
    measured: dict[str, str]
    means: tuple[Mean, ...]

    @property
    def source(self) -> str:
        """The tool with its version, as far as the file says it: `mteb 2.26.24`."""
        return f"{self.tool} {self.version}" if self.version else self.tool

    @property
    def values(self) -> dict[str, float]:
        """The means by their names."""
        return {mean.name: mean.value for mean in self.means}


class Difference(NamedTuple):
    """A mean on both sides, and B − A."""

    name: str
    a: float
    b: float
    difference: float


def is_stated(text: str) -> bool:
    """Whether an operand of a comparison is a JSON file, and no record and no model's name."""
    path = Path(text)
    return path.suffix == ".json" and path.is_file()


def differences(a: Stated, b: Stated) -> list[Difference]:
    """The means that both sides state; `alone` names the rest.

    NotComparableError for sides of other tools, data or tasks, and without a common mean.
    """
    unlike = [name for name in a.measured if a.measured[name] != b.measured.get(name)]
    if a.tool != b.tool or unlike:
        reason = f"{unlike[0]} is {a.measured[unlike[0]]!r} in A" if unlike else "the tools differ"
        if unlike:
            reason += f" and {b.measured.get(unlike[0])!r} in B"
        raise NotComparableError(
            f"{a.path} and {b.path} do not measure the same: {reason}. Name two results of one "
            "benchmark by one tool."
        )
    shared = [name for name in a.values if name in b.values]
    if not shared:
        raise NotComparableError(f"{a.path} and {b.path} state no mean of one name.")
    return [Difference(n, a.values[n], b.values[n], b.values[n] - a.values[n]) for n in shared]


def alone(a: Stated, b: Stated) -> list[str]:
    """The means that `a` states and `b` does not."""
    return [name for name in a.values if name not in b.values]
