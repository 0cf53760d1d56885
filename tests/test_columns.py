"""Columns of a table are told by what they hold, named where two fit, and refused with what there is."""

import sys
from pathlib import Path
from typing import Any

import pytest

from evals.config.own_data import DataRef, Reading, parse_columns
from evals.data.columns import Table, choose_columns
from evals.data.local import recognise
from evals.data.own import object_subsets, read_own
from evals.schema import CaptionProtocol, ConfigError, Data, EvalError, InvalidError, MissingError
from tests.doors import ROWS, picture
from tests.layouts import Photo, saved


def table(**columns: list[Any]) -> Table:
    return Table("t", columns, lambda row: f"t, row {row}")


def taken(wanted: str = "", **columns: list[Any]) -> str:
    return str(choose_columns(table(**columns), parse_columns(wanted) if wanted else {}))


FILES = ["a.jpg", "b.jpg"]
TEXTS = ["a dog", "a cat"]


def test_kinds_decide_whatever_the_columns_are_called() -> None:
    assert taken(x=FILES, y=TEXTS) == "image=x,captions=y"
    assert taken(x=[b"1", b"2"], y=[["a", "b"], ["c"]], n=[1, 2]) == "image=x,captions=y"
    assert taken(x=[{"bytes": b"1"}], y=[["a"]]) == "image=x,captions=y"


def test_a_usual_name_decides_between_columns_that_fit() -> None:
    assert taken(file=FILES, url=TEXTS, caption=TEXTS) == "image=file,captions=caption"
    assert taken(image=[b"1", b"2"], filename=FILES, text=TEXTS) == "image=image,captions=text"
    assert taken(image=FILES, thumb=FILES, text=TEXTS) == "image=image,captions=text"


def test_numbered_columns_hold_a_caption_each_in_the_order_of_their_numbers() -> None:
    columns = {f"caption_{n}": TEXTS for n in (10, 9, 0)}
    assert taken(image=FILES, **columns) == "image=image,captions=caption_0+caption_9+caption_10"


def test_two_that_fit_are_refused_with_the_columns_and_the_option() -> None:
    says = (
        r"2 columns fit for `captions`. It has 'file' \(names of image files\), 'x' \(texts\), "
        r"'y' \(texts\). Say which with --columns image=COLUMN,captions=COLUMN"
    )
    with pytest.raises(ConfigError, match=says):
        taken(file=FILES, x=TEXTS, y=TEXTS)
    assert taken("captions=y", file=FILES, x=TEXTS, y=TEXTS) == "image=file,captions=y"
    both = taken("captions=x+y", file=FILES, x=TEXTS, y=TEXTS)
    assert both == "image=file,captions=x+y"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("captions=z", r"no column 'z' for `captions`. It has 'x'"),
        ("captions=picture", r"column 'picture' holds images, which cannot be `captions`"),
        ("image=lists", r"column 'lists' holds lists of texts, which cannot be `image`"),
        ("caption=x", r"'caption=x' is not ROLE=COLUMN with a role of image, captions"),
        ("captions=x,captions=y", r"each once"),
    ],
)
def test_a_column_that_cannot_be_meant_is_refused(wanted: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        taken(wanted, x=TEXTS, picture=[b"1"], lists=[["a"]])


def photos(root: Path, name: str, text: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for row in ROWS:
        (root / row.name).write_bytes(row.data or b"")
    (root / name).write_text(text, encoding="utf-8")
    return root


def read(place: Path | str, **reading: Any) -> Data:
    [data] = read_own(DataRef("captions", str(place), "x"), Reading(**reading)).subsets.values()
    return data


def test_captions_are_classes_only_where_that_is_said() -> None:
    captioned = table(image=FILES, caption=TEXTS)
    with pytest.raises(ConfigError, match=r"no column fits for `label`.*'caption' \(texts\)"):
        choose_columns(captioned, {}, ("image", "label"))
    assert choose_columns(captioned, {"label": "caption"}, ("image", "label")).label == "caption"
    assert choose_columns(table(image=FILES, text=TEXTS), {}, ("image", "label")).label == "text"


def test_lists_written_as_strings_are_read_where_that_is_said(tmp_path: Path) -> None:
    rows = """image,sentences\na.png,"['a dog', 'two dogs']"\nb.png,"[""a cat""]"\n"""
    root = photos(tmp_path, "x.csv", rows)
    with pytest.raises(InvalidError, match=r"line 2: column sentences is a list written.*\[\]\."):
        read(root)
    data = read(root, columns="captions=sentences[]")
    assert list(data.texts.items) == ["a dog", "two dogs", "a cat"]
    assert data.origin["columns"] == "image=image,captions=sentences[]"
    (root / "x.csv").write_text("image,sentences\na.png,not a list\n")
    with pytest.raises(InvalidError, match=r"line 2, column sentences: 'not a list' is no list"):
        read(root, columns="captions=sentences[]")


def test_an_id_tells_images_without_a_file_apart() -> None:
    rows = [{"image": picture(1), "caption": "a", "nr": "p"}] * 2
    rows = [*rows, {"image": picture(1), "caption": "b", "nr": "q"}]
    by_content = object_subsets(rows, "x", Reading(), CaptionProtocol())["all"]
    assert by_content.counts == {"images": 1, "texts": 3}
    named = Reading(columns="captions=caption,id=nr")
    by_id = object_subsets(rows, "x", named, CaptionProtocol())["all"]
    assert by_id.images.ids == ["p", "q"] and by_id.origin["equal_images"] == "1"


def test_a_caption_in_json_lines_may_be_one_text(tmp_path: Path) -> None:
    root = photos(tmp_path, "captions.jsonl", '{"image": "a.png", "caption": "a dog"}\n')
    assert list(read(root).texts.items) == ["a dog"]
    both = '{"image": "a.png", "caption": "a", "captions": ["b"]}\n'
    with pytest.raises(InvalidError, match=r"line 1: has `captions` and `caption`"):
        read(photos(tmp_path, "captions.jsonl", both))


def test_a_folder_that_fits_two_layouts_is_refused_with_both_names(tmp_path: Path) -> None:
    root = photos(tmp_path, "x.csv", "image,caption\na.png,a dog\n")
    photos(tmp_path, "captions.jsonl", '{"image": "a.png", "caption": "a dog"}\n')
    with pytest.raises(ConfigError, match=r"captions.jsonl \(jsonl\) and x.csv \(table\)"):
        read(root)
    assert read(root / "x.csv").origin["layout"] == "table"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (("a.png",), "It has 1 image files, and no captions"),
        (("cat/a.png", "dog/b.png"), "are these classes.*labels:"),
        (("corpus.jsonl", "queries.jsonl"), "It is a BEIR folder of texts"),
        (("notes.md",), "It holds notes.md"),
        ((), "It is empty"),
    ],
)
def test_an_unknown_folder_is_told_what_is_nearest(
    files: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture(1) if name.endswith("png") else b"{}")
    with pytest.raises(MissingError, match=rf"no annotations in it.*{says}.*captions.jsonl"):
        recognise(tmp_path, "test")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '{"image": "a.png", "caption": "a dog"}\n',
            r"captions.csv holds JSON: call it captions.jsonl",
        ),
        (
            "a.png,a dog\n",
            r"captions.csv begins with 'a.png,a dog': the first line must name the columns",
        ),
        ("", r"captions.csv is empty"),
        ("image,caption\n", r"captions.csv has its first line, 'image,caption', and no row below"),
        ("image,caption\na,a dog\n", r".*the next name an image file, such as dog.jpg"),
    ],
)
def test_a_table_that_cannot_be_read_as_captions_is_not_overlooked(
    text: str, says: str, tmp_path: Path
) -> None:
    root = photos(tmp_path, "captions.csv", text)
    with pytest.raises(MissingError, match=rf"no annotations in it. It has \d image files. {says}"):
        read(root)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("ending", ["heic", "HEIC", "avif"])
def test_a_photo_of_a_phone_is_named_by_its_format_in_any_row(
    number: int, ending: str, tmp_path: Path
) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg"]
    names[number] = f"IMG_7.{ending}"
    lines = [f"{name},a dog\n" for name in names]
    root = photos(tmp_path, "captions.csv", "image,caption\n" + "".join(lines))
    says = rf"captions.csv, line {number + 2}: image 'IMG_7.{ending}' is {ending.upper()}, which "
    with pytest.raises(
        InvalidError, match=says + r"is not read \(1 of 3 images\). Save it as JPEG"
    ):
        read(root)


def test_a_folder_of_a_class_names_it_too(tmp_path: Path) -> None:
    for name in ("cat/a.png", "dog/b.heic"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(picture(1))
    with pytest.raises(InvalidError, match=r"b.heic: is HEIC, which is not read. Save it as JPEG"):
        read_own(DataRef("labels", str(tmp_path), "pets"), Reading())


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"photos.zip: .*It is packed: unpack it, and point at"):
        read(tmp_path / "photos.zip")


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "frame.pkl").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"A pickle can run code .* to_parquet"):
        read(tmp_path / "frame.pkl")


def test_the_only_split_is_taken_and_of_two_one_must_be_named(tmp_path: Path) -> None:
    lines = '{"file_name": "a.png", "text": "a dog"}\n'
    photos(tmp_path / "val", "metadata.jsonl", lines)
    own = read_own(DataRef("captions", str(tmp_path), "x"), Reading())
    assert own.row.split in ("val", "validation", "dev")
    photos(tmp_path / "train", "metadata.jsonl", lines)
    with pytest.raises(ConfigError, match=r"has the splits .*val.*train.*--split"):
        read(tmp_path)
    assert read(tmp_path, split="train").counts == {"images": 1, "texts": 1}


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"01.tar: no such shard \(2 of 2 are missing"):
        read(f"{tmp_path}/{{01..02}}.tar")
    with pytest.raises(MissingError, match=r"\*.tar: no such shard"):
        read(f"{tmp_path}/*.tar")


def test_without_datasets_a_saved_set_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "x", [Photo(row.name, row.data or b"", row.captions) for row in ROWS])
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingError, match=r"needs datasets. Run: pip install .*\[datasets\]"):
        read(tmp_path / "x")


def test_two_columns_of_one_name_are_refused() -> None:
    import pandas as pd

    frame = pd.DataFrame({"image": ["a.png"], "text": ["a"]})
    with pytest.raises(InvalidError, match=r"two columns have one name"):
        object_subsets(pd.concat([frame, frame], axis=1), "x", Reading(), CaptionProtocol())


@pytest.mark.parametrize("value", [[], [3], ["a.png"], [("a.png", "b", "c")]])
def test_a_list_that_holds_no_rows_is_refused(value: list[Any]) -> None:
    with pytest.raises(EvalError, match=r"x.*(is empty|neither a dict nor a pair)"):
        object_subsets(value, "x", Reading(), CaptionProtocol())


def test_photographs_are_called_the_same_in_every_layout(tmp_path: Path) -> None:
    """So that a run on one layout can be compared with a run on another, query by query."""
    root = photos(tmp_path / "flat", "x.csv", "image,caption\na.png,a dog\nb.png,a cat\n")
    for name in ("a.png", "b.png"):
        (tmp_path / "deep" / "in").mkdir(parents=True, exist_ok=True)
        (tmp_path / "deep" / "in" / name).write_bytes((root / name).read_bytes())
    (tmp_path / "deep" / "x.csv").write_text("image,caption\nin/a.png,a dog\nin/b.png,a cat\n")
    assert read(tmp_path / "deep").texts.ids == read(root).texts.ids == ["a.png#0", "b.png#0"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(b"1", "a", "p"), (b"2", "b", "p")], "row 1: image 'p' is another than at x, row 0"),
        ([(b"1", "a", 1.5)], "the id in column 2 is a float, neither a string"),
        ([("a.png", "a", "p"), (None, "b", "q")], "row 1: the image is null, or is empty"),
    ],
)
def test_an_id_that_is_none_and_an_image_of_another_form_are_refused(
    rows: list[tuple[Any, ...]], says: str
) -> None:
    entries = [dict(zip("012", row, strict=True)) for row in rows]
    named = Reading(columns="image=0,captions=1,id=2")
    with pytest.raises(InvalidError, match=says):
        object_subsets(entries, "x", named, CaptionProtocol())


def test_a_sheet_in_utf16_is_refused_by_its_encoding(tmp_path: Path) -> None:
    photos(tmp_path, "y.md", "")
    (tmp_path / "x.csv").write_text("image,caption\na.png,a dog\n", encoding="utf-16")
    with pytest.raises(InvalidError, match=r"x.csv.*not UTF-8"):
        read(tmp_path)
