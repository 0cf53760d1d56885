"""A sweep over six dimensions beside its widest dimension alone and beside six runs: python -m benchmarks.sweep.

From stored embeddings to the metrics, ranks and intervals of both directions. The sweep is to take at most 1.6 times as long as
the widest dimension alone, at 7,200 texts x 3,600 images x 1,024 dimensions; its results are those of six runs, bit for bit.
"""

from typing import Any

import numpy as np

from benchmarks.harness import finish, parse, race
from benchmarks.recall import _rows

DIMS = (64, 128, 256, 512, 768, 1024)
DECAY = 1.7  # the values of dimension i are scaled by (1 + i / 32)^-DECAY: the first say most, as a Matryoshka model's do
NOISE = 1.3  # of its texts, beside values of about 1; the recall it gives is among the figures


def main() -> None:
    """7,200 texts and 3,600 images, random or as a Matryoshka model has them; --small: 1,000 texts and 500 images."""
    import evals.ranking.cpu  # noqa: F401 - so that no contender pays for the import

    args = parse(__doc__ or "")
    n_images, n_texts = (500, 1000) if args.small else (3600, 7200)
    laps, ratios, differences, figures = {}, {}, {}, {}
    for kind in ("random", "Matryoshka"):
        images, texts, data = _rows(n_images, n_texts)
        if kind == "Matryoshka":
            images, texts = _decaying(images, data.image_of_text)
        given = images, texts, data, args.device
        contenders = {
            "sweep": lambda given=given: _score(*given, DIMS),
            "widest alone": lambda given=given: _score(*given, DIMS[-1:]),
            "six runs": lambda given=given: [
                scores for dim in DIMS for scores in _score(*given, [dim])
            ],
        }
        case = f"{n_texts:,} texts x {n_images:,} images x 1,024, {kind} rows"
        laps[case], found = race(contenders, rounds=args.rounds, device=args.device)
        figures[f"{case}: sweep / widest alone (at most 1.6)"] = (
            laps[case]["sweep"].best / laps[case]["widest alone"].best
        )
        figures[f"{case}: R@5"] = {
            f"{s.direction} {s.dim}": round(s.values["R@5"].value, 4) for s in found["sweep"]
        }
        ratios[f"{case}: six runs / sweep"] = laps[case]["six runs"].best / laps[case]["sweep"].best
        differences[f"{case}: values that differ from six runs"] = (
            _unequal(found["sweep"], found["six runs"]),
            0,
        )
        differences[f"{case}: values that differ from the widest alone"] = (
            _unequal([s for s in found["sweep"] if s.dim == DIMS[-1]], found["widest alone"]),
            0,
        )
    conditions = {
        "rows": "a text is its image and noise; float32, seed 0. Random: every dimension says as much, so that at 64 most "
        f"documents stand near a level, the worst case. Matryoshka: dimension i scaled by (1 + i / 32)^-{DECAY}",
        "dimensions": list(DIMS),
        "each": "truncation, ranks, all metrics of both directions, 2,000 resamples drawn anew by every call of a contender",
        "equal": "every value, interval, rank and tie, compared bit for bit",
    }
    finish(
        "sweep",
        args,
        conditions=conditions,
        laps=laps,
        ratios=ratios,
        differences=differences,
        figures=figures,
    )


def _decaying(images: np.ndarray, image_of_text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of images and texts, the first dimensions of which say most."""
    rng = np.random.default_rng(1)
    shape = (1 + np.arange(images.shape[1], dtype=np.float32) / 32) ** -DECAY
    texts = images[image_of_text] * np.sqrt(images.shape[1]) + NOISE * rng.standard_normal(
        (len(image_of_text), images.shape[1])
    )
    sides = images * shape, (texts * shape).astype(np.float32)
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in sides)
    return x, y


def _score(images: np.ndarray, texts: np.ndarray, data: Any, device: str, dims: Any) -> list[Any]:
    from evals.stats import bootstrap as stats
    from evals.tasks.image_text import score

    stats._kept.cache_clear()
    return score([images, texts], data, dims=dims, device=device)


def _unequal(ours: list[Any], theirs: list[Any]) -> int:
    """How many values, intervals, ranks and ties are not equal bit for bit."""
    if [(s.direction, s.dim) for s in ours] != [(s.direction, s.dim) for s in theirs]:
        return len(ours) + len(theirs)
    values = sum(
        a.values[name] != b.values[name]
        for a, b in zip(ours, theirs, strict=True)
        for name in a.values
    )
    columns = [
        (a.columns[name], b.columns[name])
        for a, b in zip(ours, theirs, strict=True)
        for name in a.columns
    ]
    return values + sum(int((a != b).sum()) for a, b in columns)


if __name__ == "__main__":
    main()
