"""What a record was made from, found again: its data, its encoder's key, and the rows it stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from evals.bucket import Location, location
from evals.config.catalog import Benchmark
from evals.config.own_data import row_of_record
from evals.counts import counted
from evals.embeddings.store import Store
from evals.evaluation.load import load_parts
from evals.evaluation.recording import content_hash
from evals.records.manifest import MANIFEST, REMEDY, problem_of
from evals.records.record import Run, width_of
from evals.schema import (
    ConfigError,
    Data,
    InvalidError,
    MissingError,
    NotComparableError,
    Side,
    check_one_row,
)
from evals.settings import Settings

FUSION = "fusion"


@dataclass
class Recorded:
    """The encoder of a record, for the embeddings that it stored: it encodes nothing."""

    name: str
    dim: int
    fingerprint: Mapping[str, str]

    @property
    def by_language(self) -> bool:
        """Whether it has a tokenizer for each language, see evals.schema.Encoder."""
        return "text.languages" in self.fingerprint

    def encode(self, side: Side) -> Any:
        """Raises MissingError: what is not in the store has to be measured again."""
        raise MissingError(f"{self.name}: {counted(len(side), side.kind)} not in the store.")


def recorded_encoder(run: Run) -> Recorded:
    """The encoder of a record. InvalidError for one that does not say its width."""
    encoder = run.manifest.encoder
    return Recorded(encoder.name or run.manifest.model, width_of(run), encoder.fingerprint)


def recorded_row(run: Run) -> Benchmark:
    """The row that was measured, as it was then. InvalidError for one that is none."""
    raw = run.manifest.raw["config"]["row"]
    # No row of configs is a fusion: it is one of images and captions, measured otherwise.
    fused = raw.get("task") == FUSION
    try:
        row = row_of_record(raw | {"task": "image_text"} if fused else raw)
        return row.model_copy(update={"task": FUSION}) if fused else row
    except ValidationError as error:
        where = run.path / MANIFEST
        raise InvalidError(f"{where}: config.row.{problem_of(error)}. {REMEDY}") from None


def recorded_data(
    run: Run, subsets: Sequence[str], folder: Path | None = None
) -> Mapping[str, Data]:
    """The data of some subsets, from `folder` or where the run had it.

    NotComparableError when it is not what was measured: the same folder may hold another release
    by now. ConfigError for the record of a run file, which was made of ids and scores alone.
    """
    if run.manifest.encoder.fingerprint.get("run") == "trec":
        raise ConfigError(
            f"{run.path}: was made of a run file and its judgements, which hold neither items nor "
            "embeddings. Evaluate the model itself with python -m evals.run."
        )
    config = run.manifest.config
    settings = Settings(
        data=folder or (Path(config.data) if config.data else None),
        subsets=tuple(subsets),
        limit=config.limit,
        allow_subset=config.allow_subset,
        # Rows of queries with an instruction are stored under another key than those without.
        instruction=bool(run.manifest.raw["config"].get("instruction", False)),
    )
    parts = load_parts(recorded_row(run), settings).subsets
    for subset in subsets:
        if content_hash(parts[subset]) != run.manifest.data_identity.contents.get(subset):
            raise NotComparableError(
                f"{run.path}: the data of {run.manifest.benchmark} {subset} at hand is not what "
                "was measured. Name the copy that was, with --data, or run the evaluation again."
            )
    return parts


def recorded_store(run: Run) -> Location:
    """Where the run stored its embeddings. ConfigError for a record that does not say."""
    store = run.manifest.config.store
    if store is None:
        raise ConfigError(f"{run.path}: does not say where its embeddings are. Name --store.")
    return location(store)


def stored_rows(store: Store, encoder: Recorded, side: Side) -> np.ndarray:
    """The full-width rows of a side. MissingError when not all of them are stored.

    ConfigError for the record of a multi-vector model.
    """
    check_one_row(encoder)
    _check_stored(store, encoder, side)
    return store.embed(encoder, side).rows


def stored_vectors(store: Store, encoder: Recorded, side: Side) -> Any:
    """Where the vectors of a side lie, of a multi-vector model. MissingError when not all are stored."""
    _check_stored(store, encoder, side)
    return store.vectors(encoder, side)


def _check_stored(store: Store, encoder: Recorded, side: Side) -> None:
    missing = store.missing(encoder, side)
    if missing:
        raise MissingError(
            f"{store.place}: {len(missing):,} of {len(set(side.hashes)):,} {side.kind}s by "
            f"{encoder.name} are not stored. Run the evaluation again with --store {store.place}, "
            "or name the store that has them."
        )
