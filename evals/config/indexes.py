"""Rows of configs/indexes.yaml: which nearest-neighbour indexes are measured, and how each is built and searched."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from evals.config.rows import Row, Text, nearest, read_rows
from evals.paths import configs
from evals.schema import ConfigError

CUDA = "cuda"
SearchValues = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1)]


class IndexRow(Row):
    """An index by its library; the head of indexes.yaml says what the fields mean."""

    name: str
    library: Literal["faiss", "usearch", "binary"]
    build: Text | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    search: Mapping[Text, SearchValues] = {}
    about: Text

    @field_validator("search")
    @classmethod
    def _one_parameter(cls, search: Mapping[str, tuple[int, ...]]) -> Mapping[str, tuple[int, ...]]:
        # The rows of a table are the values of one parameter: a grid would need a name for each.
        if len(search) > 1:
            raise ValueError(f"has {len(search)} parameters, and one is varied per row")
        return search

    @model_validator(mode="after")
    def _has_code_for_its_device(self) -> "IndexRow":
        if self.device == CUDA and self.library != "faiss":
            raise ValueError(f"{self.library} has no index on a card: device: cuda is faiss's")
        return self

    @property
    def parameter(self) -> str | None:
        """The name of the parameter that is varied."""
        return next(iter(self.search), None)

    @property
    def values(self) -> tuple[int | None, ...]:
        """Its values; None alone where nothing is varied."""
        return next(iter(self.search.values()), (None,))


def read_indexes(file: Path | None = None) -> dict[str, IndexRow]:
    """All rows in the order of the file. ConfigError as for each file of configs/."""
    return read_rows(file or configs() / "indexes.yaml", IndexRow)


def chosen_indexes(file: Path | None, names: Sequence[str] | None) -> list[IndexRow]:
    """The rows of these names, in the order of the file, or all. ConfigError for an unknown name."""
    rows = read_indexes(file)
    for name in names or ():
        if name not in rows:
            raise ConfigError(
                f"--only {name}: no such index.{nearest(name, rows)} There is {', '.join(rows)}."
            )
    return [row for row in rows.values() if names is None or row.name in names]
