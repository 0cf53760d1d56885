"""What a page is made of: filters, tables and charts as plain data.

The rows of a table are what its charts draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Kind = Literal[
    "text",
    "number",
    "decimal",
    "ratio",
    "percent",
    "points",
    "probability",
    "date",
    "chip",
    "spark",
    "link",
    "page",
    "items",
]
# By field; which fields a table has is said where its rows are made.
Row = Mapping[str, Any]
FILTERS = {
    "table": "Table",
    "baseline": "Baseline",
    "benchmark": "Benchmark",
    "model": "Model",
    "source": "Source",
    "subset": "Language",
    "direction": "Direction",
    "metric": "Metric",
    "dim": "Dimension",
    "precision": "Precision",
    "device": "Device",
    "timing": "Timing",
}


class Filter(NamedTuple):
    """A choice among the values of a field."""

    key: str
    label: str
    single: bool


class Column(NamedTuple):
    """A column of a table: `percent` shows a fraction with so many `digits`, `points` a difference.

    `ratio` shows a number with so many `digits`. `probability` shows two significant digits, however
    small it is. `ends` name the fields of its interval. `spark` holds a list of fractions; `link` a
    record's folder and `page` a title, whose address is the row's `href`; `items` a list of texts
    with scores and images.
    """

    key: str
    label: str
    kind: Kind = "text"
    ends: tuple[str, str] | None = None
    digits: int = 1


@dataclass(frozen=True)
class Table:
    """A table that sorts and downloads.

    `empty` is said when it has no rows, `more` are keys for filters and charts only.
    """

    id: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    empty: str
    more: Sequence[str] = ()

    def data(self) -> dict[str, Any]:
        """What the script needs: columns, names of the fields, and rows as lists in their order.

        A link has its `href`.
        """
        # Lists rather than objects: the names of the fields stand once, and not in each of 10,000 rows.
        return {
            "id": self.id,
            "columns": [column._asdict() for column in self.columns],
            "keys": self.keys,
            "rows": [[row.get(name) for name in self.keys] for row in self.rows],
        }

    @property
    def keys(self) -> list[str]:
        """The fields of a row that the page needs."""
        keys = [column.key for column in self.columns]
        for column in self.columns:
            keys += column.ends or ()
        if any(column.kind in ("link", "page") for column in self.columns):
            keys.append("href")
        # Each once and in this order, which is that of a row's values.
        return list(dict.fromkeys([*keys, *self.more]))


class Chart(NamedTuple):
    """A Vega-Lite spec over the rows of tables, named as its data sets.

    `about` says in words what it shows.
    """

    id: str
    title: str
    about: str
    spec: Mapping[str, Any]


class Sentence(NamedTuple):
    """A verdict and what it says, for a reader who reads nothing else; `page` shows the numbers."""

    verdict: str
    text: str
    page: str


@dataclass(frozen=True)
class Page:
    """A page of the site.

    `single` are the filters that always have one value, so need no column; the rest offer `all`.
    What stands between backticks in notes is set as code; `command` is shown as it is. `matrix`
    names a table of benchmarks and models that is also shown as a matrix of both.
    """

    name: str
    title: str
    lead: str
    tables: Sequence[Table]
    charts: Sequence[Chart] = ()
    single: Sequence[str] = ()
    notes: Sequence[str] = ()
    command: str = ""
    sentences: Sequence[Sentence] = ()
    matrix: str = ""

    @property
    def filters(self) -> list[Filter]:
        """A filter for each field of the tables that has one."""
        names: set[str] = set().union(*(table.keys for table in self.tables))
        # In the order of FILTERS, so that a filter stands at the same place on every page.
        return [
            Filter(name, label, single=name in self.single)
            for name, label in FILTERS.items()
            if name in names
        ]

    @property
    def dated(self) -> bool:
        """Whether the rows can be limited to dates."""
        # A run's own page is of one date, and needs no choice of it.
        return any(column.key == "date" for table in self.tables for column in table.columns)
