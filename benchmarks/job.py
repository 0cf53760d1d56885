"""Six cross-modal benchmarks, from files on disk to records, beside the least time that they could take.

python -m benchmarks.job [--small] [--device cuda] [--model v2|v1] [--folder DIR]

All languages, both directions, six dimensions, by `evals.jobs.evaluate_all`, which is what `evals.run` calls. Photographs and
captions are synthetic, in the benchmarks' own numbers; weights are random: of full size on CUDA, the tiny checkpoint on a CPU.
The floor is the arithmetic alone: that of both towers at the measured rate of matrix products in the model's dtype, and one
product of each language in float32. Nobody's loop stands beside it; `benchmarks.multilingual` has CLIP_benchmark's at a size
that it can do.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.flops import image_flops, text_flops
from benchmarks.harness import Lap, finish, matmul_rates, parse
from benchmarks.job_data import TINY, counts_of, make_checkpoint, rows_of, write_data
from benchmarks.meter import Meter

DIMS = {"cpu": (256, 128, 64, 32, 16, 8), "cuda": (1024, 768, 512, 256, 128, 64)}
V1_DIMS = (768, 512, 256, 128, 64)
LENGTH = 512  # tokens of a text that are read, as evals.run has it


class Stretch(NamedTuple):
    """A stretch of encoding, in time.perf_counter."""

    start: float
    end: float


class Encoding:
    """A reporter that notes when something was encoded."""

    def __init__(self) -> None:
        self.stretches: list[Stretch] = []

    def info(self, message: str) -> None:
        """Nothing."""

    def error(self, message: str) -> None:
        """To stderr: a failure ends the benchmark."""
        print(message, file=sys.stderr)

    @contextmanager
    def progress(self, title: str) -> Iterator[Any]:
        """Noted, when it is of encoding."""
        start = time.perf_counter()
        yield lambda done, total: None
        if "encoding" in title:
            self.stretches.append(Stretch(start, time.perf_counter()))


class Job(NamedTuple):
    """What one go of all six gave: wall seconds, those of encoding, the card meanwhile, and every value."""

    seconds: float
    encoding: float
    busy: float | None
    watts: float | None
    encoded: dict[str, int]
    values: dict[str, float]


def main() -> None:
    """Once into an empty store, and once more from what is stored."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    args = parse(__doc__ or "", _options)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        checkpoint = make_checkpoint(folder, device=args.device, model=args.model)
        rows = rows_of(small=args.small)
        texts = write_data(folder / "data", rows, checkpoint, args.width)
        first = _job(args, folder, rows, checkpoint)
        again = _job(args, folder, rows, checkpoint)
        floor, rates = _floor(args, rows, checkpoint, texts)
    moved = sum(first.values[name] != value for name, value in again.values.items())
    figures: dict[str, Any] = {
        "the job: time / floor": first.seconds / floor["all"],
        "the job: share of the floor": floor["all"] / first.seconds,
        "encoding: time / floor": first.encoding / floor["encoding"],
        "encoding: share of the floor": floor["encoding"] / first.encoding,
        "floor, s": floor,
        "encoding, s": first.encoding,
        "encoded": first.encoded,
    }
    if first.busy is not None:
        figures["share of the encoding in which the card was busy"] = first.busy
    if first.watts is not None:
        figures["power while encoding, W"] = first.watts
    figures |= {f"matmul rate, {dtype}, GFLOP/s": rate / 1e9 for dtype, rate in rates.items()}
    finish(
        "job",
        args,
        conditions={
            "weights": "random, of full size" if checkpoint != TINY else "configs/tiny",
            "benchmarks": {row.name: counts_of(row) for row in rows},
            "photographs": f"{args.width} x {args.width * 3 // 4} pixels, JPEG, synthetic",
            "captions": "synthetic, 12 words on average",
            "dims": _dims(args),
            "not counted": "imports; the data are written and the model is saved before",
            "power and busy": "nvidia-smi, ten times a second" if first.busy is not None else None,
        },
        laps={
            "six benchmarks": {
                "ours, into an empty store": Lap([first.seconds], float("nan"), first.watts),
                "ours, from what is stored": Lap([again.seconds], float("nan"), again.watts),
            }
        },
        ratios={},
        differences={
            "values that differ when scored again": (float(moved), 0.0),
            "items that were encoded again": (float(sum(again.encoded.values())), 0.0),
        },
        figures=figures,
    )  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=("v2", "v1"), default="v2", help="on CUDA (v2)")
    parser.add_argument("--width", type=int, default=640, help="of the photographs, in pixels")
    parser.add_argument("--folder", type=Path, help="where data and stores are made: 3 GB")


def _dims(args: argparse.Namespace) -> tuple[int, ...]:
    if args.device == "cpu":
        return DIMS["cpu"]
    return DIMS["cuda"] if args.model == "v2" else V1_DIMS


def _job(args: argparse.Namespace, folder: Path, rows: Sequence[Any], checkpoint: Path) -> Job:
    from evals.jobs import evaluate_all
    from evals.settings import Settings

    settings = Settings(
        data=folder / "data",
        results=folder / "runs",
        store=folder / "store",
        device=args.device,
    )
    reporter = Encoding()
    start = time.perf_counter()
    with Meter(args.device) as meter:
        results = evaluate_all(
            rows, [f"random={checkpoint}"], lambda width: _dims(args), settings, reporter=reporter
        )
    end = time.perf_counter()
    if results.failures:
        sys.exit(f"{results.failures[0].name}: {results.failures[0].error}")
    encoding = sum(stretch.end - stretch.start for stretch in reporter.stretches)
    means = [(meter.mean(*stretch), stretch) for stretch in reporter.stretches]
    encoded: dict[str, int] = {}
    values = {}
    for outcome in results.outcomes:
        for kind, count in outcome.encoded.items():
            encoded[kind] = encoded.get(kind, 0) + count
        for subset, scores in outcome.scores.items():
            for score in scores:
                for name, value in score.values.items():
                    key = f"{outcome.name} {subset} {score.direction} {score.dim} {name}"
                    values[key] = value.value
    return Job(
        end - start,
        encoding,
        _weighted([(mean.busy, stretch) for mean, stretch in means]),
        _weighted([(mean.watts, stretch) for mean, stretch in means]),
        encoded,
        values,
    )


def _weighted(parts: Sequence[tuple[float | None, Stretch]]) -> float | None:
    """The mean over stretches by their length; None where nothing was told."""
    told = [(mean, stretch.end - stretch.start) for mean, stretch in parts if mean is not None]
    length = sum(seconds for _, seconds in told)
    return sum(mean * seconds for mean, seconds in told) / length if length else None


def _floor(
    args: argparse.Namespace,
    rows: Sequence[Any],
    checkpoint: Path,
    texts: dict[str, dict[str, list[str]]],
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of the arithmetic of every distinct image and text and of one product per language; and the rates taken."""
    from jina_clip import JinaCLIP

    model = JinaCLIP.from_pretrained(checkpoint, device="cpu")
    dtype = str(model.config.dtype).removeprefix("torch.") if args.device != "cpu" else "float32"
    rates = {kind: max(matmul_rates(args.device, kind).values()) for kind in {dtype, "float32"}}
    distinct: dict[str, None] = {}
    products = 0.0
    for row in rows:
        for captions in texts[row.name].values():
            distinct |= dict.fromkeys(captions)
            products += 2 * row.images * len(captions) * _dims(args)[0]
    encodings = model.tokenizer.encode_batch(list(distinct))
    lengths = [min(len(encoding.ids), LENGTH) for encoding in encodings]
    images = sum(row.images for row in rows) * image_flops(model.config.vision)
    floor = {
        "images": images / rates[dtype],
        "texts": text_flops(model.config.text, lengths) / rates[dtype],
        "products": products / rates["float32"],
    }
    floor["encoding"] = floor["images"] + floor["texts"]
    floor["all"] = floor["encoding"] + floor["products"]
    return floor, rates


if __name__ == "__main__":
    main()
