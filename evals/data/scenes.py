"""Scenes: a bundled benchmark of pictures of coloured shapes, with captions in six languages.

It is generated from seeds and the same to the bit everywhere, so that a fresh machine without data
or network can measure something honest. Which split a scene belongs to is decided by a hash of what
captions can say about it, so nothing that the test split describes is ever seen in training.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any, Literal

import numpy as np

from evals.data.scene_drawing import (
    COLOURS,
    PLACES,
    RADII,
    SHAPES,
    Group,
    Scene,
    below,
    image_hash,
    render,
)
from evals.data.sides import text_side
from evals.data.words import LEXICONS
from evals.schema import ConfigError, ImageText, Side, Source

# Shapes: texts.

# Raise it when a pixel or a word changes: results of different generators are not
# comparable.
GENERATOR = "2"
LANGUAGES: tuple[str, ...] = ("en", "de", "fr", "es", "zh", "ar")
TEST_IMAGES = 500
# Test scenes that are near twins of each other.
FAMILY = 10
# Twins drawn for a family; seven in eight belong to the train split.
TRIES = 150


class Pictures(Sequence[Any]):
    """Scenes seen as pictures: one is rendered when it is indexed."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: Any) -> Any:
        return (
            Pictures(self.scenes[index]) if isinstance(index, slice) else render(self.scenes[index])
        )


def load_scenes(source: Source) -> dict[str, ImageText]:
    """The test split in the languages `source.subsets`: 500 images with two captions each.

    The images are the same in each language. An image's hash is over its size and its RGB bytes.
    ConfigError for another language or split, and for a folder.
    """
    for name in source.subsets:
        if name not in LANGUAGES:
            raise ConfigError(f"scenes has no language {name!r}; it has {', '.join(LANGUAGES)}")
    if source.split != "test":
        raise ConfigError(f"scenes has no split {source.split!r} to measure; it has test")
    if source.folder is not None:
        raise ConfigError(
            f"scenes is generated, not read from {source.folder}; leave the folder out"
        )
    scenes = test_scenes()
    ids = [f"scene-{i:04}" for i in range(len(scenes))]
    images = Side("image", Pictures(scenes), ids, _image_hashes())
    return {language: _in_language(language, scenes, images) for language in source.subsets}


def _in_language(language: str, scenes: Sequence[Scene], images: Side) -> ImageText:
    texts: list[str] = []
    ids: list[str] = []
    image_of_text: list[int] = []
    for image, scene in enumerate(scenes):
        for number, caption in enumerate(captions(scene, language)):
            texts.append(caption)
            ids.append(f"{images.ids[image]}-{language}-{number}")
            image_of_text.append(image)
    return ImageText(
        images=images,
        texts=text_side(texts, ids, language),
        image_of_text=np.array(image_of_text, dtype=np.int64),
        origin={"layout": "scenes", "generator": GENERATOR},
    )


@cache
def test_scenes() -> tuple[Scene, ...]:
    """The 500 scenes of the test split, no two with the same description.

    They are 50 families of ten near twins. A twin differs in one word from another of its family,
    so a model that only knows roughly what is there falls behind.
    """
    # A seed of text goes through sha512, the same in every version and on every machine.
    rng = random.Random("scenes/test")
    scenes: dict[str, Scene] = {}
    while len(scenes) < TEST_IMAGES:
        family = [_draw(rng)]
        kin: dict[str, Scene] = {}
        for _ in range(TRIES):
            # Twins of the first ten only: kin of kin of kin would be near no other.
            parent = family[below(rng, min(len(family), FAMILY))]
            family.append(_twin(parent, rng))
            name = describe(family[-1])
            if split(family[-1]) == "test" and name not in scenes and len(kin) < FAMILY:
                kin.setdefault(name, family[-1])
        # A family that is not full is dropped: all families are of one size.
        if len(kin) == FAMILY:
            scenes |= kin
    return tuple(scenes.values())


def train_scene(i: int) -> Scene:
    """Scene i of the endless training split.

    Those of odd number are near twins of the one before. Two of them may be alike.
    """
    rng = random.Random(f"scenes/train/{i}")
    first = train_scene(i - 1) if i % 2 else None
    while True:
        scene = _twin(first, rng) if first else _draw(rng)
        if split(scene) == "train":
            return scene


def describe(scene: Scene) -> str:
    """All that captions can say about a scene, in one canonical line."""
    return "; ".join(f"{g.count} {g.size} {g.colour} {g.shape} {g.place}" for g in scene.groups)


def split(scene: Scene) -> Literal["train", "test"]:
    """One description in eight belongs to the test split, by its hash."""
    # Of what captions can say, not of the picture: a test caption describes no scene of training.
    return "test" if sha256(describe(scene).encode()).digest()[0] < 32 else "train"


def captions(scene: Scene, language: str) -> tuple[str, ...]:
    """Two captions.

    The first tells all groups in full. The second tells, from the last on, all but the first of
    several, without size and place.
    """
    lexicon = LEXICONS[language]
    clauses = [
        lexicon.clause.format(
            thing=lexicon.phrase(g.count, g.shape, (g.size, g.colour)),
            place=lexicon.places[g.place],
        )
        for g in scene.groups
    ]
    # Without the first group, which the other caption begins with: the two share as little as may
    # be.
    named = scene.groups[1:] or scene.groups
    things = [lexicon.phrase(g.count, g.shape, (g.colour,)) for g in reversed(named)]
    full = lexicon.clauses.format(_listed(clauses, lexicon.clause_comma, lexicon.clause_and))
    short = lexicon.short.format(_listed(things, lexicon.comma, lexicon.last))
    return full[0].upper() + full[1:], short


def _draw(rng: random.Random) -> Scene:
    places, colours, shapes = list(PLACES), list(COLOURS), list(SHAPES)
    # One group in a fifth of the scenes, two and three in two fifths each.
    number = (1, 2, 2, 3, 3)[below(rng, 5)]
    groups = [
        Group(
            count=1 + below(rng, 3),
            size=list(RADII)[below(rng, 2)],
            colour=colours.pop(below(rng, len(colours))),
            shape=shapes.pop(below(rng, len(shapes))),
            place=places.pop(below(rng, len(places))),
        )
        for _ in range(number)
    ]
    groups.sort(key=lambda group: list(PLACES).index(group.place))
    return Scene(tuple(groups), look=rng.getrandbits(32))


def _twin(scene: Scene, rng: random.Random) -> Scene:
    """The scene with one word of one group changed, drawn anew."""
    groups = list(scene.groups)
    at = below(rng, len(groups))
    group = groups[at]
    word = ("count", "size", "colour", "shape", "place")[below(rng, 5)]
    choices: dict[str, list[Any]] = {
        "count": [1, 2, 3],
        "size": [*RADII],
        "colour": [*COLOURS],
        "shape": [*SHAPES],
        "place": [*PLACES],
    }
    # Groups share counts and sizes, but neither colours nor shapes nor places.
    rivals = [group] if word in ("count", "size") else groups
    taken = {getattr(rival, word) for rival in rivals}
    free = [choice for choice in choices[word] if choice not in taken]
    groups[at] = replace(group, **{word: free[below(rng, len(free))]})
    groups.sort(key=lambda group: list(PLACES).index(group.place))
    return Scene(tuple(groups), look=rng.getrandbits(32))


@cache
def _image_hashes() -> tuple[str, ...]:
    return tuple(image_hash(render(scene)) for scene in test_scenes())


def _listed(items: Sequence[str], comma: str, last: str) -> str:
    return comma.join(items[:-1]) + last + items[-1] if len(items) > 1 else items[0]
