"""Crossmodal-3600's scoring at full size: 36 languages, 261,375 captions, both directions, six dimensions, intervals, records.

python -m benchmarks.crossmodal [--small]

The rows are random, 1,024 wide, and come from an encoder that costs next to nothing: what is measured is all that follows it, as
`evals.run` does it, into an empty store. Nobody's loop is measured beside it (`benchmarks.multilingual` does that at a size that
CLIP_benchmark can do); the figure is the share of the time that the bare matrix products would take.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import finish, parse, race

DIMS = (1024, 768, 512, 256, 128, 64)


def main() -> None:
    os.environ.setdefault("TQDM_DISABLE", "1")
    args = parse(__doc__ or "", _options)
    from evals.config.catalog import benchmark

    row = benchmark("xm3600")
    languages = row.subsets[: args.languages or (3 if args.small else None)]
    sides = _data(row, languages)
    with tempfile.TemporaryDirectory() as name:
        laps, found = race(
            {
                "matrix products": lambda: _products(row, languages),
                "ours": lambda: _ours(row, sides, Path(name), args.device),
            },
            rounds=1,
            device=args.device,
        )
    bare, ours = laps["matrix products"].best, laps["ours"].best
    finish(
        "crossmodal",
        args,
        conditions={
            "rows": "random, 1,024 wide, float32; the encoder draws them from the content's hash",
            "languages": len(languages),
            "captions": sum(row.count_texts(language) for language in languages),
            "dims": DIMS,
            "ours": "evals.evaluation.evaluate.evaluate into an empty store: rows, shards, scores, intervals, per-query records",
            "matrix products": "torch.mm of each language and dimension once, into memory that is there",
        },
        laps={"the whole job": laps},
        ratios={"bare matrix products / ours": bare / ours},
        differences={
            f"t2i R@10 of {languages[0]}, dim {DIMS[-1]}": (
                abs(found["ours"] - _plain(sides[languages[0]])),
                1e-12,
            )
        },
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(rounds=1)
    parser.add_argument(
        "--languages", type=int, help="how many; 36, or 3 with --small, unless given"
    )


class RandomEncoder:
    """Rows from the hash of the content."""

    name, dim, fingerprint = "random", 1024, {"maths": "random-1"}

    def encode(self, side: Any) -> np.ndarray:
        rows = np.empty((len(side), self.dim), np.float32)
        for row, content in zip(rows, side.hashes, strict=True):
            row[:] = np.random.Generator(np.random.PCG64(int(content, 16))).standard_normal(
                self.dim, dtype=np.float32
            )
        return rows


def _data(row: Any, languages: tuple[str, ...]) -> dict[str, Any]:
    from hashlib import sha256

    from evals.schema import ImageText, Side

    ids = [f"{i:016x}" for i in range(row.images)]
    images = Side("image", ids, ids, [sha256(name.encode()).hexdigest() for name in ids])
    data = {}
    for language in languages:
        count = row.count_texts(language)
        image_of_text = np.sort(np.arange(count) % row.images)
        texts = [f"{language} {i}" for i in range(count)]
        hashes = [sha256(text.encode()).hexdigest() for text in texts]
        data[language] = ImageText(
            images, Side("text", texts, texts, hashes, language=language), image_of_text, {}
        )
    return data


def _products(row: Any, languages: tuple[str, ...]) -> None:
    import torch

    most = max(row.count_texts(language) for language in languages)
    texts, images = torch.randn(most, DIMS[0]), torch.randn(row.images, DIMS[0])
    memory = torch.empty(most * row.images)
    for language in languages:
        count = row.count_texts(language)
        for dim in DIMS:
            out = memory[: count * row.images].view(count, row.images)
            torch.mm(texts[:count, :dim], images[:, :dim].T, out=out)


def _plain(data: Any) -> float:
    """t2i R@10 at the least dimension, the short way: random rows have no ties."""
    rows = []
    for side in (data.images, data.texts):
        cut = RandomEncoder().encode(side)[:, : DIMS[-1]].astype(np.float64)
        rows.append(cut / np.linalg.norm(cut, axis=1, keepdims=True))
    scores = rows[1] @ rows[0].T
    own = np.take_along_axis(scores, data.image_of_text[:, None], axis=1)
    return float(((scores > own).sum(axis=1) < 10).mean())


def _ours(row: Any, data: dict[str, Any], folder: Path, device: str) -> float:
    """The whole job; gives one of its numbers."""
    from evals.evaluation.evaluate import evaluate
    from evals.evaluation.load import Parts
    from evals.settings import Settings

    fresh = folder / str(time.monotonic_ns())
    settings = Settings(results=fresh / "runs", store=fresh / "store", device=device)
    outcome = evaluate(row, Parts(data, None), RandomEncoder(), DIMS, settings)
    first = next(iter(outcome.scores.values()))
    [found] = [s for s in first if (s.direction, s.dim) == ("t2i", DIMS[-1])]
    return found.values["R@10"].value


if __name__ == "__main__":
    main()
