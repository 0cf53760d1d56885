"""One benchmark by one model: encode what is missing, score every dimension, write the record."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.cli.app import Log
from evals.cli.options import Options
from evals.config.catalog import Benchmark
from evals.schema import ConfigError, Data, EncoderInfo, Side

if TYPE_CHECKING:  # the rest is imported where it is used, so that --help answers at once
    from evals.embeddings.store import Store
    from evals.records.record import MetricLine
    from evals.schema import Encoder
    from evals.tasks.scores import Scores


ALSO = {
    "label": "int32",
    "average_precision": "float64",
}  # what some tasks tell of a query beside its ranks; Arrow types


class Outcome(NamedTuple):
    """One benchmark by one model: the record's folder, what it says, and how much had to be encoded for it."""

    path: Path
    benchmark: Benchmark
    model: str
    partial: dict[str, Any] | None
    encoded: dict[str, int]
    scores: dict[str, list["Scores"]]


@dataclass
class Costs:
    """What a run has cost so far: seconds a phase, and items encoded."""

    seconds: dict[str, float] = field(default_factory=dict)
    encoded: dict[str, int] = field(default_factory=lambda: {"image": 0, "text": 0})

    def add(self, phase: str, since: float) -> None:
        self.seconds[phase] = round(self.seconds.get(phase, 0.0) + time.monotonic() - since, 3)


class Parts(NamedTuple):
    """The subsets of a benchmark, and why they are not the whole of it (None: they are)."""

    subsets: Mapping[str, Data]
    partial: dict[str, Any] | None


def evaluate(
    row: Benchmark,
    loaded: Parts,
    encoder: "Encoder",
    dims: Sequence[int],
    options: Options,
    log: Log,
    *,
    precisions: Sequence[str] = ("float32",),
) -> Outcome:
    """Encode what is missing, score every dimension, and write the record."""
    from evals.embeddings.store import Store
    from evals.tasks import task_of

    started, costs = time.time(), Costs()
    dims = checked_dims(dims, encoder)
    store, task = Store(options.store), task_of(row.task)
    parts, partial = loaded
    scores: dict[str, list[Scores]] = {}
    zero_rows = 0
    kept: tuple[Sequence[str], Any] = ((), None)
    for subset, data in parts.items():
        sides = task.sides(data)
        log.info(
            f"{row.name} {subset}: {' and '.join(f'{len(s):,} {s.kind}s' for s in sides)}, by {encoder.name}"
        )
        every = []
        for side in sides:
            shared = side.kind == "image" and side.hashes == kept[0]  # languages share their images
            rows = kept[1] if shared else embed(store, encoder, side, log, costs)
            if not shared:
                zero_rows += int((~rows.any(axis=1)).sum())
            if side.kind == "image":
                kept = (side.hashes, rows)
            every.append(rows)
        since = time.monotonic()
        where = "cuda" if encoder.fingerprint.get("device") == "cuda" else "cpu"
        scores[subset] = task.score(every, data, dims=dims, precisions=precisions, device=where)
        costs.add("score", since)
    path = write_record(
        row, encoder, dims, options, parts, partial, scores, costs, started, zero_rows, precisions
    )
    return Outcome(path, row, encoder.name, partial, dict(costs.encoded), scores)


def embed(store: "Store", encoder: "Encoder", side: Side, log: Log, costs: Costs) -> Any:
    """The full-width rows of a side; what is not stored yet is encoded, and counted in `costs`."""
    missing = store.missing(encoder, side)
    since = time.monotonic()
    if (
        side.kind == "image" and missing
    ):  # a broken file is found now, not after an hour of encoding
        from evals.data.images import verify

        verify(side.items, missing)
    with log.progress(f"{encoder.name}: encoding {side.kind}s") as progress:
        rows, encoded = store.embed(encoder, side, progress=progress)
    costs.encoded[side.kind] += encoded
    costs.add(f"encode_{side.kind}", since)
    return rows


def checked_dims(dims: Sequence[int], encoder: "Encoder") -> tuple[int, ...]:
    """Each dimension once, the largest first; ConfigError for one that the encoder does not have."""
    if wrong := [dim for dim in dims if not 1 <= dim <= encoder.dim]:
        raise ConfigError(
            f"--dims {','.join(map(str, wrong))}: {encoder.name} has {encoder.dim} dimensions."
        )
    return tuple(sorted(set(dims), reverse=True))


def write_record(
    row: Benchmark,
    encoder: "Encoder",
    dims: Sequence[int],
    options: Options,
    parts: Mapping[str, Data],
    partial: dict[str, Any] | None,
    scores: dict[str, list["Scores"]],
    costs: Costs,
    started: float,
    zero_rows: int,
    precisions: Sequence[str] = ("float32",),
    **more: Any,
) -> Path:
    """The record of a row, with `more` in its manifest."""
    from evals.embeddings.precision import calibration
    from evals.records.record import QUERY_COLUMNS, write_run

    manifest = circumstances(encoder, options, costs, started)
    scored = {
        "dims": dims,
        "precisions": list(precisions),
        "calibration": calibration(tuple(precisions)),
    }
    manifest |= {
        # A part of a benchmark has a key of its own, so that no table or baseline can take it for the whole.
        "benchmark": f"{row.name}.partial" if partial else row.name,
        "partial": partial,
        "config": manifest["config"]
        | scored
        | {"subsets": list(parts), "row": row.model_dump(mode="json")},
        "data": {
            subset: {
                "origin": dict(data.origin),
                "content": content_hash(data),
                **data.counts,
            }
            for subset, data in parts.items()
        },
        "zero_rows": zero_rows,
        **more,
    }
    queries = query_table(scores)
    also = {name: kind for name, kind in ALSO.items() if name in queries.column_names}
    return write_run(
        options.results,
        manifest=manifest,
        metrics=metric_lines(scores),
        queries=queries,
        columns=QUERY_COLUMNS | also,
    )


def circumstances(
    encoder: "Encoder", options: Options, costs: Costs, started: float
) -> dict[str, Any]:
    """What every manifest tells of how a run came about: command, options, times, machine, packages, encoder and cost."""
    from evals.records.provenance import command, host, packages, peak_memory, source_state, utc

    info = EncoderInfo.read(encoder)
    return {
        "model": encoder.name,
        "status": "complete",
        "command": command(),
        "config": {name: _plain(value) for name, value in vars(options).items()}
        | {"model": encoder.name},
        "started": utc(started),
        "finished": utc(time.time()),
        "host": host(),
        "packages": packages(),
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
        "skipped": [],
        "seconds": costs.seconds,
        "peak_memory_mb": peak_memory(),
    }


def metric_lines(scores: dict[str, list["Scores"]]) -> list["MetricLine"]:
    """The lines of metrics.jsonl, in the order of the table."""
    from evals.records.record import MetricLine

    lines = []
    for subset, every in scores.items():
        for s in every:
            for name, (value, interval) in s.values.items():
                metric, _, k = name.partition("@")
                lines.append(
                    MetricLine(
                        subset=subset,
                        direction=s.direction,
                        dim=s.dim,
                        precision=s.precision,
                        metric=metric,
                        k=int(k) if k else None,
                        value=value,
                        ci_low=interval.low if interval else None,
                        ci_high=interval.high if interval else None,
                        n_queries=len(s.query_ids),
                        n_gallery=s.n_gallery,
                        tie_rate=s.tie_rate,
                    )
                )
    return lines


def query_table(scores: dict[str, list["Scores"]]) -> Any:
    """The rows of queries.parquet as an Arrow table; the ids of a subset's queries are there once, whatever the dimensions."""
    import pyarrow as pa

    ids: dict[tuple[str, str], dict[str, Any]] = {}
    tables = []
    for subset, every in scores.items():
        for s in every:
            if (key := (subset, s.direction)) not in ids:
                ids[key] = {
                    "query_id": pa.array(s.query_ids, pa.string()),
                    "group_id": pa.array(s.group_ids, pa.string()),
                }
            same = {
                "subset": subset,
                "direction": s.direction,
                "dim": s.dim,
                "precision": s.precision,
            }
            columns = {name: pa.repeat(value, len(s.query_ids)) for name, value in same.items()}
            tables.append(pa.table(columns | ids[key] | dict(s.columns)))
    return pa.concat_tables(tables)


def content_hash(data: Data) -> str:
    """One hash over what is measured: every image, every text, and which belong together; not the ids."""
    digest = hashlib.sha256()
    for part in (*data.images.hashes, *data.texts.hashes):
        digest.update(part.encode())
    for indices in data.truth:
        digest.update(indices.astype("<i8").tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return (
        str(value)
        if isinstance(value, Path)
        else list(value)
        if isinstance(value, tuple)
        else value
    )
