"""Scores embeddings in a program's memory, as those of any model are scored."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from evals.library.evaluating import evaluate
from evals.library.runs import RESULTS, Run
from evals.schema import ImageText, InvalidError, Side


def score(
    images: ArrayLike,
    texts: ArrayLike,
    image_of_text: ArrayLike,
    *,
    model: str = "rows",
    benchmark: str = "rows",
    dims: Sequence[int] | None = None,
    precisions: Sequence[str] = ("float32",),
    results: str | Path = RESULTS,
) -> Run:
    """Score embeddings that are there already, of any model.

    `images` are real numbers of shape (i, d), `texts` of (t, d), `image_of_text` whole ones of
    (t,): `image_of_text[j]` is the row of the image that text j describes. Rows are cut, normalised
    and ranked as those of every model are, and the record carries the names `benchmark` and
    `model`. Raises InvalidError for NaN, for widths that differ, and for an image without a text.
    """
    from evals.encoders.objects import ArrayEncoder

    rows = {"image": np.asarray(images), "text": np.asarray(texts)}
    n_images, n_texts = map(len, rows.values())
    places = np.asarray(image_of_text)
    whole = places.dtype.kind in "iu"  # truths would choose rows, and not name them
    if not whole or places.shape != (n_texts,) or set(places.tolist()) != {*range(n_images)}:
        raise InvalidError(
            f"image_of_text must hold one row of images for each of the {n_texts} texts, and "
            f"every one of the {n_images} images once or more."
        )
    # Rows have no content to be hashed: each item is known by its place, and so is its row.
    image_ids = [f"image {place}" for place in range(n_images)]
    text_ids = [f"text {place}" for place in range(n_texts)]
    data = ImageText(
        Side("image", image_ids, image_ids, image_ids),
        Side("text", text_ids, text_ids, text_ids),
        places,
        {"layout": "rows"},
    )
    encoder = ArrayEncoder(rows, {"image": image_ids, "text": text_ids}, name=model)
    return evaluate(
        data,
        encoder,
        dims=dims,
        precisions=precisions,
        name=benchmark,
        results=results,
        # The rows are the caller's already: a copy in the store would serve nobody.
        store=None,
    )
