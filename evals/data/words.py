"""The words of Scenes in six languages: how each says what lies where, with the phrases of phrases.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evals.data.phrases import arabic, chinese, english, french, german, spanish

# The names of places that captions share with scenes.
CORNERS = ("top left", "top right", "bottom left", "bottom right")


@dataclass(frozen=True)
class Lexicon:
    """How one language says a scene: phrases in the nominative, places, and two captions."""

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
    return dict(zip(CORNERS, (top_left, top_right, bottom_left, bottom_right), strict=True))


LEXICONS: dict[str, Lexicon] = {
    "en": Lexicon(
        phrase=english,
        places=_places(
            "at the top left", "at the top right", "at the bottom left", "at the bottom right"
        ),
        comma=", ",
        last=" and ",
        short="A picture of {}.",
        clause="{thing} {place}",
        clause_comma=", ",
        clause_and=" and ",
        clauses="{}.",
    ),
    "de": Lexicon(
        phrase=german,
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
        phrase=french,
        places=_places(
            "en haut à gauche", "en haut à droite", "en bas à gauche", "en bas à droite"
        ),
        comma=", ",
        last=" et ",
        short="On voit {}.",
        clause="{thing} {place}",
        clause_comma=", ",
        clause_and=" et ",
        clauses="{}.",
    ),
    "es": Lexicon(
        phrase=spanish,
        places=_places(
            "arriba a la izquierda",
            "arriba a la derecha",
            "abajo a la izquierda",
            "abajo a la derecha",
        ),
        comma=", ",
        last=" y ",
        short="En la imagen hay {}.",
        clause="{place} hay {thing}",
        clause_comma=", ",
        clause_and=" y ",
        clauses="{}.",
    ),
    "zh": Lexicon(
        phrase=chinese,
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
        phrase=arabic,
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
