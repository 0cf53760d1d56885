"""One set of photographs in every layout and as every kind of object: one content hash, the same numbers to the bit."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import evals
from evals.config.own_data import DataRef, Reading
from evals.data.layouts import LAYOUTS as KNOWN
from evals.data.local import recognise
from evals.data.own import object_subsets, read_own
from evals.evaluation.recording import content_hash
from evals.schema import CaptionProtocol, Data
from tests.conftest import SHARED
from tests.layouts import LAYOUTS, OBJECTS, Photo, jsonl
from tests.toys import HashEncoder

FLICKR = SHARED / "flickr8k"
DOC = Path(__file__).parents[1] / "docs" / "own-data.md"


@cache
def scenes() -> tuple[Photo, ...]:
    """Twelve pictures of the bundled benchmark as PNG files, with one to five captions."""
    from io import BytesIO

    from evals.data import load
    from evals.schema import Source

    data = load("scenes", Source(("en",), "test"))["en"]
    photos = []
    for number in range(12):
        out = BytesIO()
        data.images.items[number].save(out, "PNG")
        texts = [data.texts.items[(2 * number + place) % 1000] for place in range(1 + number % 5)]
        photos.append(Photo(f"scene {number}.png", out.getvalue(), texts))
    return tuple(photos)


@cache
def flickr() -> tuple[Photo, ...]:
    """The 300 photographs of Flickr8k's dev split, five captions each."""
    if not FLICKR.is_dir():
        pytest.skip("the photographs are not on this machine")
    entries = map(json.loads, (FLICKR / "captions_dev300.jsonl").read_text().splitlines())
    return tuple(
        Photo(e["image"], (FLICKR / "images" / e["image"]).read_bytes(), e["captions"])
        for e in entries
    )


def by_layout(layout: str, root: Path, photos: tuple[Photo, ...]) -> Data:
    write, expected = LAYOUTS[layout]
    place = write(root, photos) or str(root)
    [data] = read_own(DataRef("captions", place, "x"), Reading()).subsets.values()
    assert data.origin["layout"] == expected
    return data


def by_object(kind: str, root: Path, photos: tuple[Photo, ...]) -> Data:
    held = OBJECTS[kind](root, photos)
    if isinstance(held, evals.ImageText):
        return held
    [data] = object_subsets(held, "x", Reading(), CaptionProtocol()).values()
    return data


def ours(root: Path, photos: tuple[Photo, ...]) -> Data:
    return by_layout("jsonl", root / "ours", photos)


def numbers(run: evals.Run) -> list[object]:
    """The lines of the record, of whatever name the only subset has."""
    return [replace(line, subset="") for line in run.record.metrics]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_gives_the_same_content(layout: str, tmp_path: Path) -> None:
    data = by_layout(layout, tmp_path / "data", scenes())
    assert content_hash(data) == content_hash(ours(tmp_path, scenes()))
    assert list(data.texts.items) == [c for photo in scenes() for c in photo.captions]


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_gives_the_same_content(kind: str, tmp_path: Path) -> None:
    data = by_object(kind, tmp_path / "data", scenes())
    assert content_hash(data) == content_hash(ours(tmp_path, scenes()))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_photographs_in_a_layout(layout: str, tmp_path: Path) -> None:
    data = by_layout(layout, tmp_path / "data", flickr())
    assert data.counts == {"images": 300, "texts": 1500}
    assert content_hash(data) == content_hash(ours(tmp_path, flickr()))


@pytest.mark.parametrize("kind", OBJECTS)
def test_photographs_as_an_object(kind: str, tmp_path: Path) -> None:
    data = by_object(kind, tmp_path / "data", flickr())
    assert content_hash(data) == content_hash(ours(tmp_path, flickr()))


def test_the_numbers_are_equal_to_the_bit_through_every_door(tmp_path: Path) -> None:
    jsonl(tmp_path / "first", scenes())
    options = {"results": tmp_path / "runs", "store": None}
    first = evals.evaluate(f"captions:{tmp_path / 'first'}", HashEncoder(), **options)
    for layout, (write, _) in LAYOUTS.items():
        place = write(tmp_path / f"my {layout}", scenes()) or tmp_path / f"my {layout}"
        run = evals.evaluate(f"captions:{place}", HashEncoder(), **options)
        assert numbers(run) == numbers(first), layout
        assert run.manifest["config"]["row"]["own"]["kind"] == "captions"
    for kind, make in OBJECTS.items():
        held = make(tmp_path / "objects" / kind, scenes())
        run = evals.evaluate(data=held, model=HashEncoder(), name="x", **options)
        assert numbers(run) == numbers(first), kind
        contents = [part["content"] for part in run.manifest["data"].values()]
        assert contents == [part["content"] for part in first.manifest["data"].values()]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_folder_is_taken_for_another_layout(layout: str, tmp_path: Path) -> None:
    write, expected = LAYOUTS[layout]
    place = Path(write(tmp_path / "x", scenes()) or tmp_path / "x")
    splits = ["train"] if layout == "metadata.csv" else ["test"]
    assert [recognise(place, split).layout for split in splits] == [expected]


def test_the_docs_show_every_layout_as_the_table_has_it() -> None:
    text = DOC.read_text(encoding="utf-8")
    for name, layout in KNOWN.items():
        about = layout.about.replace("<", "&lt;")
        assert f"| `{name}` | {about} | `{layout.example}` |\n" in text


def test_every_layout_has_a_writer_or_a_benchmark_of_its_own() -> None:
    released = {"clip_benchmark_json", "xtd", "xtd200", "xm3600", "multi30k"}
    assert {expected for _, expected in LAYOUTS.values()} == set(KNOWN) - released
