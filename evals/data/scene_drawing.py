"""Draws a scene: its groups of shapes as 64 x 64 pixels, in whole numbers and the same to the bit everywhere.

Shapes: y rows and x columns of samples.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

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


def render(scene: Scene) -> Image.Image:
    """The picture, 64 x 64 RGB, antialiased.

    It is drawn in whole numbers: libraries draw and round otherwise in each version.
    """
    rng = random.Random(f"scenes/look/{scene.look}")
    canvas = np.empty((SIZE, SIZE, 3), dtype=np.int64)
    canvas[:] = BACKGROUNDS[below(rng, len(BACKGROUNDS))]
    for group in scene.groups:
        x_place, y_place = PLACES[group.place]
        layouts = LAYOUTS[group.count]
        low, high = RADII[group.size]
        radius = low + below(rng, high - low + 1)
        # How far an object may move off its centre without leaving its cell, of which a single
        # object has the whole place.
        reach = (HALF // 2 - radius) // 2 if group.count == 1 else HALF // 4 - radius
        for column, row in layouts[below(rng, len(layouts))]:
            x = x_place + column * HALF // 4 + below(rng, 2 * reach + 1) - reach
            y = y_place + row * HALF // 4 + below(rng, 2 * reach + 1) - reach
            _paint(canvas, group, x, y, radius=radius)
    return Image.fromarray(canvas.astype(np.uint8))


def image_hash(image: Image.Image) -> str:
    """Sha256 over width, height and RGB bytes; a PNG's bytes would depend on the zlib at hand."""
    return sha256(f"{image.width}x{image.height} ".encode() + image.tobytes()).hexdigest()


def below(rng: random.Random, n: int) -> int:
    """A whole number from 0 up to `n`, without `n`."""
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
