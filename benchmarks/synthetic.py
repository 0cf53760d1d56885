"""Photo-like images and captions as long as people's, in the number that a benchmark takes: synthetic, and named so."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np


def write_photos(paths: Sequence[Path], width: int, seed: int = 0) -> None:
    """JPEG files of 4:3, smooth shapes under fine grain, all distinct, also from those of another seed."""
    height = width * 3 // 4
    # Grain is the slowest part: each photo takes its own window of one sheet.
    grain = np.random.default_rng(0).normal(0, 8, (2 * height, 2 * width, 1)).astype(np.float32)

    def write(number: int) -> None:
        from PIL import Image

        rng = np.random.default_rng([seed, number])
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        top, left = rng.integers(0, height), rng.integers(0, width)
        pixels = np.asarray(coarse) + grain[top : top + height, left : left + width]
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[number], quality=85)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(write, range(len(paths))))


def write_captions(count: int, words: Sequence[str], seed: int) -> list[str]:
    """So many distinct captions of 3 to 40 words, 12 on average, from a third of the words.

    So what is written with one seed shares some words with what is written with another, as languages do.
    """
    rng = np.random.default_rng(seed)
    vocabulary = rng.choice(words, max(1, len(words) // 3), replace=False)
    captions: dict[str, None] = {}
    while len(captions) < count:
        length = int(np.clip(rng.lognormal(2.4, 0.4), 3, 40))
        captions.setdefault(" ".join(rng.choice(vocabulary, length)))
    return list(captions)


def words_of(model: Any) -> list[str]:
    """The whole words of a loaded model's vocabulary."""
    start = "\N{LOWER ONE EIGHTH BLOCK}"
    return sorted(
        token[1:]
        for token in model.tokenizer.get_vocab()
        if token.startswith(start) and token[1:].isalpha()
    )
