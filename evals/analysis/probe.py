"""How well a classifier does that is trained on a model's embeddings of images.

Two kinds are measured, k nearest neighbours and a linear probe, and each becomes a record.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.config.catalog import Benchmark
from evals.config.own_data import OwnBenchmark
from evals.data.sources import source_of
from evals.evaluation.embedding import embed
from evals.evaluation.evaluate import outcome_of
from evals.evaluation.load import Parts, load_parts
from evals.evaluation.outcome import Outcome
from evals.evaluation.recording import Costs, Measurement, content_hash, write_record
from evals.progress import SILENT, Reporter
from evals.schema import ConfigError, InvalidError, LabeledImages
from evals.settings import Settings

if TYPE_CHECKING:
    import numpy as np

    from evals.schema import Encoder
    from evals.tasks.scores import Scores

TITLES = {"knn": "k nearest training images", "linear": "linear probe"}


class Training(NamedTuple):
    """Where the training images are: the split, and its folder (None: that of the test images)."""

    split: str
    folder: Path | None


class Plan(NamedTuple):
    """What is probed: the numbers of neighbours, and a linear probe or none.

    `seed` is that of the choice of its penalty.
    """

    ks: tuple[int, ...]
    linear: bool
    seed: int


class _Rows(NamedTuple):
    """Rows of training and test images at one dimension, normalised; shapes (n, d), float32."""

    train: "np.ndarray"
    test: "np.ndarray"


def check_probed(row: Benchmark) -> None:
    """ConfigError unless images have one class each."""
    if row.metric != "acc@1":
        raise ConfigError(
            f"{row.name}: probes need images with one class each, such as vtab-pets or labels:DIR."
        )


def training_images(
    row: Benchmark, training: Training, parts: Parts, settings: Settings
) -> LabeledImages:
    """The training images.

    InvalidError unless they have the classes of the test images and are others.
    """
    from evals.data import load

    folder = training.folder or settings.data
    split = row.model_copy(update={"split": training.split})
    if isinstance(row, OwnBenchmark):
        parts_of_split = load_parts(split, replace(settings, data=folder, limit=None))
        images = _only(parts_of_split)
    else:
        images = load(row.data, source_of(split, row.subsets, folder))[row.subsets[0]]
    test = _only(parts)
    # Labels are places among the names: in another order each label would mean another class.
    if images.classnames != test.classnames:
        raise InvalidError(
            f"{row.name}: the training images have other classes than the test images. "
            "Check both folders."
        )
    # All of them: a folder given twice by mistake. Some shared images are known of published
    # splits, and are counted in the record instead.
    if set(test.images.hashes) <= set(images.images.hashes):
        raise InvalidError(
            f"{row.name}: all test images are among the training images. "
            "Give a folder of others as --train-data."
        )
    return images


def _only(parts: Parts) -> LabeledImages:
    [images] = parts.subsets.values()
    assert isinstance(images, LabeledImages)  # a classification row has one such subset
    return images


def measure(
    row: Benchmark,
    parts: Parts,
    training: LabeledImages,
    encoder: "Encoder",
    dims: tuple[int, ...],
    settings: Settings,
    plan: Plan,
    *,
    reporter: Reporter = SILENT,
) -> list[Outcome]:
    """Encode both splits once, probe at every dimension, and write a record for each kind of probe."""
    from evals.embeddings.store import Store
    from evals.embeddings.truncation import truncate

    started, costs, store = time.time(), Costs(), Store(settings.store)
    test, [subset] = _only(parts), parts.subsets
    reporter.info(
        f"{row.name} {subset}: {len(test.images):,} images, and {len(training.images):,} "
        f"to learn from, by {encoder.name}"
    )
    full = _Rows(
        embed(store, encoder, training.images, costs, reporter=reporter),
        embed(store, encoder, test.images, costs, reporter=reporter),
    )
    # Where the model runs; the rows lie on the host either way.
    device = "cuda" if encoder.fingerprint.get("device") == "cuda" else "cpu"
    since = time.monotonic()
    scores: dict[str, list[Scores]] = {}
    fits: dict[str, dict[str, Any]] = {}
    for dim in dims:
        # Cut and normalised before training, as an index that keeps `dim` values would have it.
        rows = _Rows(truncate(full.train, dim), truncate(full.test, dim))
        if plan.ks:
            by_k = _nearest(rows, training, test, plan.ks, dim=dim, device=device)
            scores.setdefault("knn", []).extend(by_k)
        if plan.linear:
            score, fits[str(dim)] = _linear(rows, training, test, dim=dim, seed=plan.seed)
            scores.setdefault("linear", []).append(score)
    costs.add("score", since)
    outcomes = []
    for kind, kind_scores in scores.items():
        # A record each, under a name of its own: none is the zero-shot number of the benchmark.
        update = {"name": f"{row.name}.{kind}", "title": f"{row.title}, {TITLES[kind]}"}
        measurement = Measurement(
            row=row.model_copy(update=update),
            encoder=encoder,
            settings=settings,
            parts=parts,
            dims=dims,
            precisions=("float32",),
            scores={subset: kind_scores},
            costs=costs,
            started=started,
            zero_rows=sum(int((~split_rows.any(axis=1)).sum()) for split_rows in full),
        )
        probe: dict[str, Any] = {"kind": kind, "train": _about(training, test)}
        if kind == "linear":
            probe |= {"seed": plan.seed, "fits": fits}
        outcomes.append(outcome_of(measurement, write_record(measurement, probe=probe)))
    return outcomes


def _about(training: LabeledImages, test: LabeledImages) -> dict[str, Any]:
    """What the record says of the training images.

    `shared` counts test images that are among them.
    """
    return {
        "origin": dict(training.origin),
        "content": content_hash(training),
        "images": len(training.images),
        "shared": len(set(test.images.hashes) & set(training.images.hashes)),
    }


def _nearest(
    rows: _Rows,
    training: LabeledImages,
    test: LabeledImages,
    ks: Sequence[int],
    *,
    dim: int,
    device: str,
) -> list["Scores"]:
    from evals.tasks.classification import label_scores
    from evals.tasks.probes import nearest

    classes = len(test.classnames)
    ranks_by_k = nearest(
        rows.train, training.labels, rows.test, test.labels, ks, classes, device=device
    )
    return [
        label_scores(ranks, test.labels, test, dim=dim, direction=f"{k}-NN")
        for k, ranks in ranks_by_k.items()
    ]


def _linear(
    rows: _Rows, training: LabeledImages, test: LabeledImages, *, dim: int, seed: int
) -> tuple["Scores", dict[str, Any]]:
    from evals.tasks.classification import label_scores
    from evals.tasks.probes import linear

    classes = len(test.classnames)
    fit = linear(rows.train, training.labels, rows.test, test.labels, classes, seed=seed)
    about = {name: value for name, value in fit._asdict().items() if name != "ranks"}
    return label_scores(fit.ranks, test.labels, test, dim=dim), about
