"""Lays out the official mteb and MIEB records of 15 models as tables, one per family of tasks.

The numbers are in configs/published/mteb/records.csv: a line per task, split and subset, a column
per model with the first digits of its commit, each cell the main score as the record has it
(`0.7352@1cbe5e8b` where it is of another commit, `@external` where mteb took it from the authors'
model card). They were taken from the public repository
github.com/embeddings-benchmark/results, where a record is results/MODEL/COMMIT/TASK.json.
"""

import csv
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple

from evals.config.rows import Row, Text, nearest, read_rows
from evals.paths import configs
from evals.report.checkpoints import model_of, pinned
from evals.report.names import MAIN, Place, Selector
from evals.report.published_csv import Published
from evals.report.tables import (
    Block,
    Cell,
    Entry,
    Line,
    Points,
    Table,
    TableRow,
    table,
    table_names,
)
from evals.schema import ConfigError

# The results repository is of August 2026. Which commit it was at was not kept; the model's is.
SOURCE = "official mteb record, github.com/embeddings-benchmark/results, 2026-08"
_KEYS = ["table", "task", "split", "subset"]
_MODEL = re.compile(r"(?P<repo>[\w.-]+/(?P<name>[\w.-]+))@(?P<commit>[0-9a-f]{8})")
_SCORE = re.compile(r"(?P<score>-?[01](?:\.\d+)?)(?:@(?P<commit>[0-9a-f]{8}|external))?")


class Family(Row):
    """A table of configs/tables/mteb.yaml."""

    name: str
    title: Text
    tolerance: Points
    reason: Text


class Score(NamedTuple):
    """The main score of a model in one subset of a task; `commit` is the model's, 8 digits or "external"."""

    model: str
    repo: str
    commit: str
    printed: str


class Measured(NamedTuple):
    """A subset of a split of a task with the scores of the models that have a record of it."""

    task: str
    split: str
    subset: str
    scores: dict[str, Score]

    @property
    def label(self) -> str:
        """`STS17 / en-en`, without what is the only one of its kind."""
        split = f" ({self.split})" if self.split not in ("test", "validation", "valid") else ""
        subset = f" / {self.subset}" if self.subset != "default" else ""
        return f"{self.task}{split}{subset}"

    @property
    def place(self) -> Place:
        """Where records of ours have it. mteb knows no directions: the split stands there."""
        benchmark = f"mteb:{self.task}/{self.split}"
        return Place(benchmark, self.split, self.subset, self.split, MAIN, None)


class Official(NamedTuple):
    """All official records: the models in the order of the columns, the lines by table."""

    models: tuple[str, ...]
    tables: dict[str, list[Measured]]


def official_names() -> list[str]:
    """The names of the tables of official records, in the order of the report."""
    return list(_families())


def find_table(name: str) -> Table:
    """A table by name, of papers and cards or of official records. ConfigError for an unknown name."""
    families = _families()
    if name in families:
        return _table(families[name], official_records())
    if name not in table_names():
        names = [*table_names(), *families]
        near = nearest(name, dict.fromkeys(names))
        raise ConfigError(f"No table {name!r}.{near} The tables are: {', '.join(names)}.")
    return table(name)


@cache
def official_records(path: Path | None = None) -> Official:
    """All official main scores, in the order of the file.

    ConfigError names file, line and column of what is not as the file's description says.
    """
    path = path or configs() / "published" / "mteb" / "records.csv"
    tables: dict[str, list[Measured]] = {name: [] for name in _families()}
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        models = _models(next(reader, []), path)
        for fields in reader:
            where = f"{path}, line {reader.line_num}"
            if len(fields) != len(_KEYS) + len(models):
                raise ConfigError(f"{where}: {len(fields)} fields, not {len(_KEYS) + len(models)}.")
            name, task, split, subset = fields[: len(_KEYS)]
            if name not in tables:
                raise ConfigError(f"{where}, table: configs/tables/mteb.yaml has no row {name!r}.")
            scores = _scores(fields[len(_KEYS) :], models, where)
            tables[name].append(Measured(task, split, subset, scores))
    return Official(tuple(model["name"] for model in models), tables)


@cache
def _families() -> dict[str, Family]:
    return read_rows(configs() / "tables" / "mteb.yaml", Family)


def _models(header: Sequence[str], path: Path) -> list[re.Match[str]]:
    columns = header[len(_KEYS) :]
    matches = [match for match in map(_MODEL.fullmatch, columns) if match]
    if list(header[: len(_KEYS)]) != _KEYS or len(matches) < len(columns) or not columns:
        keys = ",".join(_KEYS)
        raise ConfigError(f"{path}: the columns must be {keys} and ORG/MODEL@COMMIT of each model.")
    return matches


def _scores(fields: Sequence[str], models: Sequence[re.Match[str]], where: str) -> dict[str, Score]:
    scores = {}
    for model, field in zip(models, fields, strict=True):
        if not field:
            continue
        match = _SCORE.fullmatch(field)
        if match is None:
            raise ConfigError(f"{where}, {model[0]}: {field!r} is no score such as 0.7352.")
        commit = match["commit"] or model["commit"]
        scores[model["name"]] = Score(model["name"], model["repo"], commit, match["score"])
    return scores


def _table(family: Family, official: Official) -> Table:
    lines = official.tables[family.name]
    models = [name for name in official.models if any(name in line.scores for line in lines)]
    row = TableRow(
        name=family.name,
        title=family.title,
        rows_are="benchmark",
        columns_are="model",
        rows=tuple(Entry(label=line.label) for line in lines),
        columns=tuple(Entry(label=name) for name in models),
        tolerance=family.tolerance,
        reason=family.reason,
    )
    rows = (Line(line.label, (), _cells(family, line, models)) for line in lines)
    return Table(row, (Block(None, (), tuple(rows)),))


def _cells(family: Family, line: Measured, models: Sequence[str]) -> tuple[Cell | None, ...]:
    cells: list[Cell | None] = []
    for name in models:
        score = line.scores.get(name)
        cells.append(_cell(family, line, score) if score else None)
    return tuple(cells)


def _cell(family: Family, line: Measured, score: Score) -> Cell:
    model = model_of(score.model)
    selector = Selector(((line.place,),), "", model.not_run)
    printed = _published(family, line, score)
    return Cell(printed, selector, pinned(model), None, family.tolerance)


def _published(family: Family, line: Measured, score: Score) -> Published:
    return Published(
        model=score.model,
        table=family.name,
        benchmark=f"mteb:{line.task}/{line.split}",
        direction="",
        metric=MAIN,
        language=line.subset,
        dim="native",
        # Decimal: a float would print 73.52000000000001.
        score=format((Decimal(score.printed) * 100).normalize(), "f"),
        printed=score.printed,
        printed_label=line.label,
        # mteb's own runs and those that authors sent in stand there side by side
        grade="D",
        source=SOURCE,
        note=f"{score.repo} at {score.commit}",
    )
