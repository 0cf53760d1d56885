"""Phrases for groups of objects in six languages, in grammatical agreement: nouns, adjectives, numbers.

A phrase is made of the count, the shape and the adjectives: size before colour, or the colour
alone. words.py has what else captions say.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Noun(NamedTuple):
    """A shape's word; `dual` is Arabic's, `measure` Chinese's."""

    one: str
    many: str = ""
    gender: str = "m"
    dual: str = ""
    measure: str = "个"


def english(count: int, shape: str, adjectives: Sequence[str]) -> str:
    """`two small red circles`; the article is that of the next word: an orange star, a small orange star."""
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
GERMAN_STEMS = {
    "small": "klein",
    "large": "groß",
    "red": "rot",
    "orange": "orangefarben",
    "yellow": "gelb",
    "green": "grün",
}
GERMAN_STEMS |= {
    "blue": "blau",
    "purple": "violett",
    "pink": "rosafarben",
    "brown": "braun",
    "black": "schwarz",
}


def german(count: int, shape: str, adjectives: Sequence[str]) -> str:
    """`zwei kleine rote Kreise`: two small red circles."""
    noun = GERMAN[shape]
    number = ("eine" if noun.gender == "f" else "ein", "zwei", "drei")[count - 1]
    # Strong declension: ein kleiner roter Kreis, eine rote Raute, zwei kleine rote Kreise.
    ending = {"m": "er", "n": "es", "f": "e"}[noun.gender] if count == 1 else "e"
    return " ".join(
        [
            number,
            *(GERMAN_STEMS[a] + ending for a in adjectives),
            noun.one if count == 1 else noun.many,
        ]
    )


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


def french(count: int, shape: str, adjectives: Sequence[str]) -> str:
    """`deux petits cercles rouges`: two small red circles."""
    noun = FRENCH[shape]
    number = ("une" if noun.gender == "f" else "un", "deux", "trois")[count - 1]
    # Sizes stand before the noun, colours behind it: deux petits cercles rouges.
    *sizes, colour = [
        FRENCH_ADJECTIVES[a][2 * (count > 1) + (noun.gender == "f")] for a in adjectives
    ]
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


def spanish(count: int, shape: str, adjectives: Sequence[str]) -> str:
    """`dos círculos rojos pequeños`: two small red circles."""
    noun = SPANISH[shape]
    number = ("una" if noun.gender == "f" else "un", "dos", "tres")[count - 1]
    # Both stand behind the noun, the colour first: dos círculos rojos pequeños.
    agreed = [
        SPANISH_ADJECTIVES[a][2 * (count > 1) + (noun.gender == "f")] for a in reversed(adjectives)
    ]
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
CHINESE_ADJECTIVES = {
    "small": "小",
    "large": "大",
    "red": "红色的",
    "orange": "橙色的",
    "yellow": "黄色的",
    "green": "绿色的",
}
CHINESE_ADJECTIVES |= {
    "blue": "蓝色的",
    "purple": "紫色的",
    "pink": "粉色的",
    "brown": "棕色的",
    "black": "黑色的",
}


def chinese(count: int, shape: str, adjectives: Sequence[str]) -> str:
    """`两个红色的小圆形`: two small red circles."""
    noun = CHINESE[shape]
    # 两, not 二, before a measure word.
    return (
        "一两三"[count - 1]
        + noun.measure
        + "".join(CHINESE_ADJECTIVES[a] for a in reversed(adjectives))
        + noun.one
    )


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


def arabic(count: int, shape: str, adjectives: Sequence[str]) -> str:
    """`دائرتان حمراوان صغيرتان`: two small red circles."""
    noun = ARABIC[shape]
    feminine = noun.gender == "f"
    # One: no number. Two: the dual says it. Three: a number, and the plural of things is a
    # feminine.
    form = (int(feminine), 2 + feminine, 1)[count - 1]
    # Three is feminine before a masculine noun and the other way round.
    words = ([noun.one], [noun.dual], ["ثلاث" if feminine else "ثلاثة", noun.many])[count - 1]
    return " ".join([*words, *(ARABIC_ADJECTIVES[a][form] for a in reversed(adjectives))])
