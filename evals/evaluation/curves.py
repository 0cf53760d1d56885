"""Curves over gallery sizes, made while a benchmark is scored: distractors are embedded, then counted."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.evaluation.distractors import (
    Distractors,
    Joining,
    captions_joining,
    images_joining,
)
from evals.evaluation.embedding import embed_on_disk
from evals.evaluation.recording import Costs
from evals.progress import SILENT, Reporter
from evals.schema import ConfigError, Data, ImageText

if TYPE_CHECKING:  # the rest is imported where it is used, so that --help answers at once
    from evals.embeddings.rows import RowSource
    from evals.embeddings.store import Store
    from evals.ranking.streamed import Gallery
    from evals.schema import Encoder
    from evals.tasks.gallery_curve import Curve
    from evals.tasks.scores import Scores

BLOCK_ROWS = 2**15  # 128 MB of 1,024 dimensions, and all that an accelerator takes at once


class CurveMaker:
    """The distractors of one benchmark by one model: images for all subsets, captions for each.

    The same distractors are embedded once and read once for all subsets, as far as the queries of
    all fit into `memory` bytes beside what else is held. ConfigError when finished rows are of
    another width than the model's.
    """

    def __init__(
        self,
        distractors: Distractors,
        parts: Mapping[str, Data],
        encoder: "Encoder",
        store: "Store",
        costs: Costs,
        *,
        memory: int,
        device: str = "cpu",
        reporter: Reporter = SILENT,
    ) -> None:
        from evals.tasks.gallery_curve import CurveCounter

        for kind, rows in distractors.rows.items():
            if rows.shape[1] != encoder.dim:
                raise ConfigError(
                    f"--distractors {distractors.source}: {kind}s have {rows.shape[1]} values, and "
                    f"those of {encoder.name} {encoder.dim}. Give rows of the same model."
                )
        self.distractors, self.encoder, self.store = distractors, encoder, store
        self.costs, self.reporter = costs, reporter
        for subset in parts:
            distractors.captions_for(subset)  # a language without captions is refused now
        captioned = [data for data in parts.values() if isinstance(data, ImageText)]
        # Of all subsets: what is an answer in one language is no distractor in another.
        self._answers = {content for data in captioned for content in data.images.hashes}
        self._images = images_joining(distractors, self._answers)
        self._counts: dict[str, dict[str, dict[str, int]]] = {}
        self._counter = CurveCounter(memory=memory, device=device)
        self._subsets: list[str] = []  # of each search that the counter has
        self._galleries: dict[str, Gallery] = {}

    @property
    def entry(self) -> dict[str, Any]:
        """What the manifest says of the distractors of the subsets so far."""
        return {
            "source": self.distractors.source,
            "origin": dict(self.distractors.origin),
            "counts": self._counts,
        }

    def add(
        self,
        subset: str,
        rows: Sequence["RowSource"],
        data: ImageText,
        scores: Sequence["Scores"],
    ) -> None:
        """Take a subset, with its rows and its scores without distractors; its curves are made in the end."""
        from evals.tasks.image_text import searches

        joining = {
            "image": self._images,
            "text": captions_joining(self.distractors, subset, data, self._answers),
        }
        self._counts[subset] = {}
        for kind, search in searches(rows, data).items():
            items = joining[kind]
            if items is None:
                continue
            self._counts[subset][kind] = items.counts
            self.reporter.info(f"{subset}: {_in_words(kind, items)}")
            # All subsets have the images of one joining; captions may be those of another, too.
            name = kind if kind == "image" or items.rows is not None else _content(items)
            if name not in self._galleries:
                self._galleries[name] = self._gallery(items)
            self._subsets.append(subset)
            self._counter.add(name, self._galleries[name], search, scores)

    def finish(self) -> dict[str, list["Curve"]]:
        """The curves of all subsets."""
        curves: dict[str, list[Curve]] = {subset: [] for subset in self._counts}
        for subset, searched in zip(self._subsets, self._counter.finish(), strict=True):
            curves[subset] += searched
        return curves

    def _gallery(self, items: Joining) -> "Gallery":
        """The blocks of all distractors, embedded by now."""
        from evals.ranking.streamed import blocks_of

        if items.rows is not None:
            rows = items.rows
            return lambda: blocks_of(rows, BLOCK_ROWS)
        stored = [
            embed_on_disk(self.store, self.encoder, side, self.costs, reporter=self.reporter)
            for side in items.sides
        ]

        def blocks() -> Iterator[np.ndarray]:
            for side_rows in stored:
                for block in side_rows.blocks(BLOCK_ROWS):
                    yield block.rows

        return blocks


def _content(items: Joining) -> str:
    """What tells captions of one subset from those of another."""
    digest = hashlib.sha256()
    for side in items.sides:
        for content in side.hashes:
            digest.update(content.encode())
    return digest.hexdigest()


def _in_words(kind: str, items: Joining) -> str:
    counts = items.counts
    return (
        f"{counts['distractors']:,} {kind}s as distractors; left out: {counts['in_benchmark']:,} of "
        f"the benchmark, {counts['repeated']:,} that repeat another"
    )
