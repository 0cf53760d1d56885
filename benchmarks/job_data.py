"""The data of benchmarks.job: six benchmarks in their own numbers, synthetic photographs and captions, random weights."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.synthetic import words_of, write_captions, write_photos

BENCHMARKS = ("flickr", "flickr8k", "coco", "xtd", "xm3600", "xflickr")
TINY = Path(__file__).parents[1] / "configs" / "tiny"
SMALL = 50  # one of so many images and captions, of two languages at most


def rows_of(*, small: bool) -> list[Any]:
    """The benchmarks as their configuration has them, or one item of fifty in two languages at most."""
    from evals.config.catalog import benchmark

    rows = [benchmark(name) for name in BENCHMARKS]
    if not small:
        return rows
    parts = []
    for row in rows:
        languages = row.subsets[:2]
        texts = {name: row.count_texts(name) // SMALL for name in languages}
        counts = {"images": row.images // SMALL, "texts": None, "texts_of": texts}
        parts.append(row.model_copy(update={"subsets": languages, **counts}))
    return parts


def counts_of(row: Any) -> dict[str, int]:
    """The images, texts and languages of a benchmark."""
    texts = sum(row.count_texts(language) for language in row.subsets)
    return {"images": row.images, "texts": texts, "languages": len(row.subsets)}


def make_checkpoint(folder: Path, *, device: str, model: str) -> Path:
    """The tiny checkpoint on a CPU; else random weights of full size, for the dtype that the official config names."""
    if device == "cpu":
        return TINY
    import torch

    from jina_clip import V1, V2, JinaCLIP

    torch.manual_seed(0)
    tokenizer = JinaCLIP.from_pretrained(TINY, device="cpu").tokenizer
    preset = V1 if model == "v1" else V2
    return JinaCLIP(preset, tokenizer=tokenizer).save_pretrained(folder / model)


def write_data(
    folder: Path, rows: Sequence[Any], checkpoint: Path, width: int
) -> dict[str, dict[str, list[str]]]:
    """A folder per benchmark in the layout `jsonl`; the captions of each benchmark and language."""
    from jina_clip import JinaCLIP

    words = words_of(JinaCLIP.from_pretrained(checkpoint, device="cpu"))
    texts: dict[str, dict[str, list[str]]] = {}
    for number, row in enumerate(rows):
        place = folder / row.name
        (place / "captions").mkdir(parents=True)
        names = [f"{row.name}-{image:05}.jpg" for image in range(row.images)]
        write_photos([place / name for name in names], width, seed=number)
        texts[row.name] = {}
        for seed, language in enumerate(row.subsets):
            captions = write_captions(row.count_texts(language), words, seed=seed)
            texts[row.name][language] = captions
            file = place / "captions" / f"{language}.jsonl"
            file.write_text(_lines(names, captions), encoding="utf-8")
    os.sync()  # else the job would share the disk with what was written here
    return texts


def _lines(names: Sequence[str], captions: Sequence[str]) -> str:
    """A line per image with every len(names)-th caption."""
    lines = []
    for image, name in enumerate(names):
        lines.append(json.dumps({"image": name, "captions": captions[image :: len(names)]}))
    return "\n".join(lines) + "\n"
