"""Scenes: a bundled benchmark of pictures of coloured shapes, with captions in six languages.

It is generated from seeds and the same to the bit everywhere, so that a fresh machine without data
or network can measure something honest. Which split a scene belongs to is decided by a hash of what
captions can say about it, so nothing that the test split describes is ever seen in training.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

from evals.data.sides import text_side
from evals.data.words import LEXICONS
from evals.schema import ConfigError, ImageText, Side, Source

# Shapes: y rows and x columns of samples, texts.

# Raise it when a pixel or a word changes: results of different generators are not
# comparable.
GENERATOR = "2"
LANGUAGES: tuple[str, ...] = ("en", "de", "fr", "es", "zh", "ar")
TEST_IMAGES = 500
# Test scenes that are near twins of each other.
FAMILY = 10
# Twins drawn for a family; seven in eight belong to the train split.
TRIES = 150

# Pixels per side.
SIZE = 64
# All geometry is in whole eighths of a pixel.
UNIT = 8
# A place is one quarter of the picture, this wide.
HALF = SIZE * UNIT // 2
# Supersampling per pixel and axis.
SAMPLES = 4

PLACES = {
    "top left": (0, 0),
    "top right": (HALF, 0),
    "bottom left": (0, HALF),
    "bottom right": (HALF, HALF),
}
RADII = {"small": (37, 41), "large": (58, 62)}
BACKGROUNDS = ((246, 246, 242), (230, 234, 240), (240, 232, 220), (222, 230, 222))
COLOURS = {
    "red": (214, 32, 38),
    "orange": (248, 134, 18),
    "yellow": (246, 212, 22),
    "green": (36, 150, 62),
    "blue": (28, 84, 208),
    "purple": (124, 44, 166),
    "pink": (250, 136, 190),
    "brown": (122, 74, 36),
    "black": (18, 18, 20),
}
# Normals of the five lines of a pentagram, times 1,000: at 90 degrees and every 72 from there.
STAR_NORMALS = ((0, -1000), (951, -309), (588, 809), (-588, 809), (-951, -309))

Samples = Int[np.ndarray, "y x"]
Mask = Bool[np.ndarray, "y x"]


def _star(x: Samples, y: Samples, r: int) -> Mask:
    # The lines are cos(72 degrees) = 0.309 of the radius away from the centre. Points and core of
    # the star are on the inner side of four of them, or of all five.
    inside = [a * x + b * y <= 309 * r for a, b in STAR_NORMALS]
    return np.asarray(sum(side.astype(np.int64) for side in inside) >= 4)


# Each takes sample positions right of and below the centre, and the radius. Fractions are written
# as products of whole numbers, which stay below 2^63, so that no float is ever rounded. Hexagon:
# 866 and 1732 are sqrt(3)/2 and sqrt(3) times 1,000. Heart: (x^2 + y^2 - 1)^3 <= x^2 y^3, the curve
# of sextic hearts, scaled to the radius and upside down. Crescent: a disc without another disc of
# 0.8 r, whose centre is 0.45 r to the right.
SHAPES: dict[str, Callable[[Samples, Samples, int], Mask]] = {
    "circle": lambda x, y, r: x**2 + y**2 <= r**2,
    "square": lambda x, y, r: 100 * np.maximum(abs(x), abs(y)) <= 85 * r,
    "triangle": lambda x, y, r: (100 * abs(x) <= 58 * (y + r)) & (100 * y <= 72 * r),
    "star": _star,
    "cross": lambda x, y, r: (
        (10 * np.minimum(abs(x), abs(y)) <= 3 * r) & (100 * np.maximum(abs(x), abs(y)) <= 95 * r)
    ),
    "ring": lambda x, y, r: (x**2 + y**2 <= r**2) & (100 * (x**2 + y**2) >= 34 * r**2),
    "diamond": lambda x, y, r: 10 * abs(x) + 7 * abs(y) <= 7 * r,
    "hexagon": lambda x, y, r: (
        (1000 * abs(y) <= 866 * r) & (1732 * abs(x) + 1000 * abs(y) <= 1732 * r)
    ),
    "heart": lambda x, y, r: (64 * (x**2 + y**2) - 49 * r**2) ** 3 <= -7 * r * 8**5 * x**2 * y**3,
    "crescent": lambda x, y, r: (
        (x**2 + y**2 <= r**2) & ((20 * x - 9 * r) ** 2 + 400 * y**2 > 256 * r**2)
    ),
}
# Centres of the objects of a group, in quarters of a place.
LAYOUTS: dict[int, tuple[tuple[tuple[int, int], ...], ...]] = {
    1: (((2, 2),),),
    2: (((1, 2), (3, 2)), ((2, 1), (2, 3)), ((1, 1), (3, 3)), ((3, 1), (1, 3))),
    3: (
        ((1, 1), (3, 1), (1, 3)),
        ((1, 1), (3, 1), (3, 3)),
        ((1, 1), (1, 3), (3, 3)),
        ((3, 1), (1, 3), (3, 3)),
    ),
}


@dataclass(frozen=True)
class Group:
    """One to three equal objects in one quarter of the picture.

    The fields are the keys of the tables above.
    """

    count: int
    size: str
    colour: str
    shape: str
    place: str


@dataclass(frozen=True)
class Scene:
    """Groups in reading order, all of different place, colour and shape.

    `look` seeds what captions do not tell.
    """

    groups: tuple[Group, ...]
    look: int


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
            parent = family[_below(rng, min(len(family), FAMILY))]
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


def render(scene: Scene) -> Image.Image:
    """The picture, 64 x 64 RGB, antialiased.

    It is drawn in whole numbers: libraries draw and round otherwise in each version.
    """
    rng = random.Random(f"scenes/look/{scene.look}")
    canvas = np.empty((SIZE, SIZE, 3), dtype=np.int64)
    canvas[:] = BACKGROUNDS[_below(rng, len(BACKGROUNDS))]
    for group in scene.groups:
        x_place, y_place = PLACES[group.place]
        layouts = LAYOUTS[group.count]
        low, high = RADII[group.size]
        radius = low + _below(rng, high - low + 1)
        # How far an object may move off its centre without leaving its cell, of which a single
        # object has the whole place.
        reach = (HALF // 2 - radius) // 2 if group.count == 1 else HALF // 4 - radius
        for column, row in layouts[_below(rng, len(layouts))]:
            x = x_place + column * HALF // 4 + _below(rng, 2 * reach + 1) - reach
            y = y_place + row * HALF // 4 + _below(rng, 2 * reach + 1) - reach
            _paint(canvas, group, x, y, radius=radius)
    return Image.fromarray(canvas.astype(np.uint8))


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
    number = (1, 2, 2, 3, 3)[_below(rng, 5)]
    groups = [
        Group(
            count=1 + _below(rng, 3),
            size=list(RADII)[_below(rng, 2)],
            colour=colours.pop(_below(rng, len(colours))),
            shape=shapes.pop(_below(rng, len(shapes))),
            place=places.pop(_below(rng, len(places))),
        )
        for _ in range(number)
    ]
    groups.sort(key=lambda group: list(PLACES).index(group.place))
    return Scene(tuple(groups), look=rng.getrandbits(32))


def _twin(scene: Scene, rng: random.Random) -> Scene:
    """The scene with one word of one group changed, drawn anew."""
    groups = list(scene.groups)
    at = _below(rng, len(groups))
    group = groups[at]
    word = ("count", "size", "colour", "shape", "place")[_below(rng, 5)]
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
    groups[at] = replace(group, **{word: free[_below(rng, len(free))]})
    groups.sort(key=lambda group: list(PLACES).index(group.place))
    return Scene(tuple(groups), look=rng.getrandbits(32))


def _below(rng: random.Random, n: int) -> int:
    # Python promises the stream of random() alone: choice, sample and randrange have changed
    # between versions.
    return int(rng.random() * n)


def _paint(canvas: Int[np.ndarray, "y x 3"], group: Group, x: int, y: int, *, radius: int) -> None:
    # The square of whole pixels that holds the object: its first row and column, and its side.
    first = np.array([y, x]) // UNIT - radius // UNIT - 1
    pixels = 2 * (radius // UNIT) + 3
    # Samples lie in the middle of their cells.
    inner = np.arange(pixels * SAMPLES) * (UNIT // SAMPLES) + UNIT // SAMPLES // 2
    down, right = (inner + first[0] * UNIT - y)[:, None], (inner + first[1] * UNIT - x)[None, :]
    down, right = np.broadcast_arrays(down, right)
    mask = SHAPES[group.shape](right, down, radius)
    cover = mask.reshape(pixels, SAMPLES, pixels, SAMPLES).sum(axis=(1, 3))
    # What lies beyond the edge of the picture is cut off.
    lo, hi = np.maximum(first, 0), np.minimum(first + pixels, SIZE)
    window = canvas[lo[0] : hi[0], lo[1] : hi[1]]
    weight = cover[lo[0] - first[0] : hi[0] - first[0], lo[1] - first[1] : hi[1] - first[1], None]
    total = SAMPLES**2
    # The mean of background and colour by the share that is covered; adding half of `total` rounds
    # it.
    window[:] = (
        window * (total - weight) + np.array(COLOURS[group.colour]) * weight + total // 2
    ) // total


@cache
def _image_hashes() -> tuple[str, ...]:
    return tuple(image_hash(render(scene)) for scene in test_scenes())


def image_hash(image: Image.Image) -> str:
    """Sha256 over width, height and RGB bytes; a PNG's bytes would depend on the zlib at hand."""
    return sha256(f"{image.width}x{image.height} ".encode() + image.tobytes()).hexdigest()


def _listed(items: Sequence[str], comma: str, last: str) -> str:
    return comma.join(items[:-1]) + last + items[-1] if len(items) > 1 else items[0]
