"""One benchmark by one model: encode what is missing, score every dimension, write the record."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evals.config.catalog import Benchmark
from evals.evaluation.lengths import lengths_of, unknown_words
from evals.evaluation.load import Parts, check_measures
from evals.evaluation.outcome import Outcome
from evals.evaluation.record_files import Kept
from evals.evaluation.recording import Costs, Measurement, write_record
from evals.evaluation.side_rows import SideRows, bytes_in_memory, usual_memory
from evals.progress import SILENT, Reporter
from evals.schema import ConfigError, Data, ImageText, Side, TextRetrieval, is_multi_vector
from evals.settings import Settings

if TYPE_CHECKING:  # the rest is imported where it is used, so that --help answers at once
    from evals.evaluation.distractors import Distractors
    from evals.schema import Encoder
    from evals.tasks.gallery_curve import Curve
    from evals.tasks.scores import Scores


def evaluate(
    row: Benchmark,
    parts: Parts,
    encoder: "Encoder",
    dims: Sequence[int],
    settings: Settings,
    *,
    precisions: Sequence[str] = ("float32",),
    costs: Costs | None = None,
    distractors: "Distractors | None" = None,
    memory: int | None = None,
    reporter: Reporter = SILENT,
) -> Outcome:
    """Encode what is missing, score every dimension at every precision, and write the record.

    `costs` are those that there were before. With `distractors` the record has curves over gallery
    sizes beside the scores, which stay those of the benchmark alone. Rows that take more than
    `memory` bytes (None: half of the machine's) are scored where they lie in the store, with the
    same result, by tasks that can do so.

    Raises ConfigError for a dimension that the encoder does not have, FailedShardsError for
    embeddings that hold NaN or infinity; all others are stored by then.
    """
    from evals.data.notes import notes
    from evals.embeddings.failures import joined
    from evals.embeddings.kept import KeptRows
    from evals.embeddings.rows import HeldRows, RowSource
    from evals.embeddings.store import Store
    from evals.tasks import task_for
    from evals.tasks.best import RankingTask
    from evals.tasks.scores import StoredTask

    # Wall time for the record's place in history; phases are measured by the monotonic clock.
    started, costs = time.time(), costs or Costs()
    dims = checked_dims(dims, encoder)
    store, task = Store(settings.store), task_for(row.task, encoder)
    if is_multi_vector(encoder):
        check_multi_vector(encoder, precisions, settings, distractors, memory)
    # Refused here as well as by `check`: a fusion is made of a row whose task has rankings.
    if settings.keep_top is not None and not isinstance(task, RankingTask):
        raise ConfigError(f"{row.name}: --keep-top means nothing to it. Leave it out.")
    # Ranks are counted where the rows were made; counts are the same on both.
    device = "cuda" if encoder.fingerprint.get("device") == "cuda" else "cpu"
    scores: dict[str, list[Scores]] = {}
    kept: dict[str, Kept] = {}
    embeddings = KeptRows() if settings.keep_embeddings else None
    lengths = lengths_of(encoder, parts.subsets)
    if lengths.reason is not None:
        reporter.info(f"{row.name}: {unknown_words(encoder, lengths.reason)}")
    for name, count in lengths.counts.items():
        if count["truncated"]:
            reporter.info(
                f"{row.name}: {count['truncated']:,} of {count['texts']:,} {name} are longer than the "
                f"maximum of {encoder.name}: only their beginning is measured"
            )
    # Other tasks have the measures that they have: `check` refuses them where there is no retrieval.
    chosen_measures: dict[str, Any] = {}
    if settings.measures and row.task == "retrieval":
        check_measures(settings.measures)  # a program's own data comes here unchecked
        chosen_measures["measures"] = settings.measures
    if memory is not None and embeddings is not None:
        raise ConfigError("--keep-embeddings holds all rows in memory. Leave --memory out.")
    budget = usual_memory() if memory is None else memory
    curve_maker = None
    if distractors is not None:
        from evals.evaluation.curves import CurveMaker

        # Queries wait in a quarter of the memory for the distractors, which are read once for all.
        waiting, budget = budget // 4, budget - budget // 4
        curve_maker = CurveMaker(
            distractors,
            parts.subsets,
            encoder,
            store,
            costs,
            memory=waiting,
            device=device,
            reporter=reporter,
        )
    side_rows = SideRows(encoder, store, costs, embeddings=embeddings, reporter=reporter)
    for subset, data in parts.subsets.items():
        sides = task.sides(data)
        reporter.info(f"{row.name} {subset}: {_counts(data, sides)}, by {encoder.name}")
        for note in notes(data.origin):
            reporter.info(f"{row.name} {subset}: {note}")
        choices: dict[str, Any] = {"dims": dims, "precisions": precisions, "device": device}
        needed = bytes_in_memory(sides, encoder.dim, dims)
        is_larger = needed > budget and embeddings is None
        # Queries and documents of one side each: an item of text and image is a sum of two rows.
        one_side_each = len(sides) == 2
        if is_larger and memory is not None and isinstance(data, TextRetrieval):
            check_one_side_each(f"{row.name} {subset}", data, needed, memory)
        stored_task = None
        sources: list[RowSource] = []
        if is_multi_vector(encoder):
            rows = side_rows.vectors(sides)
        elif is_larger and one_side_each and isinstance(task, StoredTask):
            stored_task = task
            choices["memory"] = budget
            reporter.info(
                f"{row.name} {subset}: scored from the store in {budget / 2**30:.3g} GB, where all "
                f"rows would take {needed / 2**30:.3g}"
            )
            sources = side_rows.on_disk(sides)
        else:
            rows = side_rows.held(sides)
            sources = [HeldRows(array) for array in rows]
        if side_rows.failed:
            continue
        since = time.monotonic()
        if stored_task is not None:
            scores[subset] = stored_task.score_stored(sources, data, **choices, **chosen_measures)
        else:
            scores[subset] = task.score(rows, data, **choices, **chosen_measures)
        if settings.keep_top is not None and isinstance(task, RankingTask):
            if stored_task is not None:
                best = stored_task.best_stored(sources, data, k=settings.keep_top, **choices)
            else:
                best = task.best(rows, data, k=settings.keep_top, **choices)
            kept[subset] = Kept(best, task.judgements(data))
        costs.add("score", since)
        if curve_maker is not None:
            # Work without captioned images was refused by `check_distractors`.
            assert isinstance(data, ImageText)
            curve_maker.add(subset, sources, data, scores[subset])
    if side_rows.failed:
        raise joined(list(side_rows.failed.values()))
    curves: dict[str, list[Curve]] = {}
    if curve_maker is not None:
        curves = curve_maker.finish()
    measurement = Measurement(
        row=row,
        encoder=encoder,
        settings=settings,
        parts=parts,
        dims=dims,
        precisions=tuple(precisions),
        scores=scores,
        kept=kept,
        embeddings=embeddings,
        curves=curves,
        costs=costs,
        started=started,
        zero_rows=side_rows.zero_rows,
    )
    extra: dict[str, Any] = {"lengths": lengths.counts} if lengths.counts else {}
    if curve_maker is not None:
        extra["distractors"] = curve_maker.entry
    return outcome_of(measurement, write_record(measurement, **extra))


def _counts(data: Data, sides: Sequence[Side]) -> str:
    """How much there is to embed, in words."""
    if isinstance(data, TextRetrieval):
        return f"{len(data.queries):,} queries and {len(data.docs):,} documents"
    return " and ".join(f"{len(side):,} {side.kind}s" for side in sides)


def outcome_of(measurement: Measurement, path: Any) -> Outcome:
    """What the caller is told of a measurement whose record lies at `path`."""
    return Outcome(
        path=path,
        benchmark=measurement.row,
        model=measurement.encoder.name,
        partial=measurement.parts.partial,
        encoded=dict(measurement.costs.encoded),
        scores=dict(measurement.scores),
        curves=dict(measurement.curves),
    )


def check_multi_vector(
    encoder: "Encoder",
    precisions: Sequence[str],
    settings: Settings,
    distractors: "Distractors | None" = None,
    memory: int | None = None,
) -> None:
    """Refuse what needs one row per item of a model that gives several. ConfigError."""
    refused = {
        "--precisions": tuple(precisions) != ("float32",),
        "--keep-embeddings": settings.keep_embeddings,
        "--distractors": distractors is not None,
        "--memory": memory is not None,
    }
    for option, is_set in refused.items():
        if is_set:
            raise ConfigError(
                f"{option} needs one row per item, and {encoder.name} gives several vectors, which "
                "are scored by MaxSim in float32. Leave it out."
            )


def check_one_side_each(name: str, data: TextRetrieval, needed: int, memory: int) -> None:
    """Refuse items of text and image whose rows take more than `memory` bytes. ConfigError."""
    if len(data.sides) > 2:
        raise ConfigError(
            f"{name}: its rows take {needed / 2**30:.3g} GB, more than --memory {memory / 2**30:.3g}, "
            "and cannot be scored from the store: items have a text and an image, whose vector is "
            "the sum of two rows. Leave --memory out to hold them."
        )


def checked_dims(dims: Sequence[int], encoder: "Encoder") -> tuple[int, ...]:
    """Each dimension once, the largest first.

    ConfigError for one that the encoder does not have, and for any but the full width where it
    gives several vectors per item: no such model is made to be cut.
    """
    if is_multi_vector(encoder) and set(dims) != {encoder.dim}:
        raise ConfigError(
            f"{encoder.name} gives several vectors per item, of {encoder.dim} values each, which "
            "are not cut to fewer. Leave out --dims, or choose another model for a sweep."
        )
    outside = [dim for dim in dims if not 1 <= dim <= encoder.dim]
    if outside:
        raise ConfigError(
            f"--dims {','.join(map(str, outside))}: {encoder.name} has {encoder.dim} dimensions."
        )
    # The widest first: tables and the shares of a sweep begin with the full width.
    return tuple(sorted(set(dims), reverse=True))
