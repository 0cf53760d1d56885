"""Zero-shot classification: an image belongs to the class whose vector is most similar to it.

The vector of a class is the mean of its prompts' vectors, each truncated and normalised first, and
normalised again, as in CLIP_benchmark's `zero_shot_classifier`; its logits are 100 times our
scores. `acc@k` is the share of images whose class is among the k most similar, equal scores in
random order; fewer than k classes have no acc@k. Where images have several classes, `mAP` is the
mean over classes of the average precision with which they find their images.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from evals.embeddings.precision import parse_precision, quantise
from evals.embeddings.truncation import truncate
from evals.ranking.definition import TIE, Ranks
from evals.ranking.metric_table import of_queries
from evals.ranking.metrics import mean, tie_rate
from evals.ranking.ranks import ranks
from evals.ranking.relevance import Relevant
from evals.schema import ConfigError, LabeledImages, Side
from evals.stats.intervals import class_mean_interval, mean_intervals
from evals.tasks.scores import Scores, Value


def sides(data: LabeledImages) -> list[Side]:
    """The images, then the prompts."""
    return [data.images, data.texts]


def score(
    rows: Sequence[Float[np.ndarray, "_ d"]],
    data: LabeledImages,
    *,
    dims: Sequence[int],
    precisions: Sequence[str] = ("float32",),
    device: str = "cpu",
) -> list[Scores]:
    """The scores at each dimension and precision, from the rows of images and prompts.

    `rows` are full width. Images and class vectors are kept in the same precision
    (evals.embeddings.precision). Raises ConfigError for rescoring: all classes are ranked.
    """
    kinds = {}
    for name in precisions:
        kinds[name], candidates = parse_precision(name)
        if candidates is not None:
            raise ConfigError(
                f"{name}: classes are few, and are not rescored. Leave --rescore out."
            )
    score_precision = _multilabel if data.multilabel else _single
    image_rows, text_rows = rows
    scores = []
    for dim in dims:
        images = truncate(image_rows, dim)
        classes = class_vectors(text_rows, data.class_of_text, dim)
        for name, kind in kinds.items():
            part = score_precision(
                quantise(images, kind), quantise(classes, kind), data, dim=dim, device=device
            )
            scores.append(part._replace(precision=name))
    return scores


def class_vectors(
    texts: Float[np.ndarray, "texts d"], class_of_text: Int[np.ndarray, "texts"], dim: int
) -> Float32[np.ndarray, "classes {dim}"]:
    """The normalised mean of each class's prompts, in the order of the classes.

    Prompts are truncated and normalised before they are averaged. `class_of_text` is ascending.
    """
    starts = np.flatnonzero(np.diff(class_of_text, prepend=-1))
    # Of the sum: it has the direction of the mean.
    sums = np.add.reduceat(truncate(texts, dim).astype(np.float64), starts, axis=0)
    return truncate(sums, dim)


def label_scores(
    image_ranks: Ranks,
    labels: Int[np.ndarray, "images"],
    data: LabeledImages,
    *,
    dim: int,
    direction: str = "",
) -> Scores:
    """The metrics of images that rank classes, each with the one class that is right.

    Intervals of acc@k resample images, those of the mean over classes resample each class's images
    within the class.
    """
    n_classes = len(data.classnames)
    hits = {
        name: column
        for name, column in of_queries(image_ranks, "classification").items()
        if _is_defined(name, n_classes)
    }
    # Each image is a cluster; classes are as large as they came: acc@k is a mean over images.
    intervals = mean_intervals(hits, np.arange(len(labels)))
    values = {name: Value(mean(column), intervals[name]) for name, column in hits.items()}
    right = hits["acc@1"]
    values["mean_per_class_recall"] = Value(
        mean_per_class(right, labels), class_mean_interval(right, labels)
    )
    return Scores(
        direction=direction,
        dim=dim,
        values=values,
        columns={**vars(image_ranks), "label": labels},
        query_ids=data.images.ids,
        group_ids=data.images.ids,
        n_gallery=n_classes,
        tie_rate=tie_rate(image_ranks),
    )


def mean_per_class(
    values: Float64[np.ndarray, "images"], labels: Int[np.ndarray, "images"]
) -> float:
    """The mean over the classes that have images of the mean over their images."""
    counts = np.bincount(labels)
    sums = np.bincount(labels, weights=values)
    present = counts > 0
    return mean(sums[present] / counts[present])


def average_precision(
    scores: Float64[np.ndarray, "images"], truth: Bool[np.ndarray, "images"], tie: float = TIE
) -> float:
    """The mean over the true images of the precision at their rank, in [0, 1].

    Equal scores (up to `tie`) are in random order, and the value is the expectation. Without true
    images it is 0, as in CLIP_benchmark.
    """
    order = np.argsort(-scores, kind="stable")
    right = truth[order].astype(np.float64)
    # Groups of equal scores: each begins where the score before is higher.
    begins = np.concatenate([[True], -np.diff(scores[order]) > tie])
    starts = np.flatnonzero(begins)
    group = np.cumsum(begins) - 1
    sizes = np.add.reduceat(np.ones(len(right)), starts)
    true_in_group = np.add.reduceat(right, starts)
    true_before = np.cumsum(true_in_group) - true_in_group
    # Of a group of s images with r true ones, behind p true ones, the image at place j (from 0) is
    # a true one with probability r / s. Then j (r - 1) / (s - 1) of those at the places before are.
    place = np.arange(len(right)) - starts[group]
    s, r, p = sizes[group], true_in_group[group], true_before[group]
    true_so_far = p + 1 + place * (r - 1) / np.maximum(s - 1, 1)
    precisions = true_so_far / np.arange(1, len(right) + 1)
    return float((r / s * precisions).sum() / max(right.sum(), 1.0))


def _is_defined(name: str, n_classes: int) -> bool:
    """Whether a metric means something among so many classes: acc@5 of four is 1 for any model."""
    k = int(name.partition("@")[2])
    return k == 1 or k <= n_classes


def _single(
    images: Float32[np.ndarray, "images d"],
    classes: Float32[np.ndarray, "classes d"],
    data: LabeledImages,
    *,
    dim: int,
    device: str,
) -> Scores:
    """Images are the queries, and rank the classes."""
    image_ranks = ranks(images, classes, Relevant.single(data.labels), device=device)
    return label_scores(image_ranks, data.labels, data, dim=dim)


def _multilabel(
    images: Float32[np.ndarray, "images d"],
    classes: Float32[np.ndarray, "classes d"],
    data: LabeledImages,
    *,
    dim: int,
    device: str,
) -> Scores:
    """Classes are the queries, and rank the images.

    A class without images counts as 0, and is no query of the record.
    """
    # All scores at once: there are few classes, and average precision needs every rank.
    scores = classes.astype(np.float64) @ images.astype(np.float64).T
    truths = data.labels.T
    precisions = np.array(
        [average_precision(row, truth) for row, truth in zip(scores, truths, strict=True)]
    )
    labels = np.flatnonzero(truths.any(axis=1))
    relevant = Relevant.from_pairs(np.argwhere(truths[labels]), len(labels))
    class_ranks = ranks(classes[labels], images, relevant, device=device)
    class_ids = [f"{label}:{data.classnames[label]}" for label in labels]
    # Its classes are all there are, not a sample of them: no interval.
    return Scores(
        direction="",
        dim=dim,
        values={"mAP": Value(mean(precisions), None)},
        columns={**vars(class_ranks), "label": labels, "average_precision": precisions[labels]},
        query_ids=class_ids,
        group_ids=class_ids,
        n_gallery=len(images),
        tie_rate=tie_rate(class_ranks),
    )
