"""What a run with distractors adds to a record: recall by the size of the gallery, and two counts per query.

distractors.jsonl     a line per point of a curve; the first of each is the benchmark's own number
distractors.parquet   a row per query: distractors above its best relevant item, and on its score
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from io import BytesIO
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from evals.reading import parse_json
from evals.records.manifest import REMEDY, as_json, problem_of
from evals.records.manifest_parts import Count, Dim, Text
from evals.records.record import Run, read_file
from evals.schema import InvalidError

CURVES, COUNTS = "distractors.jsonl", "distractors.parquet"
# Arrow types by name.
COUNT_COLUMNS = {
    "subset": "string",
    "direction": "string",
    "dim": "int32",
    "query_id": "string",
    "better": "int64",
    "tied": "int64",
}
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
# As many as `n_gallery` of metrics.jsonl may be.
Items = Annotated[int, Field(ge=0, lt=2**40)]


@dataclass(frozen=True)
class CurveLine:
    """A metric in a gallery of `n_gallery` items, of which `n_distractors` are drawn at random.

    `value` is the mean over all draws, a fraction in [0, 1]; `ci_*` is its 95% interval over images,
    None where there is none.
    """

    subset: Text
    direction: Text
    dim: Dim
    metric: Text
    k: Annotated[int, Field(ge=1, lt=2**31)]
    n_gallery: Items
    n_distractors: Items
    value: Share
    ci_low: Share | None
    ci_high: Share | None
    n_queries: Count

    @property
    def name(self) -> str:
        """The public name of the metric: `R@5`."""
        return f"{self.metric}@{self.k}"


def as_lines(lines: Iterable[CurveLine]) -> bytes:
    """The bytes of distractors.jsonl."""
    return b"".join(as_json(asdict(line), CURVES) for line in lines)


def read_curves(run: Run) -> list[CurveLine]:
    """The points of a record; none, for one without distractors.

    InvalidError names the line that is broken, and a file that was changed.
    """
    if CURVES not in run.manifest.files:
        return []
    lines = []
    # not splitlines(): names of subsets may hold U+2028
    for number, text in enumerate(read_file(run, CURVES).decode().split("\n")[:-1], 1):
        where = f"{run.path / CURVES}, line {number}"
        try:
            line = _schema().model_validate(parse_json(text, where))
        except ValidationError as error:
            raise InvalidError(f"{where}: {problem_of(error)}. {REMEDY}") from None
        lines.append(CurveLine(**vars(line)))
    return lines


def as_counts(table: Any) -> bytes:
    """The bytes of distractors.parquet, from an Arrow table of its columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # No nulls: a query without a count would be drawn as one without distractors above it.
    columns = [
        pa.field(name, pa.type_for_alias(kind), nullable=False)
        for name, kind in COUNT_COLUMNS.items()
    ]
    sink = BytesIO()
    chosen = pa.table({name: table[name] for name in COUNT_COLUMNS}).cast(pa.schema(columns))
    pq.write_table(chosen, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


@cache
def _schema() -> type[BaseModel]:
    """What a line may be: the fields of CurveLine, all of them and no other."""
    kinds: dict[str, Any] = {field.name: (field.type, ...) for field in fields(CurveLine)}
    return create_model("Line", __config__=ConfigDict(strict=True, extra="forbid"), **kinds)
