"""Scenes: a bundled benchmark of rendered pictures of coloured shapes, with captions in six languages.

It is generated from seeds and the same to the bit everywhere, so that a fresh machine without data or network
can measure something honest. Which split a scene belongs to is decided by a hash of what captions can say about
it, so nothing that the test split describes is ever seen in training.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

from evals.schema import ConfigError, ImageText, Side, Source

# Shapes: y rows and x columns of samples, texts.

GENERATOR = "1"  # raise it when a pixel or a word changes: results of different generators are not comparable
LANGUAGES: tuple[str, ...] = ("en", "de", "fr", "es", "zh", "ar")
TEST_IMAGES = 500

SIZE = 64  # pixels a side
UNIT = 8  # all geometry is whole eighths of a pixel
HALF = SIZE * UNIT // 2  # a place is one quarter of the picture, this wide
SAMPLES = 4  # supersampling per pixel and axis

PLACES = {"top left": (0, 0), "top right": (HALF, 0), "bottom left": (0, HALF), "bottom right": (HALF, HALF)}
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
STAR_NORMALS = ((0, -1000), (951, -309), (588, 809), (-588, 809), (-951, -309))

Samples = Int[np.ndarray, "y x"]
Mask = Bool[np.ndarray, "y x"]


def _star(x: Samples, y: Samples, r: int) -> Mask:
    inside = [a * x + b * y <= 309 * r for a, b in STAR_NORMALS]
    return np.asarray(sum(side.astype(np.int64) for side in inside) >= 4)


# Each takes sample positions right of and below the centre, and the radius; all in whole numbers below 2^63.
SHAPES: dict[str, Callable[[Samples, Samples, int], Mask]] = {
    "circle": lambda x, y, r: x**2 + y**2 <= r**2,
    "square": lambda x, y, r: 100 * np.maximum(abs(x), abs(y)) <= 85 * r,
    "triangle": lambda x, y, r: (100 * abs(x) <= 58 * (y + r)) & (100 * y <= 72 * r),
    "star": _star,
    "cross": lambda x, y, r: (10 * np.minimum(abs(x), abs(y)) <= 3 * r) & (100 * np.maximum(abs(x), abs(y)) <= 95 * r),
    "ring": lambda x, y, r: (x**2 + y**2 <= r**2) & (100 * (x**2 + y**2) >= 34 * r**2),
    "diamond": lambda x, y, r: 10 * abs(x) + 7 * abs(y) <= 7 * r,
    "hexagon": lambda x, y, r: (1000 * abs(y) <= 866 * r) & (1732 * abs(x) + 1000 * abs(y) <= 1732 * r),
    "heart": lambda x, y, r: (64 * (x**2 + y**2) - 49 * r**2) ** 3 <= -7 * r * 8**5 * x**2 * y**3,
    "crescent": lambda x, y, r: (x**2 + y**2 <= r**2) & ((20 * x - 9 * r) ** 2 + 400 * y**2 > 256 * r**2),
}
# Centres of the objects of a group, in quarters of a place.
LAYOUTS: dict[int, tuple[tuple[tuple[int, int], ...], ...]] = {
    1: (((2, 2),),),
    2: (((1, 2), (3, 2)), ((2, 1), (2, 3)), ((1, 1), (3, 3)), ((3, 1), (1, 3))),
    3: (((1, 1), (3, 1), (1, 3)), ((1, 1), (3, 1), (3, 3)), ((1, 1), (1, 3), (3, 3)), ((3, 1), (1, 3), (3, 3))),
}


@dataclass(frozen=True)
class Group:
    """One to three equal objects in one quarter of the picture; the fields are the keys of the tables above."""

    count: int
    size: str
    colour: str
    shape: str
    place: str


@dataclass(frozen=True)
class Scene:
    """Groups in reading order, all of different place, colour and shape; `look` seeds what captions do not tell."""

    groups: tuple[Group, ...]
    look: int


class Pictures(Sequence[Any]):
    """Scenes seen as pictures: one is rendered when it is indexed."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: Any) -> Any:
        return Pictures(self.scenes[index]) if isinstance(index, slice) else render(self.scenes[index])


def load_scenes(source: Source) -> ImageText:
    """The test split in the language `source.subset`: 500 images, two captions each, the same images in each language.

    An image's hash is over its size and its RGB bytes. Raises ConfigError for another language or split, and for a folder.
    """
    if source.subset not in LANGUAGES:
        raise ConfigError(f"scenes has no language {source.subset!r}; it has {', '.join(LANGUAGES)}")
    if source.split != "test":
        raise ConfigError(f"scenes has no split {source.split!r} to measure; it has test")
    if source.folder is not None:
        raise ConfigError(f"scenes is generated, not read from {source.folder}; leave the folder out")
    scenes = test_scenes()
    ids = [f"scene-{i:04}" for i in range(len(scenes))]
    texts = [captions(scene, source.subset) for scene in scenes]
    flat = [text for pair in texts for text in pair]
    return ImageText(
        images=Side("image", Pictures(scenes), ids, _image_hashes()),
        texts=Side(
            "text",
            flat,
            [f"{ids[i]}-{source.subset}-{j}" for i, pair in enumerate(texts) for j in range(len(pair))],
            [sha256(text.encode()).hexdigest() for text in flat],
        ),
        image_of_text=np.repeat(np.arange(len(scenes)), [len(pair) for pair in texts]),
        origin={"layout": "scenes", "generator": GENERATOR},
    )


@cache
def test_scenes() -> tuple[Scene, ...]:
    """The 500 scenes of the test split, no two with the same description."""
    rng = random.Random("scenes/test")
    scenes: dict[str, Scene] = {}
    while len(scenes) < TEST_IMAGES:
        scene = _draw(rng)
        if split(scene) == "test":
            scenes.setdefault(describe(scene), scene)
    return tuple(scenes.values())


def train_scene(i: int) -> Scene:
    """Scene i of the endless training split; two of them may be alike."""
    rng = random.Random(f"scenes/train/{i}")
    while split(scene := _draw(rng)) != "train":
        pass
    return scene


def describe(scene: Scene) -> str:
    """All that captions can say about a scene, in one canonical line."""
    return "; ".join(f"{g.count} {g.size} {g.colour} {g.shape} {g.place}" for g in scene.groups)


def split(scene: Scene) -> Literal["train", "test"]:
    """One description in eight belongs to the test split, by its hash."""
    return "test" if sha256(describe(scene).encode()).digest()[0] < 32 else "train"


def render(scene: Scene) -> Image.Image:
    """The picture, 64 x 64 RGB, antialiased in whole-number arithmetic: no library's drawing or rounding is used."""
    rng = random.Random(f"scenes/look/{scene.look}")
    canvas = np.empty((SIZE, SIZE, 3), dtype=np.int64)
    canvas[:] = BACKGROUNDS[_below(rng, len(BACKGROUNDS))]
    for group in scene.groups:
        left, top = PLACES[group.place]
        layouts = LAYOUTS[group.count]
        low, high = RADII[group.size]
        radius = low + _below(rng, high - low + 1)
        reach = (HALF // 2 - radius) // 2 if group.count == 1 else HALF // 4 - radius
        for column, row in layouts[_below(rng, len(layouts))]:
            x = left + column * HALF // 4 + _below(rng, 2 * reach + 1) - reach
            y = top + row * HALF // 4 + _below(rng, 2 * reach + 1) - reach
            _paint(canvas, group, x, y, radius=radius)
    return Image.fromarray(canvas.astype(np.uint8))


def captions(scene: Scene, language: str) -> tuple[str, ...]:
    """Two captions: all groups in full; then, from the last, all but the first of several, without size and place."""
    lexicon = LEXICONS[language]
    clauses = [
        lexicon.clause.format(
            thing=lexicon.phrase(g.count, g.shape, (g.size, g.colour)),
            place=lexicon.places[g.place],
        )
        for g in scene.groups
    ]
    named = scene.groups[1:] or scene.groups
    things = [lexicon.phrase(g.count, g.shape, (g.colour,)) for g in reversed(named)]
    full = lexicon.clauses.format(_listed(clauses, lexicon.clause_comma, lexicon.clause_and))
    short = lexicon.short.format(_listed(things, lexicon.comma, lexicon.last))
    return full[0].upper() + full[1:], short


def _draw(rng: random.Random) -> Scene:
    places, colours, shapes = list(PLACES), list(COLOURS), list(SHAPES)
    groups = [
        Group(
            count=1 + _below(rng, 3),
            size=list(RADII)[_below(rng, 2)],
            colour=colours.pop(_below(rng, len(colours))),
            shape=shapes.pop(_below(rng, len(shapes))),
            place=places.pop(_below(rng, len(places))),
        )
        for _ in range((1, 2, 2, 3, 3)[_below(rng, 5)])
    ]
    groups.sort(key=lambda group: list(PLACES).index(group.place))
    return Scene(tuple(groups), look=rng.getrandbits(32))


def _below(rng: random.Random, n: int) -> int:
    # Python promises the stream of random() alone: choice, sample and randrange have changed between versions.
    return int(rng.random() * n)


def _paint(canvas: Int[np.ndarray, "y x 3"], group: Group, x: int, y: int, *, radius: int) -> None:
    first = np.array([y, x]) // UNIT - radius // UNIT - 1
    pixels = 2 * (radius // UNIT) + 3
    inner = np.arange(pixels * SAMPLES) * (UNIT // SAMPLES) + UNIT // SAMPLES // 2
    down, right = (inner + first[0] * UNIT - y)[:, None], (inner + first[1] * UNIT - x)[None, :]
    down, right = np.broadcast_arrays(down, right)
    mask = SHAPES[group.shape](right, down, radius)
    cover = mask.reshape(pixels, SAMPLES, pixels, SAMPLES).sum(axis=(1, 3))
    lo, hi = np.maximum(first, 0), np.minimum(first + pixels, SIZE)
    window = canvas[lo[0] : hi[0], lo[1] : hi[1]]
    weight = cover[lo[0] - first[0] : hi[0] - first[0], lo[1] - first[1] : hi[1] - first[1], None]
    total = SAMPLES**2
    window[:] = (window * (total - weight) + np.array(COLOURS[group.colour]) * weight + total // 2) // total


@cache
def _image_hashes() -> tuple[str, ...]:
    return tuple(image_hash(render(scene)) for scene in test_scenes())


def image_hash(image: Image.Image) -> str:
    """Sha256 over width, height and RGB bytes; a PNG's bytes would depend on the zlib at hand."""
    return sha256(f"{image.width}x{image.height} ".encode() + image.tobytes()).hexdigest()


def _listed(items: Sequence[str], comma: str, last: str) -> str:
    return comma.join(items[:-1]) + last + items[-1] if len(items) > 1 else items[0]


# The words. A phrase is made of the count, the shape and the adjectives: size before colour, or the colour alone.


class Noun(NamedTuple):
    """A shape's word; `dual` is Arabic's, `measure` Chinese's."""

    one: str
    many: str = ""
    gender: str = "m"
    dual: str = ""
    measure: str = "个"


def _english(count: int, shape: str, adjectives: Sequence[str]) -> str:
    number = ("an" if adjectives[0] == "orange" else "a", "two", "three")[count - 1]
    plural = {"cross": "crosses"}.get(shape, shape + "s")
    return " ".join([number, *adjectives, shape if count == 1 else plural])


GERMAN = {
    "circle": Noun("Kreis", "Kreise"),
    "square": Noun("Quadrat", "Quadrate", "n"),
    "triangle": Noun("Dreieck", "Dreiecke", "n"),
    "star": Noun("Stern", "Sterne"),
    "cross": Noun("Kreuz", "Kreuze", "n"),
    "ring": Noun("Ring", "Ringe"),
    "diamond": Noun("Raute", "Rauten", "f"),
    "hexagon": Noun("Sechseck", "Sechsecke", "n"),
    "heart": Noun("Herz", "Herzen", "n"),
    "crescent": Noun("Mondsichel", "Mondsicheln", "f"),
}
GERMAN_STEMS = {"small": "klein", "large": "groß", "red": "rot", "orange": "orangefarben", "yellow": "gelb", "green": "grün"}
GERMAN_STEMS |= {"blue": "blau", "purple": "violett", "pink": "rosafarben", "brown": "braun", "black": "schwarz"}


def _german(count: int, shape: str, adjectives: Sequence[str]) -> str:
    noun = GERMAN[shape]
    number = ("eine" if noun.gender == "f" else "ein", "zwei", "drei")[count - 1]
    ending = {"m": "er", "n": "es", "f": "e"}[noun.gender] if count == 1 else "e"
    return " ".join([number, *(GERMAN_STEMS[a] + ending for a in adjectives), noun.one if count == 1 else noun.many])


FRENCH = {
    "circle": Noun("cercle", "cercles"),
    "square": Noun("carré", "carrés"),
    "triangle": Noun("triangle", "triangles"),
    "star": Noun("étoile", "étoiles", "f"),
    "cross": Noun("croix", "croix", "f"),
    "ring": Noun("anneau", "anneaux"),
    "diamond": Noun("losange", "losanges"),
    "hexagon": Noun("hexagone", "hexagones"),
    "heart": Noun("cœur", "cœurs"),
    "crescent": Noun("croissant", "croissants"),
}
# Adjectives of French and Spanish: masculine, feminine, and the plural of each.
FRENCH_ADJECTIVES = {
    "small": ("petit", "petite", "petits", "petites"),
    "large": ("grand", "grande", "grands", "grandes"),
    "red": ("rouge", "rouge", "rouges", "rouges"),
    "orange": ("orange", "orange", "orange", "orange"),
    "yellow": ("jaune", "jaune", "jaunes", "jaunes"),
    "green": ("vert", "verte", "verts", "vertes"),
    "blue": ("bleu", "bleue", "bleus", "bleues"),
    "purple": ("violet", "violette", "violets", "violettes"),
    "pink": ("rose", "rose", "roses", "roses"),
    "brown": ("marron", "marron", "marron", "marron"),
    "black": ("noir", "noire", "noirs", "noires"),
}


def _french(count: int, shape: str, adjectives: Sequence[str]) -> str:
    noun = FRENCH[shape]
    number = ("une" if noun.gender == "f" else "un", "deux", "trois")[count - 1]
    *sizes, colour = [FRENCH_ADJECTIVES[a][2 * (count > 1) + (noun.gender == "f")] for a in adjectives]
    return " ".join([number, *sizes, noun.one if count == 1 else noun.many, colour])


SPANISH = {
    "circle": Noun("círculo", "círculos"),
    "square": Noun("cuadrado", "cuadrados"),
    "triangle": Noun("triángulo", "triángulos"),
    "star": Noun("estrella", "estrellas", "f"),
    "cross": Noun("cruz", "cruces", "f"),
    "ring": Noun("anillo", "anillos"),
    "diamond": Noun("rombo", "rombos"),
    "hexagon": Noun("hexágono", "hexágonos"),
    "heart": Noun("corazón", "corazones"),
    "crescent": Noun("media luna", "medias lunas", "f"),
}
SPANISH_ADJECTIVES = {
    "small": ("pequeño", "pequeña", "pequeños", "pequeñas"),
    "large": ("grande", "grande", "grandes", "grandes"),
    "red": ("rojo", "roja", "rojos", "rojas"),
    "orange": ("naranja", "naranja", "naranjas", "naranjas"),
    "yellow": ("amarillo", "amarilla", "amarillos", "amarillas"),
    "green": ("verde", "verde", "verdes", "verdes"),
    "blue": ("azul", "azul", "azules", "azules"),
    "purple": ("morado", "morada", "morados", "moradas"),
    "pink": ("rosa", "rosa", "rosas", "rosas"),
    "brown": ("marrón", "marrón", "marrones", "marrones"),
    "black": ("negro", "negra", "negros", "negras"),
}


def _spanish(count: int, shape: str, adjectives: Sequence[str]) -> str:
    noun = SPANISH[shape]
    number = ("una" if noun.gender == "f" else "un", "dos", "tres")[count - 1]
    agreed = [SPANISH_ADJECTIVES[a][2 * (count > 1) + (noun.gender == "f")] for a in reversed(adjectives)]
    return " ".join([number, noun.one if count == 1 else noun.many, *agreed])


CHINESE = {
    "circle": Noun("圆形"),
    "square": Noun("正方形"),
    "triangle": Noun("三角形"),
    "star": Noun("五角星", measure="颗"),
    "cross": Noun("十字"),
    "ring": Noun("圆环"),
    "diamond": Noun("菱形"),
    "hexagon": Noun("六边形"),
    "heart": Noun("爱心", measure="颗"),
    "crescent": Noun("月牙"),
}
CHINESE_ADJECTIVES = {"small": "小", "large": "大", "red": "红色的", "orange": "橙色的", "yellow": "黄色的", "green": "绿色的"}
CHINESE_ADJECTIVES |= {"blue": "蓝色的", "purple": "紫色的", "pink": "粉色的", "brown": "棕色的", "black": "黑色的"}


def _chinese(count: int, shape: str, adjectives: Sequence[str]) -> str:
    noun = CHINESE[shape]
    return "一两三"[count - 1] + noun.measure + "".join(CHINESE_ADJECTIVES[a] for a in reversed(adjectives)) + noun.one


ARABIC = {
    "circle": Noun("دائرة", "دوائر", "f", "دائرتان"),
    "square": Noun("مربع", "مربعات", "m", "مربعان"),
    "triangle": Noun("مثلث", "مثلثات", "m", "مثلثان"),
    "star": Noun("نجمة", "نجوم", "f", "نجمتان"),
    "cross": Noun("صليب", "صلبان", "m", "صليبان"),
    "ring": Noun("حلقة", "حلقات", "f", "حلقتان"),
    "diamond": Noun("معين", "معينات", "m", "معينان"),
    "hexagon": Noun("شكل سداسي", "أشكال سداسية", "m", "شكلان سداسيان"),
    "heart": Noun("قلب", "قلوب", "m", "قلبان"),
    "crescent": Noun("هلال", "أهلة", "m", "هلالان"),
}
# Masculine, feminine, and the dual of each. The plural of things takes the feminine singular.
ARABIC_ADJECTIVES = {
    "small": ("صغير", "صغيرة", "صغيران", "صغيرتان"),
    "large": ("كبير", "كبيرة", "كبيران", "كبيرتان"),
    "red": ("أحمر", "حمراء", "أحمران", "حمراوان"),
    "orange": ("برتقالي", "برتقالية", "برتقاليان", "برتقاليتان"),
    "yellow": ("أصفر", "صفراء", "أصفران", "صفراوان"),
    "green": ("أخضر", "خضراء", "أخضران", "خضراوان"),
    "blue": ("أزرق", "زرقاء", "أزرقان", "زرقاوان"),
    "purple": ("بنفسجي", "بنفسجية", "بنفسجيان", "بنفسجيتان"),
    "pink": ("وردي", "وردية", "ورديان", "ورديتان"),
    "brown": ("بني", "بنية", "بنيان", "بنيتان"),
    "black": ("أسود", "سوداء", "أسودان", "سوداوان"),
}


def _arabic(count: int, shape: str, adjectives: Sequence[str]) -> str:
    noun = ARABIC[shape]
    feminine = noun.gender == "f"
    form = (int(feminine), 2 + feminine, 1)[count - 1]
    # Three is feminine before a masculine noun and the other way round.
    words = ([noun.one], [noun.dual], ["ثلاث" if feminine else "ثلاثة", noun.many])[count - 1]
    return " ".join([*words, *(ARABIC_ADJECTIVES[a][form] for a in reversed(adjectives))])


@dataclass(frozen=True)
class Lexicon:
    """How one language says a scene: phrases (nominative), places, and the two captions around them."""

    phrase: Callable[[int, str, Sequence[str]], str]
    places: dict[str, str]
    comma: str
    last: str
    short: str
    clause: str
    clause_comma: str
    clause_and: str
    clauses: str


def _places(top_left: str, top_right: str, bottom_left: str, bottom_right: str) -> dict[str, str]:
    return dict(zip(PLACES, (top_left, top_right, bottom_left, bottom_right), strict=True))


LEXICONS: dict[str, Lexicon] = {
    "en": Lexicon(
        phrase=_english,
        places=_places("at the top left", "at the top right", "at the bottom left", "at the bottom right"),
        comma=", ",
        last=" and ",
        short="A picture of {}.",
        clause="{thing} {place}",
        clause_comma=", ",
        clause_and=" and ",
        clauses="{}.",
    ),
    "de": Lexicon(
        phrase=_german,
        places=_places("oben links", "oben rechts", "unten links", "unten rechts"),
        comma=", ",
        last=" und ",
        short="Zu sehen: {}.",
        clause="{place} {thing}",
        clause_comma=", ",
        clause_and=" und ",
        clauses="{}.",
    ),
    "fr": Lexicon(
        phrase=_french,
        places=_places("en haut à gauche", "en haut à droite", "en bas à gauche", "en bas à droite"),
        comma=", ",
        last=" et ",
        short="On voit {}.",
        clause="{thing} {place}",
        clause_comma=", ",
        clause_and=" et ",
        clauses="{}.",
    ),
    "es": Lexicon(
        phrase=_spanish,
        places=_places("arriba a la izquierda", "arriba a la derecha", "abajo a la izquierda", "abajo a la derecha"),
        comma=", ",
        last=" y ",
        short="En la imagen hay {}.",
        clause="{place} hay {thing}",
        clause_comma=", ",
        clause_and=" y ",
        clauses="{}.",
    ),
    "zh": Lexicon(
        phrase=_chinese,
        places=_places("左上角", "右上角", "左下角", "右下角"),
        comma="、",
        last="和",
        short="图中有{}。",
        clause="{place}有{thing}",
        clause_comma="，",
        clause_and="，",
        clauses="{}。",
    ),
    "ar": Lexicon(
        phrase=_arabic,
        places=_places("أعلى اليسار", "أعلى اليمين", "أسفل اليسار", "أسفل اليمين"),
        comma=" و",
        last=" و",
        short="في الصورة {}.",
        clause="في {place} {thing}",
        clause_comma="، و",
        clause_and="، و",
        clauses="{}.",
    ),
}
