"""Every door for data of one's own checks the same: each fault through each of them, as the table of docs/own-data.md has it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from evals.data.table_rows import MERGED_ROWS
from evals.schema import EvalError
from tests.doors import ROWS, Row, picture
from tests.own_doors import CELLS, DOORS, FILES, LONG, TEXT, Desk

DOC = Path(__file__).parents[1] / "docs" / "own-data.md"
Spoil = Callable[[Sequence[Row]], Sequence[Row]]


def first(**fields: object) -> Spoil:
    return lambda rows: [replace(rows[0], **fields), *rows[1:]]


@dataclass(frozen=True)
class Fault:
    """What is wrong: with the rows (`spoil`), the bytes of text files (`style`), or by links.

    `outcome` is what becomes of it, but in the doors of `otherwise`; `says` is in the message.
    """

    outcome: str
    says: str = ""
    spoil: Spoil = list
    style: Callable[[bytes], bytes] = bytes
    link: bool = False
    absent: set[str] = field(default_factory=set)
    otherwise: dict[str, str] = field(default_factory=dict)

    def at(self, door: str) -> str:
        return "–" if door in self.absent else self.otherwise.get(door, self.outcome)


EMPTY = r"is empty"
FAULTS: dict[str, Fault] = {
    "image in two rows": Fault(
        "refused",
        r"'b\.png' is listed at .* too|comes twice|'.*b\.png' is listed",
        lambda rows: [*rows, replace(rows[1], captions=("a third",))],
        # By content, or by the file, rows of one caption belong together. Images without a file
        # stay apart where their rows have lists.
        otherwise=dict.fromkeys(LONG, "merged")
        | dict.fromkeys(("parquet", "saved", "Dataset", "dicts"), "counted"),
    ),
    "equal images": Fault(
        "counted", spoil=first(data=picture(20)), otherwise={"long parquet": "merged"}
    ),
    "empty caption": Fault("refused", EMPTY, first(captions=("", "two dogs"))),
    "U+200B alone": Fault("refused", EMPTY, first(captions=("\u200b", "two dogs"))),
    "U+FEFF alone": Fault("refused", EMPTY, first(captions=("a dog", "\ufeff"))),
    "NaN": Fault(
        "refused",
        r"NaN|no column fits|nan",
        lambda rows: [replace(row, captions=(math.nan,)) for row in rows],
        absent=CELLS,
    ),
    "null": Fault(
        "refused",
        r"null|NaN",
        first(captions=(None, "two dogs")),
        absent=CELLS,
    ),
    "number": Fault(
        "refused",
        r"no column fits|is a whole number|is a float",
        lambda rows: [replace(row, captions=(7.0,)) for row in rows],
        absent=CELLS,
    ),
    "list as a string": Fault(
        "refused", r"is a list written as a string.*", first(captions=("['a', 'b']", "two dogs"))
    ),
    "missing image": Fault(
        "refused",
        r"is not in|no such image file|has no image|is null|is empty",
        first(data=None),
        absent={"saved"},  # `datasets` does not save what it cannot read
    ),
    "no rows": Fault("refused", r"no |nothing|is empty", lambda rows: [], absent={"saved"}),
    "not UTF-8": Fault(
        "refused",
        r"not UTF-8",
        style=lambda text: text.replace(b"dog", b"d\xf6g"),
        absent=set(DOORS) - TEXT,
    ),
    "mark and CRLF": Fault(
        "read",
        style=lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
        absent=set(DOORS) - TEXT,
    ),
    "links to images": Fault("read", link=True, absent=set(DOORS) - FILES),
    "name leads out": Fault(
        "refused",
        r"'\.\./a\.png' is not a path inside",
        first(name="../a.png"),
        absent=set(DOORS) - {"csv", "tsv", "metadata"},
    ),
    "truncated image": Fault("at decoding", r"image is broken", first(data=picture(10)[:-60])),
}


def cells() -> list[tuple[str, str]]:
    return [(fault, door) for fault in FAULTS for door in DOORS if FAULTS[fault].at(door) != "–"]


@pytest.mark.parametrize(("fault", "door"), cells())
def test_a_fault_at_a_door(fault: str, door: str, tmp_path: Path) -> None:
    case = FAULTS[fault]
    outcome, rows = case.at(door), case.spoil(ROWS)
    desk = Desk(tmp_path / "data", case.style, case.link)
    if outcome == "refused":
        with pytest.raises(EvalError, match=case.says) as refused:
            DOORS[door](desk, rows)
        assert str(refused.value).endswith(".") and ". " in str(refused.value)
        return
    data = DOORS[door](desk, rows)
    if outcome == "at decoding":
        with pytest.raises(EvalError, match=case.says):
            data.images.items[0]
        return
    assert (EQUAL in data.origin) == (outcome == "counted")
    texts = [caption for row in rows for caption in row.captions]
    assert sorted(data.texts.items) == sorted(texts)
    if outcome == "merged":
        assert len(data.images) < len(rows) and int(data.origin[MERGED_ROWS]) > 3
    else:
        assert [image.size for image in data.images.items] == [(8, 6)] * len(rows)


EQUAL = "equal_images"


@pytest.mark.parametrize("door", DOORS)
def test_every_door_gives_the_same(door: str, tmp_path: Path) -> None:
    data = DOORS[door](Desk(tmp_path / "data"), ROWS)
    assert list(data.texts.items) == [caption for row in ROWS for caption in row.captions]
    assert len(set(data.images.hashes)) == 3 and EQUAL not in data.origin


def table() -> str:
    """The table of docs/own-data.md."""
    lines = [f"| | {' | '.join(DOORS)} |", "|---" * (len(DOORS) + 1) + "|"]
    for name, fault in FAULTS.items():
        lines.append(f"| {name} | {' | '.join(fault.at(door) for door in DOORS)} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_the_docs_is_the_one_that_is_tested() -> None:
    assert table() in DOC.read_text(encoding="utf-8"), f"put this there:\n{table()}"
