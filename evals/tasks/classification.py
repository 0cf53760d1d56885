"""Zero-shot classification: an image belongs to the class whose vector is most similar to it.

The vector of a class is the mean of its prompts' vectors, each truncated and normalised first, and normalised again, as in
CLIP_benchmark's `zero_shot_classifier`; its logits are 100 times our scores. `acc@k` is the share of images whose class is among
the k most similar, equal scores in random order; fewer than k classes have no acc@k. Where images have several classes, `mAP`
is the mean over classes of the average precision with which they find their images.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from evals.embeddings.precision import parse_precision, quantise
from evals.embeddings.truncation import truncate
from evals.ranking.definition import TIE, Ranks
from evals.ranking.metrics import hit_at, mean, tie_rate
from evals.ranking.ranks import ranks
from evals.ranking.relevance import Relevant
from evals.schema import ConfigError, LabeledImages, Side
from evals.stats.bootstrap import cluster_bootstrap, stratified_bootstrap
from evals.tasks.scores import Scores, Value

KS = (1, 5)


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
    """The scores at each dimension and precision, from the full-width rows of images and prompts.

    Images and class vectors are kept in the same precision (evals.embeddings.precision). ConfigError for rescoring: all classes
    are ranked.
    """
    kinds = {name: parse_precision(name) for name in precisions}
    if rescored := [name for name, kind in kinds.items() if kind.rescore]:
        raise ConfigError(
            f"{rescored[0]}: classes are few, and are not rescored. Leave --rescore out."
        )
    images, texts = rows
    of, found = _multilabel if data.multilabel else _single, []
    for dim in dims:
        x, classes = truncate(images, dim), class_vectors(texts, data.class_of_text, dim)
        for name, (kind, _) in kinds.items():
            scores = of(quantise(x, kind), quantise(classes, kind), data, dim=dim, device=device)
            found.append(scores._replace(precision=name))
    return found


def class_vectors(
    texts: Float[np.ndarray, "texts d"], class_of_text: Int[np.ndarray, "texts"], dim: int
) -> Float32[np.ndarray, "classes {dim}"]:
    """The normalised mean of each class's prompts, averaged after they were truncated and normalised; classes in their order."""
    starts = np.flatnonzero(np.diff(class_of_text, prepend=-1))
    sums = np.add.reduceat(truncate(texts, dim).astype(np.float64), starts, axis=0)
    return truncate(sums, dim)


def label_scores(
    found: Ranks,
    labels: Int[np.ndarray, "images"],
    data: LabeledImages,
    *,
    dim: int,
    direction: str = "",
) -> Scores:
    """The metrics of images that rank classes, each with the one class that is right.

    Intervals of acc@k resample images, those of the mean over classes resample each class's images within the class.
    """
    n_classes, every = len(data.classnames), np.arange(len(labels))
    hits = {f"acc@{k}": hit_at(found, k) for k in KS if k == 1 or k <= n_classes}
    intervals = cluster_bootstrap(hits, every)
    values = {name: Value(mean(column), intervals[name]) for name, column in hits.items()}
    values["mean_per_class_recall"] = Value(
        mean_per_class(hits["acc@1"], labels), stratified_bootstrap(hits["acc@1"], labels)
    )
    columns = {**vars(found), "label": labels}
    return Scores(
        direction,
        dim,
        values,
        columns,
        data.images.ids,
        data.images.ids,
        n_classes,
        tie_rate(found),
    )


def mean_per_class(
    values: Float64[np.ndarray, "images"], labels: Int[np.ndarray, "images"]
) -> float:
    """The mean over the classes that have images of the mean over their images."""
    counts = np.bincount(labels)
    return mean((np.bincount(labels, weights=values) / np.maximum(counts, 1))[counts > 0])


def average_precision(
    scores: Float64[np.ndarray, "images"], truth: Bool[np.ndarray, "images"], tie: float = TIE
) -> float:
    """The mean over the true images of the precision at their rank, equal scores (up to `tie`) in random order.

    Of a group of s equal scores with r true ones, behind g images with p true ones, the j-th place holds a true one with
    probability r/s, and then has p + 1 + (j-1)(r-1)/(s-1) true ones up to it. Without true images it is 0, as in CLIP_benchmark.
    """
    order = np.argsort(-scores, kind="stable")
    right = truth[order].astype(np.float64)
    heads = np.concatenate([[True], -np.diff(scores[order]) > tie])
    starts = np.flatnonzero(heads)
    group = np.cumsum(heads) - 1
    size, own = np.add.reduceat(np.ones(len(right)), starts), np.add.reduceat(right, starts)
    before = np.cumsum(own) - own
    place = np.arange(len(right)) - starts[group]
    others = place * (own[group] - 1) / np.maximum(size[group] - 1, 1)
    precision = (before[group] + 1 + others) / (np.arange(len(right)) + 1)
    return float((own[group] / size[group] * precision).sum() / max(right.sum(), 1.0))


def _single(
    images: Float32[np.ndarray, "images d"],
    classes: Float32[np.ndarray, "classes d"],
    data: LabeledImages,
    *,
    dim: int,
    device: str,
) -> Scores:
    found = ranks(images, classes, Relevant.single(data.labels), device=device)
    return label_scores(found, data.labels, data, dim=dim)


def _multilabel(
    images: Float32[np.ndarray, "images d"],
    classes: Float32[np.ndarray, "classes d"],
    data: LabeledImages,
    *,
    dim: int,
    device: str,
) -> Scores:
    """Classes are the queries, and find their images; a class without any counts as 0 and is no query of the record."""
    scores = classes.astype(np.float64) @ images.astype(np.float64).T
    precisions = np.array(
        [average_precision(row, truth) for row, truth in zip(scores, data.labels.T, strict=True)]
    )
    there = np.flatnonzero(data.labels.any(axis=0))
    pairs = np.argwhere(data.labels.T[there])
    found = ranks(classes[there], images, Relevant.from_pairs(pairs, len(there)), device=device)
    columns = {**vars(found), "label": there, "average_precision": precisions[there]}
    ids = [f"{label}:{data.classnames[label]}" for label in there]
    values = {"mAP": Value(mean(precisions), None)}
    return Scores("", dim, values, columns, ids, ids, len(images), tie_rate(found))
