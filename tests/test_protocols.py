"""Which captions are measured, and as what: cut, quoted, merged; and data that several languages share."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evals.config.catalog import Benchmark
from evals.data import load, subset_of
from evals.data.captioned import Captioned, Release, measured, quoted_caption
from evals.data.images import Images
from evals.evaluation.evaluate import evaluate
from evals.evaluation.load import Parts
from evals.evaluation.recording import content_hash
from evals.schema import CaptionProtocol, ConfigError, ImageText, InvalidError, Source
from evals.settings import Settings
from evals.tasks.image_text import score
from tests.toys import HashEncoder


def release(quoted: bool = False, **languages: dict[str, Sequence[str]]) -> Release:
    rows = {
        language: [
            Captioned(image, tuple(captions), f"{language}.txt, {image}")
            for image, captions in of.items()
        ]
        for language, of in languages.items()
    }
    return Release(
        "toy",
        "toy",
        rows,
        lambda rows: Images([r.image for r in rows], lambda i: rows[i].image.encode()),
        quoted,
    )


def read(found: Release, **protocol: object) -> dict[str, ImageText]:
    return measured(found, Source(tuple(found.rows), "test", protocol=CaptionProtocol(**protocol)))  # type: ignore[arg-type]


def test_the_first_so_many_captions_of_each_image_are_kept() -> None:
    toy = release(en={"a": ["1", "2", "3", "4", "5", "6"], "b": ["7", "8", "9", "10", "11"]})
    assert len(read(toy)["en"].texts) == 11
    assert read(toy, captions=5)["en"].texts.items == [
        "1",
        "2",
        "3",
        "4",
        "5",
        "7",
        "8",
        "9",
        "10",
        "11",
    ]
    first = read(toy, captions="first")["en"]
    assert (first.texts.items, first.texts.ids, first.image_of_text.tolist()) == (
        ["1", "7"],
        ["a#0", "b#0"],
        [0, 1],
    )


@pytest.mark.parametrize(
    ("caption", "in_csv"),
    [
        ("plain", "plain"),
        ("a, b", '"a, b"'),
        ('a "b"', '"a ""b"""'),
        ("it's", "it's"),
        ("a;b", "a;b"),
    ],
)
def test_quotes_are_those_of_csv_and_go_both_ways(caption: str, in_csv: str) -> None:
    assert quoted_caption(caption) == in_csv
    clean, baked = release(en={"a": [caption]}), release(quoted=True, en={"a": [in_csv]})
    for found in (clean, baked):
        assert read(found)["en"].texts.items == [caption]
        assert read(found, quotes="clip_benchmark")["en"].texts.items == [in_csv]


def test_a_baked_caption_that_is_no_csv_is_refused() -> None:
    with pytest.raises(InvalidError, match=r"en.txt, a: caption .* is not one cell of CSV"):
        read(release(quoted=True, en={"a": ['"one", two']}))


def test_equal_captions_are_queries_of_their_own_or_one_with_all_its_images() -> None:
    toy = release(en={"a": ["same", "x", "same"], "b": ["same"], "c": ["y"]})
    own = read(toy)["en"]
    assert (own.image_of_text.tolist(), own.also.tolist()) == ([0, 0, 0, 1, 2], [])
    merged = read(toy, duplicates="merged")["en"]
    assert merged.texts.items == ["same", "x", "y"]
    assert (merged.image_of_text.tolist(), merged.also.tolist()) == ([0, 0, 2], [[0, 1]])


def test_a_merged_caption_finds_any_of_its_images() -> None:
    merged = read(release(en={"a": ["same"], "b": ["same"], "c": ["y"]}), duplicates="merged")["en"]
    images = np.array([[0, 1], [1, 0], [0.6, 0.8]], dtype=np.float32)
    texts = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)  # "same" is nearest to b, y is c
    t2i, i2t = score([images, texts], merged, dims=[2])
    assert t2i.values["R@1"].value == 1.0
    assert i2t.values["R@1"].value == pytest.approx(2 / 3)  # a is nearest to y
    alone = score(
        [images, np.repeat(texts, [2, 1], axis=0)],
        read(release(en={"a": ["same"], "b": ["same"], "c": ["y"]}))["en"],
        dims=[2],
    )
    assert alone[0].values["R@1"].value == pytest.approx(2 / 3)  # its copy for a has b before it


def test_a_part_of_merged_data_keeps_the_pairs_of_its_images() -> None:
    images = {name: ["same", f"only {name}"] for name in "abcd"}
    merged = read(release(en=images), duplicates="merged")["en"]
    part = subset_of(merged, 2)
    kept = part.images.ids
    assert list(part.texts.items) == ["same", *(f"only {name}" for name in kept)]
    assert (part.image_of_text.tolist(), part.also.tolist()) == ([0, 0, 1], [[0, 1]])


def test_the_pairs_of_merged_captions_are_part_of_the_content() -> None:
    merged = read(release(en={"a": ["same"], "b": ["same"]}), duplicates="merged")["en"]
    assert content_hash(merged) != content_hash(
        ImageText(merged.images, merged.texts, merged.image_of_text, {})
    )


def test_languages_with_the_same_images_share_one_side() -> None:
    found = read(release(en={"a": ["x"], "b": ["y"]}, no={"a": ["z"], "b": ["w"]}, de={"b": ["v"]}))
    assert found["en"].images is found["no"].images
    assert (found["de"].images.ids, found["de"].images.hashes) == (
        ["b"],
        found["en"].images.hashes[1:],
    )
    assert found["no"].texts.language == "no"


def pictures(tmp_path: Path, names: Sequence[str]) -> None:
    for shade, name in enumerate(names):
        Image.new("RGB", (4, 4), (shade, 0, 0)).save(tmp_path / name)


def test_many_languages_encode_each_image_and_each_caption_once(tmp_path: Path) -> None:
    pictures(tmp_path, ["a.png", "b.png"])
    (tmp_path / "captions").mkdir()
    for language in ("en", "de", "no"):
        lines = [
            {"image": "a.png", "captions": ["TV", f"{language} one"]},
            {"image": "b.png", "captions": [f"{language} two"]},
        ]
        (tmp_path / "captions" / f"{language}.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in lines)
        )
    parts = load("captions", Source(("en", "de", "no"), "test", tmp_path))
    encoder = HashEncoder()
    row = Benchmark(
        name="toy",
        title="Toy",
        task="image_text",
        data="captions",
        subsets=("en", "de", "no"),
        split="test",
        images=2,
        texts=3,
    )
    for dims in ((8,), (8, 2)):
        evaluate(
            row,
            Parts(parts, None),
            encoder,
            dims,
            Settings(results=tmp_path / "runs", store=tmp_path / "store"),
        )
    encoded = [name for call in encoder.calls for name in call]
    assert sorted(name for name in encoded if "#" not in name) == ["a.png", "b.png"]
    assert len(encoded) == 2 + 7  # "TV" once, and two captions in each language


def test_a_folder_of_one_language_is_not_taken_for_several(tmp_path: Path) -> None:
    pictures(tmp_path, ["a.png"])
    (tmp_path / "captions.jsonl").write_text('{"image": "a.png", "captions": ["x"]}\n')
    with pytest.raises(ConfigError, match="holds one language, and en, de are wanted"):
        load("captions", Source(("en", "de"), "test", tmp_path))
