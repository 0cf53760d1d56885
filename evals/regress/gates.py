"""Reads configs/gates.yaml: which metrics of a benchmark can block, and from which drop on."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from evals.config.rows import Row, Text, read_rows
from evals.paths import configs
from evals.schema import ConfigError


class Gate(Row):
    """How the benchmarks whose name fits `match` are judged; the head of gates.yaml says more."""

    name: str
    match: Text
    floor: Annotated[float, Field(ge=0, lt=1)]
    primary: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
    about: Text | None = None

    @field_validator("primary")
    @classmethod
    def _more_is_better(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        # the floor is a share: a rank that rises by 0.003 means nothing
        for name in names:
            if name.endswith("_rank"):
                raise ValueError(f"{name} is better when it is lower, and a gate judges drops")
        return names


def read_gates(file: Path | None = None) -> list[Gate]:
    """All gates in the order of the file. ConfigError as for each file of configs/."""
    return list(read_rows(file or configs() / "gates.yaml", Gate).values())


def gate_of(benchmark: str, gates: list[Gate]) -> Gate:
    """The first gate that fits a benchmark's name. ConfigError when none does."""
    for gate in gates:
        if fnmatchcase(benchmark, gate.match):
            return gate
    raise ConfigError(f'No gate fits {benchmark}. Give gates.yaml a last row with match: "*".')
