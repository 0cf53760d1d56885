"""Reads your own data by its kind, and makes the row that describes it from what was counted."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evals.config.catalog import Classes
from evals.config.own_data import DataRef, Own, OwnBenchmark, Reading, object_ref
from evals.data.class_folders import TEMPLATE
from evals.data.columns import choose_columns
from evals.data.label_tables import has_labels, held_labels, load_labels, split_of_labels
from evals.data.local import SPLIT, languages, load_local, split_there
from evals.schema import (
    CaptionProtocol,
    ConfigError,
    Data,
    LabeledImages,
    Source,
    TextPairs,
    TextRetrieval,
)

ALL = "all"  # the only subset of data in one language


class OwnData(NamedTuple):
    """The subsets of data of one's own, and the row that was made of them."""

    row: OwnBenchmark
    subsets: Mapping[str, Data]


def read_own(ref: DataRef, reading: Reading) -> OwnData:
    """Read the data and make its row. Errors are those of the kind's reader."""
    if ref.kind not in READ:
        raise ConfigError(
            f"{ref.name}: a program held this data, and it lies nowhere that is known. "
            "Measure it by that program."
        )
    if ref.kind in SPLITS_OF and reading.split is None:
        split = SPLITS_OF[ref.kind](Path(ref.place).expanduser())
        reading = reading._replace(split=split)
    subsets = READ[ref.kind](ref, reading)
    # A reader that chose a split says which: a record must find the same one again.
    chosen = next(iter(subsets.values())).origin.get("split")
    split = reading.split or chosen or SPLIT
    return OwnData(row_of(ref, subsets, split, reading.columns), subsets)


def object_subsets(
    data: Any, name: str, reading: Reading, protocol: CaptionProtocol
) -> Mapping[str, Data]:
    """The only subset of data that a program holds, see `evals.data.tables_of_objects`.

    InvalidError and ConfigError as those of tables in files.
    """
    from evals.data.captioned import measured
    from evals.data.table_rows import captioned
    from evals.data.tables_of_objects import table_of

    table = table_of(data, name, reading.split)
    subsets = reading.subsets or (ALL,)
    if len(subsets) > 1:
        raise ConfigError(f"{name}: is in one language. Name one subset.")
    if has_labels(table, reading.roles):
        return held_labels(table, Source(subsets, ALL, columns=reading.roles))
    chosen = choose_columns(table, reading.roles)
    release = captioned(table, chosen, layout="memory", subset=subsets[0])
    source = Source(subsets, reading.split or SPLIT, protocol=protocol)
    return measured(release, source, dict(release.origin))


def row_of_object(
    name: str, subsets: Mapping[str, Data], columns: str | None = None
) -> OwnBenchmark:
    """The row of data that a program holds; ConfigError for a name that no record can have."""
    return row_of(object_ref(name), subsets, ALL, columns)


def row_of(
    ref: DataRef, subsets: Mapping[str, Data], split: str, columns: str | None = None
) -> OwnBenchmark:
    """The row that describes data that was read: what it counts is what it declares."""
    # `mistakes` reads the data again by this row: it has all that the command line said.
    fields: dict[str, Any] = {
        "name": ref.name,
        "title": ref.name,
        "data": ref.kind,
        "subsets": tuple(subsets),
        "split": split,
        "own": Own(kind=ref.kind, place=ref.place, columns=columns),
    }
    return OwnBenchmark(**fields, **_task_of(ref, subsets))


def _task_of(ref: DataRef, subsets: Mapping[str, Data]) -> dict[str, Any]:
    """The fields of a row that say what is measured."""
    first = next(iter(subsets.values()))
    if isinstance(first, TextRetrieval):
        counts = first.counts
        size = {"queries": counts["queries"], "documents": counts["documents"]}
        return {"task": "retrieval", "size": size}
    if isinstance(first, TextPairs):
        return {"task": "text_pairs", "size": first.counts}
    # Languages may lack images that others have: the row counts those of the fullest.
    images = {"images": max(data.counts["images"] for data in subsets.values())}
    if isinstance(first, LabeledImages):
        classes = Classes(count=len(first.classnames), dataset=ref.name, templates=TEMPLATE)
        return images | {"task": "classification", "metric": "acc@1", "classes": classes}
    texts = {subset: data.counts["texts"] for subset, data in subsets.items()}
    return images | {"task": "image_text", "texts_of": texts}


def _captions(ref: DataRef, reading: Reading) -> Mapping[str, Data]:
    place, split = Path(ref.place).expanduser(), reading.split or SPLIT
    subsets = reading.subsets or languages(place, split) or (ALL,)
    return load_local(Source(subsets, split, place, columns=reading.roles))


def _labels(ref: DataRef, reading: Reading) -> Mapping[str, Data]:
    subsets, place = (_only_subset(ref, reading),), Path(ref.place).expanduser()
    split = reading.split or SPLIT
    return load_labels(Source(subsets, split, place, columns=reading.roles))


def _beir(ref: DataRef, reading: Reading) -> Mapping[str, Data]:
    from evals.data.beir import load_beir

    return {_only_subset(ref, reading): load_beir(Path(ref.place).expanduser(), reading.split)}


def _trec(ref: DataRef, reading: Reading) -> Mapping[str, Data]:
    from evals.data.trec import load_trec

    return {_only_subset(ref, reading): load_trec(Path(ref.place).expanduser(), reading.split)}


def _ir(ref: DataRef, reading: Reading) -> Mapping[str, Data]:
    from evals.data.ir_library import load_ir

    if reading.split:
        raise ConfigError(f"{ref.written}: the id names its split. Leave --split out.")
    return {_only_subset(ref, reading): load_ir(ref.place)}


def _pairs(ref: DataRef, reading: Reading) -> Mapping[str, Data]:
    from evals.data.sentence_pairs import load_pairs

    return {_only_subset(ref, reading): load_pairs(Path(ref.place).expanduser())}


def _only_subset(ref: DataRef, reading: Reading) -> str:
    """The name of the one subset of data that is not parted by language."""
    subsets = reading.subsets or (ALL,)
    if len(subsets) > 1:
        raise ConfigError(f"{ref.written}: has one subset. Name one --subsets, or none.")
    return subsets[0]


# How the split is found where none is named, of kinds whose readers do not find it themselves.
SPLITS_OF: Mapping[str, Callable[[Path], str]] = {
    "captions": split_there,
    "labels": split_of_labels,
}
Reader = Callable[[DataRef, Reading], Mapping[str, Data]]
READ: Mapping[str, Reader] = {
    "captions": _captions,
    "labels": _labels,
    "beir": _beir,
    "trec": _trec,
    "ir": _ir,
    "sts": _pairs,
}
