"""The worst queries of a record, and the documents that were wrongly preferred: from stored embeddings, nothing is encoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from evals.config.catalog import Benchmark
from evals.embeddings.store import Store
from evals.embeddings.truncation import truncate
from evals.evaluation.load import load_parts
from evals.evaluation.recording import content_hash
from evals.ranking.metrics import expected_rank
from evals.ranking.relevance import Relevant
from evals.records.queries import Cell, ranks_of, table_of, told
from evals.records.record import Run
from evals.schema import (
    ConfigError,
    ImageText,
    InvalidError,
    MissingError,
    NotComparableError,
    Side,
)
from evals.settings import Settings

PREFERRED = 5
CLOSE = 1e-4  # how far a recomputed score may be from the recorded one: the last bits differ with the matmul kernel


class Shown(NamedTuple):
    """A text or an image, an image with the first of its captions; its score with the query, None for the query itself.

    `place` is the index among the texts or images of the data.
    """

    kind: str
    place: int
    id: str
    text: str
    score: float | None


class Mistake(NamedTuple):
    """A query, the expected rank of its best relevant document, that document, and the irrelevant ones ranked above or equal."""

    rank: float
    query: Shown
    gold: Shown
    preferred: list[Shown]


class Worst(NamedTuple):
    """The mistakes of a cell, worst first, of so many queries.

    `wrong` counts those whose first document may be irrelevant.
    """

    run: Run
    cell: Cell
    data: ImageText
    queries: int
    wrong: int
    mistakes: list[Mistake]


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
        raise MissingError(f"{len(side)} {side.kind}s by {self.name} are not in the store.")


def worst(
    run: Run, cell: Cell, *, top: int, data: Path | None = None, store: Path | None = None
) -> Worst:
    """The `top` worst queries of a cell with the documents preferred to their own, from the data and the store of the run.

    `data` and `store` stand in for the places that the record names. ConfigError for a record of
    another kind of task, MissingError for embeddings that are not stored, NotComparableError when
    the data at hand is not what was measured, InvalidError when the stored embeddings do not give
    the recorded scores.
    """
    table = table_of(run, cell)
    ranks = ranks_of(table)
    rank = expected_rank(ranks)
    chosen = [int(i) for i in np.argsort(-rank, kind="stable")[:top] if rank[i] > 1]
    measured = _data(run, cell.subset, data)
    queries, docs, relevant = _sides(measured, cell.direction)
    place = {name: i for i, name in enumerate(queries.ids)}
    names = table["query_id"].to_pylist()
    if unknown := next((name for name in names if name not in place), None):
        raise NotComparableError(
            f"{run.path}: the data at hand has no query {unknown!r}: its ids are others. "
            "Name the copy that was measured, with --data."
        )
    rows = [place[name] for name in names]
    encoder = _encoder(run)
    stored = Store(store or Path(str(run.manifest["config"]["store"])))
    chosen_queries = queries.select([rows[i] for i in chosen])
    x, y = (truncate(_stored(stored, encoder, side), cell.dim) for side in (chosen_queries, docs))
    mistakes = []
    for i, hits in zip(chosen, _preferred(x, y, [relevant[rows[i]] for i in chosen]), strict=True):
        if abs(hits.gold_score - float(ranks.score[i])) > CLOSE:
            raise InvalidError(
                f"{run.path}: {queries.ids[rows[i]]} scored {ranks.score[i]:.6f} with its own, and {hits.gold_score:.6f} from "
                f"the rows in {stored.root}. Run the evaluation again."
            )
        above = hits.preferred[: int(ranks.better[i] + ranks.tied[i])]
        mistakes.append(
            Mistake(
                float(rank[i]),
                _shown(measured, queries.kind, rows[i], None),
                _shown(measured, docs.kind, hits.gold, hits.gold_score),
                [_shown(measured, docs.kind, doc, score) for doc, score in above],
            )
        )
    return Worst(run, cell, measured, len(rank), int((rank > 1).sum()), mistakes)


class _Found(NamedTuple):
    gold: int
    gold_score: float
    preferred: list[tuple[int, float]]


def _preferred(
    x: Float32[np.ndarray, "q d"], y: Float32[np.ndarray, "n d"], relevant: Sequence[np.ndarray]
) -> list[_Found]:
    """The best relevant document of each query, and the best irrelevant ones."""
    from evals.ranking.search import top_k

    if not len(x):
        return []
    most = max(len(gold) for gold in relevant)
    hits_of_queries = []
    for hits in top_k(x, y, PREFERRED + most):
        for i, (docs, scores) in enumerate(zip(hits.docs, hits.scores, strict=True), hits.first):
            gold = relevant[i]
            gold_scores = y[gold].astype(np.float64) @ x[i].astype(np.float64)
            irrelevant = [
                (int(doc), float(score))
                for doc, score in zip(docs, scores, strict=True)
                if doc not in gold
            ]
            hits_of_queries.append(
                _Found(
                    int(gold[gold_scores.argmax()]),
                    float(gold_scores.max()),
                    irrelevant[:PREFERRED],
                )
            )
    return hits_of_queries


def _data(run: Run, subset: str, folder: Path | None) -> ImageText:
    config = run.manifest["config"]
    if config.get("row", {}).get("task") != "image_text":
        raise ConfigError(
            f"{run.path}: {run.manifest['benchmark']} is no benchmark of images and captions; others are not shown."
        )
    place = folder or (Path(config["data"]) if config["data"] else None)
    settings = Settings(
        data=place, subsets=(subset,), limit=config["limit"], allow_subset=config["allow_subset"]
    )
    data = load_parts(Benchmark(**config["row"]), settings).subsets[subset]
    assert isinstance(data, ImageText)  # as its task says
    if content_hash(data) != run.manifest["data"][subset]["content"]:
        raise NotComparableError(
            f"{run.path}: the data of {run.manifest['benchmark']} {subset} at hand is not what was measured. "
            "Name the copy that was, with --data, or run the evaluation again."
        )
    return data


def _encoder(run: Run) -> Recorded:
    told_of = run.manifest["encoder"]
    return Recorded(str(told_of["name"]), int(told_of["dim"]), dict(told_of["fingerprint"]))


def _sides(data: ImageText, direction: str) -> tuple[Side, Side, list[np.ndarray]]:
    """Queries, documents, and the documents relevant to each query."""
    pairs = np.concatenate(
        [np.stack([np.arange(len(data.texts)), data.image_of_text], axis=1), data.also]
    )
    relevant = Relevant.from_pairs(pairs, len(data.texts))
    if direction == "t2i":
        return data.texts, data.images, np.split(relevant.docs, relevant.indptr[1:-1])
    back = relevant.inverse(len(data.images))
    return data.images, data.texts, np.split(back.docs, back.indptr[1:-1])


def _stored(store: Store, encoder: Recorded, side: Side) -> np.ndarray:
    if missing := store.missing(encoder, side):
        raise MissingError(
            f"{store.root}: {len(missing):,} of {len(set(side.hashes)):,} {side.kind}s by {encoder.name} are not stored. "
            f"Run the evaluation again with --store {store.root}, or name the store that has them."
        )
    return store.embed(encoder, side).rows


def _shown(data: ImageText, kind: str, place: int, score: float | None) -> Shown:
    side = data.texts if kind == "text" else data.images
    text = place if kind == "text" else int(np.flatnonzero(data.image_of_text == place)[0])
    return Shown(kind, place, side.ids[place], str(data.texts.items[text]), score)


def chosen_cell(run: Run, subset: str | None, direction: str, dim: int) -> Cell:
    """The cell that is meant, the first subset unless one is named.

    ConfigError with those there are.
    """
    cells = list(
        dict.fromkeys(
            Cell(line.subset, line.direction, line.dim, line.precision) for line in run.metrics
        )
    )
    cell = Cell(subset or (cells[0].subset if cells else ""), direction, dim, "float32")
    if cell not in cells:
        there = (
            "; ".join(told(cell) for cell in cells if cell.dim == dim)
            or "nothing at this dimension"
        )
        raise ConfigError(f"{run.path} has no {told(cell)}. It has {there}.")
    return cell
