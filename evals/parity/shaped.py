"""Texts of many lengths and images of many shapes, made of the bundled Scenes.

The captions of a benchmark are all short and its images often of one shape. Truncation shows in
long texts only, padding in unequal ones, and another resize in images that are not square.
"""

from itertools import cycle, islice
from typing import Any

import numpy as np
from PIL import Image

from evals.data.scene_drawing import image_hash, render
from evals.data.scenes import captions, test_scenes
from evals.data.sides import text_side
from evals.schema import Kind, Side

# Words of a text. The longest has more than 512 tokens in every tokenizer.
WORDS = (1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 224, 288, 384, 512)
# Pictures across and down; a picture is 64 x 64 pixels.
GRIDS = (
    (1, 1),
    (2, 1),
    (1, 2),
    (4, 1),
    (1, 4),
    (3, 2),
    (2, 3),
    (4, 4),
    (5, 4),
    (8, 6),
    (6, 8),
    (9, 3),
)
# What tokenizers treat in different ways: capitals, accents in both Unicode forms, white space,
# signs, figures and scripts.
ODD = (
    "A RED STAR And A Blue Ring",
    "déjà vu – naïve café",
    "de\u0301ja\u0300 vu",
    "two   spaces,\na new line\tand a tab",
    "3.14159 > 2,718 & 50 % @ #1",
    "红色的星星和蓝色的圆环",
    "نجمة حمراء وحلقة زرقاء",
    "🔴⭐🔵",
)


def shaped_sides() -> dict[Kind, Side]:
    """The texts and the images; the same on every machine."""
    return {"text": _texts(), "image": _images()}


def _texts() -> Side:
    scenes = test_scenes()
    sentences = [f"{captions(scene, 'en')[0]}. " for scene in scenes[:60]]
    words = "".join(sentences).split()
    texts, ids = [], []
    for place, count in enumerate(WORDS):
        # Each begins elsewhere: texts of one beginning would have nearly one embedding.
        text = " ".join(islice(cycle(words), 37 * place, 37 * place + count))
        texts.append(text)
        ids.append(f"shaped-words-{count}")
    texts += ODD
    ids += [f"shaped-odd-{number}" for number in range(len(ODD))]
    return text_side(texts, ids)


def _images() -> Side:
    images: list[Any] = []
    ids: list[str] = []
    for place, (across, down) in enumerate(GRIDS):
        images.append(_mosaic(across, down, first=20 * place))
        ids.append(f"shaped-{64 * across}x{64 * down}")
    return Side("image", images, ids, [image_hash(image) for image in images])


def _mosaic(across: int, down: int, *, first: int) -> Image.Image:
    scenes = test_scenes()
    rows = []
    for row in range(down):
        numbers = range(first + row * across, first + (row + 1) * across)
        rows.append([np.asarray(render(scenes[number % len(scenes)])) for number in numbers])
    return Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows]))
