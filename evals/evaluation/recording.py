"""A measurement as its record: a manifest of how it came about, lines of metrics, rows of queries."""

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.config.catalog import Benchmark
from evals.evaluation.load import Parts
from evals.evaluation.record_files import Kept, curve_files, embedding_files, ranking_files
from evals.schema import Data, EncoderInfo
from evals.settings import Settings

if TYPE_CHECKING:  # the rest is imported where it is used, so that --help answers at once
    from evals.embeddings.kept import KeptRows
    from evals.records.record import MetricLine
    from evals.schema import Encoder
    from evals.tasks.gallery_curve import Curve
    from evals.tasks.scores import Scores


@dataclass
class Costs:
    """What a run has cost so far: seconds per phase, and items encoded."""

    seconds: dict[str, float] = field(default_factory=dict)
    encoded: Counter[str] = field(default_factory=lambda: Counter({"image": 0, "text": 0}))

    def add(self, phase: str, since: float) -> None:
        """Count the seconds from `since` (time.monotonic) until now for the phase."""
        elapsed = time.monotonic() - since
        # Milliseconds: more digits would be those of the scheduler.
        self.seconds[phase] = round(self.seconds.get(phase, 0.0) + elapsed, 3)


@dataclass(frozen=True)
class Measurement:
    """One benchmark measured with one model: everything that its record is made of.

    `scores` holds those of each subset, `started` is in seconds since the epoch, and `zero_rows`
    counts embeddings of length 0. `kept` holds the rankings of each subset, and `embeddings` the
    rows of all sides, where they are wanted. `curves` over gallery sizes are those of each subset,
    where there were distractors.
    """

    row: Benchmark
    encoder: "Encoder"
    settings: Settings
    parts: Parts
    dims: tuple[int, ...]
    precisions: tuple[str, ...]
    scores: Mapping[str, list["Scores"]]
    costs: Costs
    started: float
    zero_rows: int
    kept: Mapping[str, Kept] = field(default_factory=dict)
    embeddings: "KeptRows | None" = None
    curves: Mapping[str, Sequence["Curve"]] = field(default_factory=dict)


def prepare_results(settings: Settings) -> None:
    """Make the place of the records ready, and fetch what is there: what fails fails now.

    OSError for a folder that cannot be made, and what `open_records` raises.
    """
    from evals.records.exchange import open_records

    open_records(settings.results).mkdir(parents=True, exist_ok=True)


def write_record(measurement: Measurement, **extra: Any) -> Path:
    """Write the record of a measurement and return its folder.

    `extra` are further entries of the manifest.
    """
    from evals.embeddings.precision import calibration
    from evals.records.manifest import PARTIAL
    from evals.records.record import write_run

    row, parts = measurement.row, measurement.parts
    manifest = circumstances(
        measurement.encoder, measurement.settings, measurement.costs, measurement.started
    )
    scored = {
        "dims": measurement.dims,
        "precisions": list(measurement.precisions),
        "calibration": calibration(measurement.precisions),
        "subsets": list(parts.subsets),
        "row": row.model_dump(mode="json"),
    }
    manifest |= {
        # A part of a benchmark has a key of its own, so that no table or baseline can take it for
        # the whole.
        "benchmark": row.name + (PARTIAL if parts.partial else ""),
        "partial": parts.partial,
        "config": manifest["config"] | scored,
        "data": {
            subset: {"origin": dict(data.origin), "content": content_hash(data), **data.counts}
            for subset, data in parts.subsets.items()
        },
        "zero_rows": measurement.zero_rows,
        **extra,
    }
    queries = query_table(measurement.scores)
    return write_run(
        measurement.settings.records,
        manifest=manifest,
        metrics=metric_lines(measurement.scores),
        queries=queries,
        columns=_column_types(queries.column_names),
        more_files={
            **ranking_files(measurement.kept),
            **embedding_files(measurement.embeddings),
            **curve_files(measurement.curves),
        },
    )


def _column_types(names: Sequence[str]) -> dict[str, str]:
    """The Arrow type of each column of queries.parquet."""
    from evals.records.parquet import ID_COLUMNS, PAIR_COLUMNS, QUERY_COLUMNS, TASK_COLUMNS

    if "gold" in names:
        return ID_COLUMNS | PAIR_COLUMNS
    # Beside keys and ids a task of texts has a column per measure; all of them are float64.
    measures = [name for name in names if name not in {*QUERY_COLUMNS, *TASK_COLUMNS}]
    task_columns = {name: kind for name, kind in TASK_COLUMNS.items() if name in names}
    return QUERY_COLUMNS | task_columns | dict.fromkeys(measures, "float64")


def circumstances(
    encoder: "Encoder", settings: Settings, costs: Costs, started: float
) -> dict[str, Any]:
    """What every manifest says of how a run came about.

    Command, settings, times, machine, packages, encoder and cost.
    """
    from evals.command_line import command
    from evals.packages import loaded_packages
    from evals.records.provenance import (
        host,
        peak_memory,
        source_state,
        utc,
    )

    info = EncoderInfo.read(encoder)
    # Every setting, those left at their default too: a default may change with a release.
    config = {name: _plain(value) for name, value in vars(settings).items()}
    return {
        "model": encoder.name,
        "status": "complete",
        "command": command(),
        "config": config | {"model": encoder.name},
        "started": utc(started),
        "finished": utc(time.time()),
        "host": host(),
        # What this process has loaded: an installed package that did not run has moved no number.
        "packages": loaded_packages(),
        "source": source_state(),
        "encoder": {
            "name": encoder.name,
            "dim": encoder.dim,
            "fingerprint": dict(encoder.fingerprint),
            "source": dict(info.source),
        },
        "batches": dict(info.batches),
        "usage": dict(info.usage),
        "encoded": costs.encoded,
        "seconds": costs.seconds,
        "peak_memory_mb": peak_memory(),
    }


def metric_lines(scores: Mapping[str, list["Scores"]]) -> list["MetricLine"]:
    """The lines of metrics.jsonl, in the order of the table."""
    lines: list[MetricLine] = []
    for subset, subset_scores in scores.items():
        for score in subset_scores:
            lines += _lines(subset, score)
    return lines


def _lines(subset: str, score: "Scores") -> list["MetricLine"]:
    from evals.records.record import MetricLine

    lines = []
    for name, (value, interval) in score.values.items():
        # Apart in the file, so that programs filter by k without parsing names.
        metric, _, k = name.partition("@")
        lines.append(
            MetricLine(
                subset=subset,
                direction=score.direction,
                dim=score.dim,
                precision=score.precision,
                metric=metric,
                k=int(k) if k else None,
                value=value,
                ci_low=interval.low if interval else None,
                ci_high=interval.high if interval else None,
                n_queries=len(score.query_ids),
                n_gallery=score.n_gallery,
                tie_rate=score.tie_rate,
            )
        )
    return lines


def query_table(scores: Mapping[str, list["Scores"]]) -> Any:
    """The rows of queries.parquet as an Arrow table.

    The ids of a subset and direction are made once and shared by all its dimensions and precisions.
    """
    import pyarrow as pa

    ids_by_cell: dict[tuple[str, str], dict[str, Any]] = {}
    tables = []
    for subset, subset_scores in scores.items():
        for score in subset_scores:
            cell = (subset, score.direction)
            # A sweep has dozens of scores over the same queries: their ids are made into Arrow
            # once.
            if cell not in ids_by_cell:
                ids_by_cell[cell] = {
                    "query_id": pa.array(score.query_ids, pa.string()),
                    "group_id": pa.array(score.group_ids, pa.string()),
                }
            keys = {
                "subset": subset,
                "direction": score.direction,
                "dim": score.dim,
                "precision": score.precision,
            }
            # pa.repeat: parquet's dictionaries then store each key once, however many rows it has.
            repeated = {
                name: pa.repeat(value, len(score.query_ids)) for name, value in keys.items()
            }
            tables.append(pa.table(repeated | ids_by_cell[cell] | dict(score.columns)))
    return pa.concat_tables(tables)


def content_hash(data: Data) -> str:
    """One sha256 over what is measured: every image, every text, and which belong together."""
    # Not the ids: two copies of one benchmark may number their images otherwise.
    digest = hashlib.sha256()
    for side in data.sides:
        for item_hash in side.hashes:
            digest.update(item_hash.encode())
    for values in data.truth:
        # One width and byte order, so that every machine has the same hash.
        number = "<f8" if values.dtype.kind == "f" else "<i8"
        digest.update(values.astype(number).tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
