"""Crossmodal-3600's whole job: one model, 36 languages, six dimensions, both directions, against CLIP_benchmark's own loop.

python -m benchmarks.multilingual [--small] [--device cuda] [--images N] [--width N] [--languages N] [--runs N]

Ours is `evals.run.evaluate` as users run it, into an empty store: it verifies, encodes, scores with intervals and writes the
record. The peer is `clip_benchmark.metrics.zeroshot_retrieval.evaluate`, once per language and dimension: it stores nothing and
knows no truncation, so that each dimension is a run of its own, as each language is. Both get the same loaded model, the same
JPEG files and the same captions.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.harness import finish, parse, race
from benchmarks.synthetic import words_of, write_captions, write_photos

if (
    TYPE_CHECKING
):  # the model and the peer are imported where they are used, so that --help answers at once
    from evals.encoders.jina import JinaEncoder
    from jina_clip import JinaCLIP

TINY = Path(__file__).parents[1] / "configs" / "tiny"
DIMS = {"cpu": (256, 128, 64, 32, 16, 8), "cuda": (1024, 768, 512, 256, 128, 64)}
CAPTIONS = 2  # of an image, in each language
BATCH = 64  # of the peer, its default
KS = (1, 5, 10)
RUNS = 24  # of the peer that a full-size benchmark measures: all of them would take hours

Recalls = dict[tuple[str, int], dict[str, float]]  # by language and dimension


class Data(NamedTuple):
    """The image files, and every language's captions: those of image i are `captions[language][2 * i : 2 * i + 2]`."""

    images: list[Path]
    captions: Mapping[str, list[str]]


class Clocked(NamedTuple):
    """What a function returned, and the seconds it took: on the clock, and of CPU time, which a busy machine stretches less."""

    value: Any
    spent: np.ndarray


def main() -> None:
    os.environ.setdefault("TQDM_DISABLE", "1")  # the peer draws a bar per run
    args = parse(__doc__ or "", _options)
    n_images = args.images or (50 if args.small else 3600)
    rounds = args.rounds or (6 if args.small else 1)
    dims = DIMS[args.device.partition(":")[0]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoder = _encoder(folder, args.device)
        data = make_data(
            folder / "images", n_images, args.width, args.languages, words_of(encoder.model)
        )
        every = list(itertools.product(data.captions, dims))
        runs = _spread(every, args.runs or (None if args.small else RUNS))
        # what they import, and the kernels that oneDNN compiles for the model they share, are not measured
        ours(encoder, data, dims, folder), peer(encoder.model, data, runs[:1], args)
        slices = [runs[i::rounds] for i in range(rounds)]
        turns = iter(
            [slices[0], *slices]
        )  # the uncounted round, then each run once: ours is measured all along them
        mine: dict[str, list[Clocked]] = {"ours": [], "ours, one dimension": []}
        theirs: dict[tuple[str, int], Clocked] = {}
        laps, _ = race(
            {
                "ours": lambda: mine["ours"].append(
                    _clocked(lambda: ours(encoder, data, dims, folder))
                ),
                "ours, one dimension": lambda: mine["ours, one dimension"].append(
                    _clocked(lambda: ours(encoder, data, dims[:1], folder))
                ),
                f"CLIP_benchmark, 1/{rounds} of its runs": lambda: theirs.update(
                    peer(encoder.model, data, next(turns), args)
                ),
            },
            rounds=rounds,
            device=args.device,
        )
    widest = [run for run in runs if run[1] == dims[0]]
    whole = np.mean([it.spent for it in theirs.values()], axis=0) * len(every)
    one = np.mean([theirs[run].spent for run in widest], axis=0) * len(data.captions)
    part = (
        f"; peer measured on {len(runs)} of {len(every)} runs, times {len(every)}/{len(runs)}"
        if len(runs) < len(every)
        else ""
    )
    cases = {
        f"{len(dims)} dimensions{part}": whole
        / np.mean([it.spent for it in mine["ours"][1:]], axis=0),
        f"one dimension{part}": one
        / np.mean([it.spent for it in mine["ours, one dimension"][1:]], axis=0),
    }
    found = mine["ours"][-1].value
    queries = {"t2i": CAPTIONS * n_images, "i2t": n_images}
    apart = {
        way: [abs(found[run][key] - theirs[run].value[key]) for run in runs for key in _keys(way)]
        for way in queries
    }
    finish(
        "multilingual",
        args,
        conditions={
            "model": "configs/tiny, float32"
            if args.device == "cpu"
            else "V2 with random weights, bfloat16",
            "images": f"{n_images} JPEG files of {args.width}x{args.width * 3 // 4}; every run of the peer decodes them again",
            "texts": f"{CAPTIONS * n_images} in each of {args.languages} languages",
            "dims": dims,
            "ours": "evals.run.evaluate into an empty store, batches of 32: hash, verify, encode, score, intervals, record",
            "peer": "zeroshot_retrieval.evaluate once a language and dimension; no truncation there: a dimension is a run",
            "peer's loader": f"batches of {BATCH}, {args.workers} workers; texts padded to the longest of a batch, not to 77",
            "in the peer's favour": "one model, loaded outside the timing; its CLI loads model and data again in every run",
            "ratios": "the sum of the peer's runs over the mean of our rounds, which take turns with the peer's runs",
        },
        laps={"the whole job": laps},
        ratios={
            f"{args.languages} languages, {case}: {clock}": float(ratio)
            for case, both in cases.items()
            for clock, ratio in zip(("time", "CPU time"), both, strict=True)
        },
        # rounding may move one query across k, and the peer's means are float32
        differences={
            f"{way} recall": (max(apart[way]), 1 / count + 1e-6) for way, count in queries.items()
        },
        figures={
            "our peak of memory over the peer's": laps["ours"].peak_mb
            / max(list(laps.values())[-1].peak_mb, 1.0),
            "recalls that differ": f"{sum(d > 1e-6 for way in apart for d in apart[way])} of {sum(map(len, apart.values()))}",
            "images encoded, ours and the peer's": f"{n_images} and {n_images * len(every)}",
            "texts encoded, ours and the peer's": f"{queries['t2i'] * args.languages} and {queries['t2i'] * len(every)}",
        },
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(
        rounds=None
    )  # 6 with --small, else 1: the peer's runs are shared out among them
    parser.add_argument(
        "--images", type=int, help="how many images; 3,600, or 50 with --small, unless given"
    )
    parser.add_argument(
        "--width", type=int, default=640, help="of the images, in pixels, which are 4:3 (640)"
    )
    parser.add_argument("--languages", type=int, default=36, help="how many languages (36)")
    parser.add_argument(
        "--runs",
        type=int,
        help=f"measure so many runs of the peer only; all with --small, else {RUNS}",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        help="of the peer's DataLoader (0: its fastest on 2 cores)",
    )


def ours(encoder: "JinaEncoder", data: Data, dims: Sequence[int], folder: Path) -> Recalls:
    """Everything a user's command does after the model is loaded: hashes, verification, embeddings, scores, record."""
    from evals.config.catalog import Benchmark
    from evals.evaluation.evaluate import evaluate
    from evals.evaluation.load import Parts
    from evals.settings import Settings

    count = len(data.images)
    row = Benchmark(
        name="xm", title="XM", task="image_text", data="captions", subsets=tuple(data.captions), split="test",
        images=count, texts=CAPTIONS * count,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        settings = Settings(
            results=Path(fresh) / "runs", store=Path(fresh) / "store", device=encoder.device
        )
        outcome = evaluate(row, Parts(_subsets(data), None), encoder, dims, settings)
    found: Recalls = {}
    for language, every in outcome.scores.items():
        for scores in every:
            values = {f"{scores.direction}/R@{k}": scores.values[f"R@{k}"].value for k in KS}
            found.setdefault((language, scores.dim), {}).update(values)
    return found


def peer(
    model: "JinaCLIP", data: Data, runs: Sequence[tuple[str, int]], args: argparse.Namespace
) -> tuple[Recalls, list[float]]:
    """CLIP_benchmark's own function for each of the runs (language, dimension), and the seconds of each."""
    from clip_benchmark.datasets.builder import image_captions_collate_fn
    from clip_benchmark.metrics.zeroshot_retrieval import evaluate
    from torch.utils.data import DataLoader

    device = args.device.partition(":")[0]  # autocast knows no cuda:1

    def run(language: str, dim: int) -> dict[str, float]:
        items = _Items(model, data.images, data.captions[language])
        loader = DataLoader(
            items, batch_size=BATCH, num_workers=args.workers, collate_fn=image_captions_collate_fn
        )
        values = evaluate(
            _Truncated(model, dim),
            loader,
            _tokenizer(model),
            device,
            amp=False,
            recall_k_list=list(KS),
        )
        names = {"t2i": "image_retrieval", "i2t": "text_retrieval"}
        return {
            f"{way}/R@{k}": values[f"{name}_recall@{k}"] for way, name in names.items() for k in KS
        }

    return {(language, dim): _clocked(partial(run, language, dim)) for language, dim in runs}


def _clocked(run: Callable[[], Any]) -> Clocked:
    start = _clocks()
    value = run()
    return Clocked(value, _clocks() - start)


def _clocks() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def _keys(way: str) -> list[str]:
    return [f"{way}/R@{k}" for k in KS]


class _Items:
    """The peer's data set: preprocessed pixels and captions of an image, as its Crossmodal3600 reads them."""

    def __init__(self, model: "JinaCLIP", images: Sequence[Path], captions: Sequence[str]) -> None:
        self.model, self.images, self.captions = model, images, captions

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, list[str]]:
        from PIL import Image

        pixels = self.model.preprocess(Image.open(self.images[index]).convert("RGB"))
        return pixels, list(self.captions[CAPTIONS * index : CAPTIONS * (index + 1)])


class _Truncated:
    """The model as the peer wants it, with the first `dim` values of its embeddings."""

    def __init__(self, model: "JinaCLIP", dim: int) -> None:
        self.model, self.dim = model, dim

    def encode_image(self, pixels: Any) -> Any:
        return self.model.get_image_features(pixels)[:, : self.dim]

    def encode_text(self, ids: Any) -> Any:
        return self.model.get_text_features(ids)[:, : self.dim]


def _tokenizer(model: "JinaCLIP") -> Callable[[list[str]], Any]:
    """Token ids padded to the longest text, which is less work than the peer's usual 77."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    def ids(texts: list[str]) -> Any:
        encoded = model.tokenizer.encode_batch(texts)
        return pad_sequence(
            [torch.tensor(e.ids) for e in encoded],
            batch_first=True,
            padding_value=model.config.text.pad_token_id,
        )

    return ids


def _subsets(data: Data) -> dict[str, Any]:
    from evals.data.images import content_hash, image_files
    from evals.schema import ImageText, Side

    files = image_files(data.images)
    ids = [path.name for path in data.images]
    images = Side("image", files, ids, [content_hash(files.read(i)) for i in range(len(files))])
    image_of_text = np.repeat(np.arange(len(ids)), CAPTIONS)
    text_ids = [f"{ids[image]}#{n}" for image in range(len(ids)) for n in range(CAPTIONS)]
    return {
        language: ImageText(
            images,
            Side("text", texts, text_ids, [content_hash(t.encode()) for t in texts]),
            image_of_text,
            {},
        )
        for language, texts in data.captions.items()
    }


def make_data(
    folder: Path, n_images: int, width: int, n_languages: int, words: Sequence[str]
) -> Data:
    """Photo-like images, and captions in languages that share words."""
    folder.mkdir()
    paths = [folder / f"{i:04}.jpg" for i in range(n_images)]
    write_photos(paths, width)
    captions = {
        f"l{n:02}": write_captions(CAPTIONS * n_images, words, seed=n) for n in range(n_languages)
    }
    return Data(paths, captions)


def _encoder(folder: Path, device: str) -> "JinaEncoder":
    from evals.encoders.jina import JinaEncoder

    checkpoint = TINY if device == "cpu" else _full_size(folder / "v2")
    encoder = JinaEncoder(name="benchmarked", folder=checkpoint, device=device)
    encoder.model.eval()  # loads it
    return encoder


def _full_size(folder: Path) -> Path:
    import torch

    from jina_clip import V2, JinaCLIP

    torch.manual_seed(0)
    return JinaCLIP(
        V2, tokenizer=JinaCLIP.from_pretrained(TINY, device="cpu").tokenizer
    ).save_pretrained(folder)


def _spread(every: Sequence[tuple[str, int]], limit: int | None) -> list[tuple[str, int]]:
    """At most `limit` of the runs, the first among them, in an order by chance: each stretch of it has runs of many kinds."""
    rest = np.random.default_rng(0).permutation(np.arange(1, len(every)))
    return [every[0], *(every[i] for i in rest)][: limit or len(every)]


if __name__ == "__main__":
    main()
