"""Your own rows of benchmarks and models, in files that git ignores: `configs/local/*.yaml`.

A row with the key `encoder` is a model, every other one a benchmark. A record holds the row that it
was made by, so what git does not see is not lost.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from evals.config.rows import Row, read_rows
from evals.paths import configs
from evals.schema import ConfigError

R = TypeVar("R", bound=Row)
FOLDER = "local"


def is_model(fields: Any) -> bool:
    """Whether the fields of a row are those of a model."""
    return isinstance(fields, dict) and "encoder" in fields


def with_local_rows(
    rows: Mapping[str, R], file_of: Mapping[str, Path], kind: type[R], *, models: bool
) -> dict[str, R]:
    """Rows and those of `configs/local/*.yaml`, of models or of benchmarks.

    `file_of` says where each of `rows` stands. ConfigError names both files where a name comes
    twice: a number under the name of a published benchmark would pass for that.
    """
    all_rows = dict(rows)
    files = dict(file_of)
    for file in sorted((configs() / FOLDER).glob("*.yaml")):
        for name, row in read_rows(file, kind, lambda fields: is_model(fields) == models).items():
            if name in files:
                raise ConfigError(
                    f"{file}, row {name}: {files[name]} has a row of that name. Rename yours."
                )
            all_rows[name] = row
            files[name] = file
    return all_rows
