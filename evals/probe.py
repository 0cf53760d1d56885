"""How well the classes of a benchmark are told from the embeddings of its training images: k-NN and a linear probe.

python -m evals.probe vtab-pets --model PATH [--data DIR] [--train-data DIR] [--knn 1,5,20] [--no-linear] [--dims 256,64]
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import Options, dims_list, takes_options
from evals.config.catalog import Benchmark, benchmark, resolve_model
from evals.evaluation.evaluate import (
    Costs,
    Outcome,
    Parts,
    checked_dims,
    content_hash,
    embed,
    write_record,
)
from evals.run import Models, build_encoder, finish, load_parts, source_of
from evals.schema import ConfigError, InvalidError, LabeledImages

if TYPE_CHECKING:
    import numpy as np

    from evals.schema import Encoder
    from evals.tasks.scores import Scores

TITLES = {"knn": "k nearest training images", "linear": "linear probe"}
app = new_app()


@app.command()
@takes_options
def probe(
    options: dict[str, Any],
    name: Annotated[
        str,
        typer.Argument(
            metavar="BENCHMARK", help="Classification row of configs/classification.yaml."
        ),
    ],
    model: Models = ["tiny"],  # noqa: B006 - typer copies it
    train_data: Annotated[
        Path | None, typer.Option(help="Folder of the training images; --data unless given.")
    ] = None,
    train_split: Annotated[str, typer.Option(help="Split of the training images.")] = "train",
    knn: Annotated[str, typer.Option(help="Numbers of neighbours; `0` for none.")] = "1,5,20",
    linear: Annotated[bool, typer.Option(help="Fit a logistic regression too.")] = True,
    dims: Annotated[
        str | None, typer.Option(help="Dimensions to score, e.g. 256,64; full width unless given.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of the choice of images on which the penalty is chosen.")
    ] = 0,
) -> None:
    """Probe stored embeddings of images: records BENCHMARK.knn and BENCHMARK.linear, measured on the row's own split."""
    with reported(json=options["json"]) as log:
        given = Options(**options)
        row, ks = benchmark(name), () if knn.strip() == "0" else dims_list(knn, "--knn") or ()
        if row.metric != "acc@1":
            raise ConfigError(
                f"{name}: probes need a row of images with one class each, such as vtab-pets."
            )
        if not ks and not linear:
            raise ConfigError("--knn 0 --no-linear: nothing is left to measure.")
        test = load_parts(row, given)
        train = _train(row, replace(given, data=train_data or given.data), train_split, test)
        outcomes = []
        for one in dict.fromkeys(model):
            encoder = build_encoder(resolve_model(one), given)
            wanted = checked_dims(dims_list(dims) or (encoder.dim,), encoder)
            outcomes += _probes(
                row,
                test,
                train,
                encoder,
                wanted,
                given,
                log,
                ks=sorted(set(ks)),
                linear=linear,
                seed=seed,
            )
        finish(outcomes, [], log)


def _train(row: Benchmark, options: Options, split: str, test: Parts) -> LabeledImages:
    """The training images, which must have the classes of the test images and be others."""
    from evals.data import load

    source = source_of(row.model_copy(update={"split": split}), row.subsets, options.data)
    found: LabeledImages = load(row.data, source)[row.subsets[0]]
    [measured] = test.subsets.values()
    if not isinstance(measured, LabeledImages) or found.classnames != measured.classnames:
        raise InvalidError(
            f"{row.name}: the training images have other classes than the test images. Check both folders."
        )
    if set(measured.images.hashes) <= set(found.images.hashes):
        raise InvalidError(
            f"{row.name}: all test images are among the training images. Give a folder of others as --train-data."
        )
    return found


def _probes(
    row: Benchmark,
    test: Parts,
    train: LabeledImages,
    encoder: "Encoder",
    dims: Sequence[int],
    options: Options,
    log: Log,
    *,
    ks: Sequence[int],
    linear: bool,
    seed: int,
) -> list[Outcome]:
    """Encode both splits once, probe at every dimension, and write a record for each kind of probe."""
    from evals.embeddings.store import Store
    from evals.embeddings.truncation import truncate

    started, costs, store = time.time(), Costs(), Store(options.store)
    [(subset, data)] = test.subsets.items()
    assert isinstance(data, LabeledImages)
    log.info(
        f"{row.name} {subset}: {len(data.images):,} images, and {len(train.images):,} to learn from, by {encoder.name}"
    )
    known, asked = (embed(store, encoder, side, log, costs) for side in (train.images, data.images))
    where = "cuda" if encoder.fingerprint.get("device") == "cuda" else "cpu"
    since = time.monotonic()
    kinds: dict[str, list[Scores]] = {
        kind: [] for kind, wanted in (("knn", ks), ("linear", linear)) if wanted
    }
    fits: dict[str, dict[str, Any]] = {}
    for dim in dims:
        x, y = truncate(known, dim), truncate(asked, dim)
        if ks:
            kinds["knn"] += _nearest(x, y, train, data, ks, dim, where)
        if linear:
            scores, fits[str(dim)] = _linear(x, y, train, data, dim, seed)
            kinds["linear"].append(scores)
    costs.add("score", since)
    zero_rows = sum(int((~rows.any(axis=1)).sum()) for rows in (known, asked))
    outcomes = []
    for kind, found in kinds.items():
        own = row.model_copy(
            update={"name": f"{row.name}.{kind}", "title": f"{row.title}, {TITLES[kind]}"}
        )
        told = {"kind": kind, "train": _told(train, data)} | (
            {"seed": seed, "fits": fits} if kind == "linear" else {}
        )
        parts = (
            own,
            encoder,
            dims,
            options,
            test.subsets,
            test.partial,
            {subset: found},
            costs,
            started,
            zero_rows,
        )
        outcomes.append(
            Outcome(
                write_record(*parts, probe=told),
                own,
                encoder.name,
                test.partial,
                dict(costs.encoded),
                {subset: found},
            )
        )
    return outcomes


def _told(train: LabeledImages, test: LabeledImages) -> dict[str, Any]:
    """What the record says of the training images; `shared` counts test images that are among them."""
    shared = len(set(test.images.hashes) & set(train.images.hashes))
    return {
        "origin": dict(train.origin),
        "content": content_hash(train),
        "images": len(train.images),
        "shared": shared,
    }


def _nearest(
    x: "np.ndarray",
    y: "np.ndarray",
    train: LabeledImages,
    data: LabeledImages,
    ks: Sequence[int],
    dim: int,
    device: str,
) -> list["Scores"]:
    from evals.tasks.classification import label_scores
    from evals.tasks.probes import nearest

    found = nearest(x, train.labels, y, data.labels, ks, len(data.classnames), device=device)
    return [
        label_scores(ranks, data.labels, data, dim=dim, direction=f"{k}-NN")
        for k, ranks in found.items()
    ]


def _linear(
    x: "np.ndarray", y: "np.ndarray", train: LabeledImages, data: LabeledImages, dim: int, seed: int
) -> tuple["Scores", dict[str, Any]]:
    from evals.tasks.classification import label_scores
    from evals.tasks.probes import linear

    fit = linear(x, train.labels, y, data.labels, len(data.classnames), seed=seed)
    return label_scores(fit.ranks, data.labels, data, dim=dim), {
        k: v for k, v in fit._asdict().items() if k != "ranks"
    }


if __name__ == "__main__":
    exit_with(app)
