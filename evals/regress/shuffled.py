"""Chance, found: with pairs of images and texts mixed up, the same embeddings must rank no better than a random order.

It needs embeddings, and so belongs to --noise, which has just made them, and not to the gate.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evals.cli.options import Options
from evals.config.catalog import ModelRef, benchmarks
from evals.schema import ImageText

WITHIN = (
    0.1  # of the gallery, around the mean rank of a random order: 3 standard errors at 100 queries
)


def shuffled_ranks(
    benchmark: str, ref: ModelRef, data: Path | None, store: Path
) -> list[dict[str, Any]]:
    """For each subset the mean rank of t2i as a share of the gallery when every text has another image, drawn with seed 0.

    `chance` says whether it is that of a random order, 0.5. From stored embeddings; what is missing is encoded. Empty for
    benchmarks without pairs of images and texts.
    """
    row = benchmarks().get(benchmark)
    if row is None or row.task != "image_text":
        return []
    from evals.embeddings.store import Store
    from evals.run import build_encoder, load_parts
    from evals.tasks import task_of

    options = Options(data=data, store=store)
    encoder, task, found = build_encoder(ref, options), task_of(row.task), []
    for subset, part in load_parts(row, options).subsets.items():
        assert isinstance(part, ImageText)  # as the row's task says
        rows = [Store(store).embed(encoder, side)[0] for side in task.sides(part)]
        every = task.score(
            rows, mixed_up(part), dims=[encoder.dim], precisions=("float32",), device="cpu"
        )
        scores = next(scores for scores in every if scores.direction == "t2i")
        share = scores.values["mean_rank"].value / (scores.n_gallery + 1)
        found.append(
            {"subset": subset, "mean_rank_share": share, "chance": abs(share - 0.5) < WITHIN}
        )
    return found


def mixed_up(data: ImageText) -> ImageText:
    """The same images and texts, and each text with the image that a permutation puts in the place of its own."""
    order = np.random.default_rng(0).permutation(len(data.images))
    also = np.stack([data.also[:, 0], order[data.also[:, 1]]], axis=1)
    return replace(data, image_of_text=order[data.image_of_text], also=also)
