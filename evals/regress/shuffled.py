"""Mixes up the pairs of images and texts: the same embeddings must then rank by chance.

This needs embeddings. So it belongs to --noise, which has just made them, and not to the gate.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evals.config.catalog import benchmarks
from evals.config.models import ModelRef
from evals.evaluation.load import build_encoder, load_parts
from evals.schema import ImageText
from evals.settings import Settings

# share of the gallery around the mean rank of a random order: 3 standard errors at 100 queries
WITHIN = 0.1


def shuffled_ranks(
    benchmark: str, ref: ModelRef, data: Path | None, store: Path
) -> list[dict[str, Any]]:
    """Per subset the mean rank of t2i as a share of the gallery, each text with a random image.

    The images are drawn with seed 0. `chance` says whether the share is that of a random order,
    0.5. Rows come from the store; what is missing is encoded. Empty for benchmarks without pairs.
    """
    row = benchmarks().get(benchmark)
    if row is None or row.task != "image_text":
        return []
    from evals.embeddings.store import Store
    from evals.tasks import task_of

    settings = Settings(data=data, store=store)
    encoder, task = build_encoder(ref, settings), task_of(row.task)
    shares = []
    for subset, part in load_parts(row, settings).subsets.items():
        assert isinstance(part, ImageText)  # as the row's task says
        rows = [Store(store).embed(encoder, side)[0] for side in task.sides(part)]
        scores = task.score(
            rows, mixed_up(part), dims=[encoder.dim], precisions=("float32",), device="cpu"
        )
        # t2i is enough: both directions are made of the same products
        t2i = next(score for score in scores if score.direction == "t2i")
        share = t2i.values["mean_rank"].value / (t2i.n_gallery + 1)
        chance = abs(share - 0.5) < WITHIN
        shares.append({"subset": subset, "mean_rank_share": share, "chance": chance})
    return shares


def mixed_up(data: ImageText) -> ImageText:
    """The same images and texts, the images permuted among the texts."""
    # seed 0, so that a repeat mixes the same pairs up
    order = np.random.default_rng(0).permutation(len(data.images))
    also = np.stack([data.also[:, 0], order[data.also[:, 1]]], axis=1)
    return replace(data, image_of_text=order[data.image_of_text], also=also)
