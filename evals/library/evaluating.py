"""Measures a benchmark, your own data, or embeddings that exist already, from a program."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.bucket import Location, location
from evals.config.catalog import Benchmark
from evals.config.choice import choose, choose_row
from evals.config.models import resolve_model
from evals.config.own_data import DataRef, Reading, data_ref
from evals.config.suites import TaskRef
from evals.evaluation.load import Loaded, check, counted, limited
from evals.evaluation.recording import prepare_results
from evals.library.runs import RESULTS, Run, read_run
from evals.progress import SILENT, Reporter
from evals.schema import (
    CaptionProtocol,
    ConfigError,
    Data,
    Encoder,
    ImageText,
    TextPairs,
    TextRetrieval,
)
from evals.settings import Settings

STORE = Path("results/store")
# Data that functions such as `evals.image_text` made.
HELD = (ImageText, TextRetrieval, TextPairs)


def evaluate(
    benchmark: Any = None,
    model: Any = None,
    *,
    data: Any = None,
    dims: Sequence[int] | None = None,
    precisions: Sequence[str] = ("float32",),
    name: str | None = None,
    weights: str | Callable[[Any], str] | None = None,
    results: str | Path = RESULTS,
    store: str | Path | None = STORE,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> Run:
    """Measure a model on a benchmark, write the record and return it.

    `benchmark` is a row of benchmarks.yaml, `mteb:TASK`, or data of your own: `captions:DIR` or
    `labels:DIR`, whose record is called `name` or by its folder, or an object, whose record is
    called `name` or "data": a Dataset, DatasetDict or IterableDataset of `datasets`, a DataFrame, a
    list of dicts or of pairs (image, captions), or what `evals.image_text`, `evals.text_retrieval`
    and `evals.text_pairs` give. `data` is the
    local folder of a row, or such an object, with a row or instead of one. `columns` says which of
    its columns are meant, `image=photo,captions=text`.

    `model` is what `--model` takes, an `evals.Encoder`, or any object with `encode_text` and
    `encode_image` (or sentence-transformers' `encode`). Of an object say which `weights` it has: a
    string, or a function that gives one of it, such as `evals.weights_hash`; or give `store=None`,
    and nothing is kept. `name` is then its name. `dims` are the dimensions to score, the full width
    unless given. `settings` are the other fields of `evals.settings.Settings`: subsets, limit,
    device, dtype, max_length …

    Raises ConfigError, MissingError, InvalidError: all are `evals.EvalError`.
    """
    if model is None:
        raise ConfigError("Which model? Name one, or give an object with encode_text and such.")
    with _store(store) as folder:
        held = _held(benchmark, data)
        place = None if held is data else data
        chosen = _settings(place, results, folder, settings)
        stored = store is not None
        # Records of other weights under the same name are looked for among those that are there.
        prepare_results(chosen)
        # The model before the data: a wrong name is found in a moment, a download takes minutes.
        encoder = _encoder(model, chosen, name, weights, stored=stored, reporter=reporter)
        if held is not None:
            row_name = benchmark if held is data else None
            work: _Work = _in_memory(held, row_name, name or "data", chosen)
        else:
            work = _named(benchmark, name, chosen)
        path = _measure(work, encoder, dims, precisions, chosen, reporter)
    # Read back from the disk: what is returned is what a later `read_run` gives.
    return read_run(path)


_Work = Benchmark | TaskRef | DataRef | Loaded


def _held(benchmark: Any, data: Any) -> Any:
    """The data that the caller holds; None where only names are given."""
    from evals.data.tables_of_objects import is_data

    if benchmark is None and data is None:
        raise ConfigError("Nothing to measure. Name a benchmark, or give data of your own.")
    held = [value for value in (benchmark, data) if isinstance(value, HELD) or is_data(value)]
    if len(held) > 1:
        raise ConfigError("Two sets of data are given. Give the one that is meant.")
    return held[0] if held else None


def _named(benchmark: Any, name: str | None, settings: Settings) -> Benchmark | TaskRef | DataRef:
    if not isinstance(benchmark, str):
        raise ConfigError(
            f"benchmark= is {type(benchmark).__name__}. Give the name of a row, or data of your "
            "own: a Dataset, a DataFrame, a list of rows, evals.image_text(…)."
        )
    # The name is that of the model where the benchmark has its own.
    data_name = name if data_ref(benchmark) else None
    work, _ = choose([benchmark], subsets=settings.subsets, data_name=data_name)
    if len(work) != 1:
        raise ConfigError(f"{benchmark} is a suite of {len(work)}. Name one benchmark at a time.")
    check(work, [], settings)
    return work[0]


def _in_memory(data: Any, benchmark: str | None, name: str, settings: Settings) -> Loaded:
    """Data that the caller holds, with the row that was named, or one that is made of it."""
    from evals.data.own import object_subsets, row_of_object

    if settings.data:
        raise ConfigError("A folder means nothing beside data of your own. Leave it out.")
    row = choose_row(benchmark) if benchmark else None
    if isinstance(row, DataRef):
        raise ConfigError(f"{benchmark}: says where its data is, and data= is other data.")
    subset_names = settings.subsets or (row.subsets if row else None)
    if isinstance(data, HELD):
        if settings.subsets or settings.split or settings.columns:
            raise ConfigError(
                "subsets=, split= and columns= mean nothing beside evals.image_text and its like. "
                "Leave them out."
            )
        subsets: Mapping[str, Data] = {(subset_names or ("all",))[0]: data}
    else:
        reading = Reading(subset_names, settings.split, settings.columns)
        protocol = CaptionProtocol(**row.protocol.model_dump()) if row else CaptionProtocol()
        subsets = object_subsets(data, name, reading, protocol)
    if row is None:
        return Loaded(row_of_object(name, subsets, settings.columns), limited(subsets, settings))
    check([row], [], replace(settings, split=None, columns=None))
    return Loaded(row, counted(row, subsets, settings))


def _measure(
    work: _Work,
    encoder: Encoder,
    dims: Sequence[int] | None,
    precisions: Sequence[str],
    settings: Settings,
    reporter: Reporter,
) -> Path:
    from evals import jobs
    from evals.embeddings.precision import parse_precision
    from evals.evaluation.evaluate import evaluate as evaluate_row
    from evals.evaluation.load import load_item

    # A misspelt precision is refused before the data is loaded and embedded.
    for precision in precisions:
        parse_precision(precision)
    widths = tuple(dims or (encoder.dim,))
    if isinstance(work, TaskRef):
        # mteb scores its tasks by itself, from float32 rows.
        if tuple(precisions) != ("float32",):
            raise ConfigError(f"{work.name} is measured in float32 only. Leave out precisions=.")
        return jobs.evaluate_task(work, encoder, widths, settings, reporter=reporter).path
    loaded = work if isinstance(work, Loaded) else load_item(work, settings)
    outcome = evaluate_row(
        loaded.row,
        loaded.parts,
        encoder,
        widths,
        settings,
        precisions=precisions,
        reporter=reporter,
    )
    return outcome.path


def _settings(
    data: str | Path | None, results: str | Path, store: Location, settings: Mapping[str, Any]
) -> Settings:
    unknown = sorted(settings.keys() - Settings.__dataclass_fields__.keys())
    if unknown:
        names = ", ".join(Settings.__dataclass_fields__)
        raise ConfigError(f"evaluate has no setting {unknown[0]!r}. It has {names}.")
    values = dict(settings)
    columns, subsets = values.get("columns"), values.get("subsets")
    if isinstance(columns, Mapping):
        values["columns"] = ",".join(f"{role}={column}" for role, column in columns.items())
    # "en" alone would be taken for the subsets e and n.
    if isinstance(subsets, str):
        subsets = (subsets,)
    if subsets is not None:
        values["subsets"] = tuple(subsets)
    measures = values.get("measures")
    if measures is not None:
        values["measures"] = (measures,) if isinstance(measures, str) else tuple(measures)
    folder = None if data is None else Path(data)
    return Settings(data=folder, results=location(results), store=store, **values)


@contextmanager
def _store(store: str | Path | None) -> Iterator[Location]:
    """The folder of embeddings; one for this call only when none is wanted."""
    if store is not None:
        yield location(store)
        return
    with tempfile.TemporaryDirectory(prefix="jina-clip-evals-") as folder:
        yield Path(folder)


def _encoder(
    model: Any,
    settings: Settings,
    name: str | None,
    weights: str | Callable[[Any], str] | None,
    *,
    stored: bool,
    reporter: Reporter,
) -> Encoder:
    if isinstance(model, str | Path):
        from evals import jobs

        ref = resolve_model(str(model))
        return jobs.named_encoder(ref, settings, reporter=reporter)
    # Its own fingerprint keys its rows; a protocol alone does not look at the types of attributes.
    if isinstance(model, Encoder) and isinstance(getattr(model, "fingerprint", None), Mapping):
        return model
    # Never guessed: rows of a model that was trained on would be taken for those of before.
    if weights is None and stored:
        raise ConfigError(
            f"Which weights has this {type(model).__name__}? Its embeddings are kept and found again "
            "by them. Give weights= a string that changes with them, or a function such as "
            "evals.weights_hash; or store=None, and nothing is kept."
        )
    from evals.encoders.objects import ObjectEncoder
    from evals.evaluation.names import check_name

    encoder = ObjectEncoder(model, name=name or type(model).__name__, weights=weights)
    warning = check_name(encoder, settings.records, chosen=name is not None)
    if warning:
        reporter.info(warning)
    return encoder
