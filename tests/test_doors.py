"""Every door checks the same: each fault through each way into a benchmark, as the table of docs/reliability.md has it."""

import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import evals
from evals.data.checks import is_blank, text_problem
from evals.data.objects import image_text
from evals.encoders.objects import ObjectEncoder
from evals.mteb_bridge.sides import _sides_of_batches
from evals.schema import EvalError, InvalidError
from tests.doors import DOORS, ROWS, Row, Written, picture
from tests.hub import Hub

pytestmark = pytest.mark.faults

RELIABILITY = Path(__file__).parents[1] / "docs" / "reliability.md"
HUB = {"hub-captions", "hub-retrieval", "labelled-parquet"}
TAR = {"webdataset", "labelled-webdataset"}
JSON = {"jsonl", "karpathy", "coco", "class-folders"}
TEXT = {"csv", *TAR}
# Doors that read no text files.
TEXTLESS = {*HUB, "program", "pillow"}
# Doors through which images come decoded: what is otherwise refused at decoding is refused at once.
DECODED = {"pillow"}
LABELLED = {"class-folders", "labelled-webdataset", "labelled-parquet"}


def first(**fields: object) -> Callable[[Sequence[Row]], list[Row]]:
    """The first row with other fields."""
    return lambda rows: [replace(rows[0], **fields), *rows[1:]]


def each(**fields: object) -> Callable[[Sequence[Row]], list[Row]]:
    """Every row with other fields."""
    return lambda rows: [replace(row, **fields) for row in rows]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def grey(dtype: str, top: float) -> bytes:
    ramp = np.linspace(0, top, 48).reshape(6, 8).astype(dtype)
    return saved(Image.fromarray(ramp), "TIFF")


def frames() -> bytes:
    red, blue = (Image.new("RGB", (8, 6), colour) for colour in ("red", "blue"))
    return saved(red, "GIF", save_all=True, append_images=[blue])


@dataclass(frozen=True)
class Fault:
    """Something wrong with the rows (`spoil`), or with the bytes of text files (`style`).

    `outcome` is what becomes of it: "refused" at loading, refused "at decoding", "read" as if nothing were wrong, or "counted".
    `says` is in the message. In the doors of `absent` it cannot occur.
    """

    outcome: str
    says: str = ""
    spoil: Callable[[Sequence[Row]], Sequence[Row]] = list
    style: Callable[[bytes], bytes] = bytes
    absent: frozenset[str] | set[str] = frozenset()


FAULTS: dict[str, Fault] = {
    "id twice": Fault(
        "refused",
        r"'b(\.png)?' (is listed at .* too|comes twice)",
        lambda rows: [*rows, replace(rows[1], label=0)],
        absent={"csv", "class-folders", "labelled-parquet"},
    ),
    "invisible id": Fault(
        "refused",
        r"the id .* of the image is empty: it holds invisible characters only, '.u200b'",
        first(name="\u200b"),
        absent={"class-folders", "labelled-parquet"},
    ),
    "name leads out": Fault(
        "refused",
        r"'\.\./a\.png' (is not a path inside|has a name that is not a path inside)",
        first(name="../a.png"),
        absent={*TEXTLESS, "class-folders"},
    ),
    "name not UTF-8": Fault(
        "refused", r"not UTF-8|lone surrogate", first(name="caf\udce9.png"), absent=HUB
    ),
    "empty caption": Fault("refused", r"is empty", first(captions=("", "two dogs"))),
    "invisible caption": Fault(
        "refused",
        r"is empty(: it holds invisible characters only)?|line 1: is empty",
        first(captions=("\u200b\ufeff\u2060", "two dogs")),
    ),
    "list as a string": Fault(
        "refused", r"is a list written as a string", first(captions=("['a', 'b']", "two dogs"))
    ),
    "number as a caption": Fault(
        "refused",
        r"must be|neither a string|is a int, not a string|is a whole number, not a string",
        each(captions=(7, 8)),
        absent={*TEXT, "labelled-parquet"},
    ),
    "null as a caption": Fault(
        "refused",
        r"must be|neither a string|empty cells in column|not a string",
        first(captions=(None, "two dogs")),
        absent={*TEXT, "labelled-parquet"},
    ),
    "NaN": Fault(
        "refused",
        r"NaN|nan",
        each(captions=(math.nan,), label=math.nan),
        absent={"csv", "webdataset"},
    ),
    "no such class": Fault(
        "refused",
        r"class 9, where the row has 3 classes|'9' is not one of the 3 labels",
        first(label=9),
        absent=set(DOORS) - LABELLED | {"class-folders"},
    ),
    "nothing in it": Fault("refused", r"no |nothing", lambda rows: []),
    "not UTF-8": Fault(
        "refused", r"not UTF-8", style=lambda text: text.replace(b"dog", b"d\xf6g"), absent=TEXTLESS
    ),
    "mark and CRLF": Fault(
        "read",
        style=lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
        absent=TEXTLESS,
    ),
    "key twice": Fault(
        "refused",
        r"the key 'x' comes twice",
        style=lambda text: text.replace(b"{", b'{"x": "1", "x": "2", ', 1),
        absent=set(DOORS) - JSON,
    ),
    "deep nesting": Fault(
        "refused",
        r"nested more than 100 deep",
        style=lambda text: text.replace(b"{", b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b",", 1),
        absent=set(DOORS) - JSON,
    ),
    "endless number": Fault(
        "refused",
        r"a number of 5,000 digits",
        style=lambda text: text.replace(b"{", b'{"x": ' + b"7" * 5000 + b",", 1),
        absent=set(DOORS) - JSON,
    ),
    "missing image": Fault(
        "refused",
        r"is not in|has no image|is empty|no such image file",
        first(data=None),
        absent={"class-folders", *DECODED},
    ),
    "equal images": Fault("counted", spoil=first(data=picture(20))),
    "empty image": Fault(
        "at decoding", r"the image file is empty", first(data=b""), absent=DECODED
    ),
    "truncated image": Fault("at decoding", r"image is broken", first(data=picture(10)[:-60])),
    "16-bit grey": Fault(
        "at decoding", r"mode I;16, which has not 8 bits", first(data=grey("<u2", 65_535))
    ),
    "32-bit grey": Fault(
        "at decoding", r"mode I, which has not 8 bits", first(data=grey("<i4", 65_535))
    ),
    "float grey": Fault("at decoding", r"mode F, which has not 8 bits", first(data=grey("<f4", 1))),
    "1 x 65,000": Fault(
        "at decoding",
        r"1 x 65,000 pixels, and one side may be 100 times",
        first(data=saved(Image.new("L", (1, 65_000)), "PNG")),
    ),
    "animation": Fault("read", spoil=first(data=frames())),
    "image changes": Fault("at decoding", r"changed after it was loaded", absent={*HUB, *DECODED}),
}


def outcome_at(fault: str, door: str) -> str:
    outcome = FAULTS[fault].outcome
    return "refused" if door in DECODED and outcome == "at decoding" else outcome


def cells() -> list[tuple[str, str]]:
    return [(fault, door) for fault in FAULTS for door in DOORS if door not in FAULTS[fault].absent]


@pytest.mark.parametrize(("fault", "door"), cells())
def test_a_fault_at_a_door(fault: str, door: str, tmp_path: Path, hub: Hub) -> None:
    case = FAULTS[fault]
    rows = case.spoil(ROWS)
    out = Written(tmp_path / "data", hub, case.style)
    outcome = outcome_at(fault, door)
    if outcome == "refused":
        with pytest.raises(EvalError, match=case.says) as refused:
            DOORS[door](out, rows)
        assert remedied(str(refused.value))
        return
    data = DOORS[door](out, rows)
    if outcome == "at decoding":
        if fault == "image changes":
            change(out.root)
        with pytest.raises(EvalError, match=case.says) as refused:
            data.images.items[0]
        assert remedied(str(refused.value))
        assert "a.png" in str(refused.value) or "image 0" in str(refused.value)
        assert data.images.items[1].size == (8, 6)
        return
    assert data.origin.get("equal_images") == ("1" if outcome == "counted" else None)
    assert [image.size for image in data.images.items] == [(8, 6)] * 3
    texts = [text.removeprefix("a photo of ") for text in data.texts.items]
    if door in LABELLED:
        assert data.classnames == tuple(row.captions[0] for row in ROWS)
    else:
        assert texts == [caption for row in ROWS for caption in row.captions]
    if fault == "animation":
        assert data.images.items[0].convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def remedied(message: str) -> bool:
    """Whether a message ends in a sentence of its own, which says what to do."""
    return message.endswith(".") and ". " in message and len(message) < 1500


def change(root: Path) -> None:
    """The picture of the first row becomes another of the same size, in whatever file it lies."""
    old, new = picture(10), picture(11)
    assert len(old) == len(new)
    changed = 0
    for path in root.rglob("*"):
        if path.is_file() and old in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(old, new))
            changed += 1
    assert changed == 1


@pytest.mark.parametrize("door", [door for door in DOORS if door not in TEXTLESS])
def test_a_folder_whose_name_is_not_utf8_is_refused(door: str, tmp_path: Path, hub: Hub) -> None:
    """Its name would be written into the record, after all encoding."""
    root = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(EvalError, match=r"caf.udce9.*: a file name that is not UTF-8") as refused:
        DOORS[door](Written(root, hub), ROWS)
    str(refused.value).encode()


@pytest.mark.parametrize("door", [door for door in DOORS if door not in DECODED])
def test_every_door_gives_the_same_images(door: str, tmp_path: Path, hub: Hub) -> None:
    data = DOORS[door](Written(tmp_path, hub), ROWS)
    assert list(data.images.hashes) == [sha256(row.data).hexdigest() for row in ROWS]


@pytest.mark.parametrize("captions", [math.nan, None, 7, {"a": 1}])
def test_captions_of_a_program_that_are_none_are_refused(captions: object, tmp_path: Path) -> None:
    """A frame of pandas has NaN where a caption is missing."""
    (tmp_path / "a.png").write_bytes(picture(1))
    with pytest.raises(InvalidError, match=r"image 0: its captions are .*\. Give a string, or"):
        image_text([tmp_path / "a.png"], [captions])


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (Image.new("I;16", (8, 6)), "image 1: an image of mode I;16, which has not 8 bits"),
        (Image.new("F", (8, 6)), "image 1: an image of mode F, which has not 8 bits"),
        (Image.new("L", (1, 101)), "image 1: 1 x 101 pixels, and one side may be 100 times"),
    ],
)
def test_pillow_images_of_a_program_pass_the_same_checks(image: Image.Image, says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        image_text([Image.new("L", (8, 6)), image], ["a dog", "a cat"])


GREEN = Image.new("RGB", (8, 6), "green")


@pytest.mark.parametrize(
    ("images", "captions", "says"),
    [
        ([GREEN] * 3, "dog", "captions is a string. Give a list"),
        ([GREEN] * 2, {"a dog": 1, "a cat": 2}, "captions is an object"),
        ([GREEN] * 2, {"a dog", "a cat"}, "captions is a set"),
        ({"green.png": "a dog"}, ["a dog"], "images is an object"),
        ([GREEN] * 2, [{"a dog", "two dogs"}, "a cat"], "image 0: its captions are a set"),
        ([GREEN] * 2, [np.array("a dog"), "a cat"], "image 0: its captions are a ndarray"),
        ([GREEN], pd.DataFrame({"caption": ["a dog"]}), "captions is a DataFrame"),
        ([Image.new("L", (0, 0))], ["a dog"], "image 0: 0 x 0 pixels"),
        ([Image.new("1", (10_000, 5_001))], ["a dog"], "image 0: the image has more than 50,000"),
    ],
)
def test_what_has_no_order_or_no_size_is_refused(
    images: object, captions: object, says: str
) -> None:
    """A string would give its letters as captions, a dict its keys, a frame its column names."""
    with pytest.raises(InvalidError, match=says) as refused:
        image_text(images, captions)
    assert remedied(str(refused.value))


def test_what_has_an_order_is_taken_by_position() -> None:
    """Whatever the labels of a Series are; a generator gives its items once."""
    words = ["a dog", "a cat", "a sea"]
    for captions in (
        pd.Series(words, index=[2, 0, 1]),
        np.array(words),
        tuple(words),
        (word for word in words),
        pd.Series([[word] for word in words], index=["x", "x", "y"]),
    ):
        assert list(image_text([GREEN] * 3, captions).texts.items) == words


def palettes() -> list[Image.Image]:
    """The same shapes in other colours."""
    red, blue = (Image.new("P", (8, 6), 1) for _ in range(2))
    red.putpalette([0, 0, 0, 255, 0, 0])
    blue.putpalette([0, 0, 0, 0, 0, 255])
    return [red, blue]


def test_pictures_of_other_palettes_are_other_pictures() -> None:
    """Their pixels are the same numbers, and the store would answer one for the other."""
    red, blue = palettes()
    data = image_text([red, blue, red.copy()], ["red", "blue", "red again"])
    assert data.images.hashes[0] == data.images.hashes[2] != data.images.hashes[1]
    loaded = _sides_of_batches([{"image": [red, blue]}], None, None)[0]
    assert len(set(loaded.hashes)) == 2


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (Image.new("I;16", (8, 6)), "image 1: an image of mode I;16, which has not 8 bits"),
        (Image.fromarray(np.full((6, 8), np.nan, np.float32)), "image 1: an image of mode F"),
        (Image.new("L", (1, 65_000)), "image 1: 1 x 65,000 pixels"),
    ],
)
def test_images_of_mteb_that_come_decoded_pass_the_same_checks(image, says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        _sides_of_batches([{"image": [GREEN, image]}], None, None)


@pytest.mark.parametrize(
    "rows",
    [
        {"a dog": [1.0, 2.0]},
        [["1.0", "2.0"]],
        [[1 + 1j, 2.0]],
        [[1.0, 2.0], [1.0]],
        None,
        [[True, False]],
    ],
    ids=["dict", "strings", "complex", "ragged", "none", "truths"],
)
def test_rows_of_an_object_that_are_no_real_numbers_are_refused(rows: object) -> None:
    class Model:
        def encode(self, items: object) -> object:
            return rows

    with pytest.raises(InvalidError, match=r"toy: gave (no )?rows"):
        ObjectEncoder(Model(), name="toy", weights="1")


@pytest.mark.parametrize(
    ("images", "image_of_text", "says"),
    [
        (np.eye(2), [False, True], "image_of_text must hold one row"),
        (np.eye(2), [0.0, 1.0], "image_of_text must hold one row"),
        (np.eye(2) * 1j, [0, 1], "the rows of images are complex128 of shape"),
        (np.array([["1", "0"], ["0", "1"]]), [0, 1], "the rows of images are <U1"),
        (np.ones(2), [0, 1], r"the rows of images are float64 of shape \(2,\)"),
        (np.array([[np.nan, 1.0], [0, 1]]), [0, 1], "NaN"),
    ],
    ids=["truths", "floats", "complex", "strings", "flat", "nan"],
)
def test_rows_that_are_there_are_real_numbers(images, image_of_text, says, tmp_path) -> None:
    with pytest.raises(InvalidError, match=says):
        evals.score(images, np.eye(2), image_of_text, results=tmp_path)


@pytest.mark.parametrize(
    "character",
    "\u00a0 \u00ad \u034f \u061c \u115f \u200b \u200e \u2028 \u202e \u2060 \u2800 \u3000 \u3164 \ufe0f \ufeff \uffa0 "
    "\U000e0020 \t \n \x1f".split(" "),
    ids=ascii,
)
def test_what_nobody_can_see_says_nothing(character: str) -> None:
    for text in (character, f" {character}\u200b"):
        assert is_blank(text)
        assert text_problem(text).startswith("is empty: it holds invisible characters only")
        assert text_problem(f"a{text}") == ""


@pytest.mark.parametrize(
    "text", ["a", "。", "🙂", "\u0301", "[a dog]", "['a dog", "[]", '["a"] dog']
)
def test_what_can_be_seen_is_a_caption(text: str) -> None:
    assert text_problem(text) == ""


@pytest.mark.parametrize("text", ["['a']", '["a", "b"]', " ['a',\n 'b'] ", "['a' 'b']"])
def test_a_list_in_a_string_is_no_caption(text: str) -> None:
    assert text_problem(text).startswith("is a list written as a string")


def table() -> str:
    """The table of docs/reliability.md."""
    lines = [f"| | {' | '.join(DOORS)} |", "|---" * (len(DOORS) + 1) + "|"]
    for name, fault in FAULTS.items():
        outcomes = ("–" if door in fault.absent else outcome_at(name, door) for door in DOORS)
        lines.append(f"| {name} | {' | '.join(outcomes)} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_the_docs_is_the_one_that_is_tested() -> None:
    assert table() in RELIABILITY.read_text(encoding="utf-8"), f"put this there:\n{table()}"
