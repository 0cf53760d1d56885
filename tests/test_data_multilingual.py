"""The layouts of benchmarks in many languages, on toys of a few images and on the real captions of XTD10."""

import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evals.data.local import load_local, recognise
from evals.schema import CaptionProtocol, ConfigError, ImageText, InvalidError, MissingError, Source
from tests.conftest import SHARED

XTD10 = SHARED / "xtd10"
XTD_LANGUAGES = ("en", "es", "it", "ko", "pl", "ru", "tr", "zh", "de", "fr", "jp")
KEYS = ("000411001ff7dd4f", "0004886b7d043cfd", "0035b9006c333719", "d89a4889331ce042")


def jpeg(shade: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(out, "JPEG")
    return out.getvalue()


def put(folder: Path, *names: str, data: bytes = jpeg()) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def lines(file: Path, *texts: str, end: str = "\n", last: bool = True) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes((end.join(texts) + end * last).encode())
    return file


def pack(file: Path, **members: bytes) -> None:
    with tarfile.open(file, "w:gz" if file.suffix != ".tar" else "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def load(
    folder: Path, *subsets: str, split: str = "test", **protocol: object
) -> dict[str, ImageText]:
    return load_local(Source(subsets, split, folder, protocol=CaptionProtocol(**protocol)))


def texts(data: ImageText) -> list[str]:
    return list(data.texts.items)


# XTD10


def xtd(folder: Path, *, released: bool) -> Path:
    """Three images, one of them in COCO's train set, and captions in en, de and jp; flat or as in the repository."""
    at = {name: folder / name if released else folder for name in ("XTD10", "MIC", "STAIR")}
    lines(
        at["XTD10"] / "test_image_names.txt",
        "COCO_train2014_1.jpg",
        "COCO_val2014_2.jpg",
        "COCO_val2014_3.jpg",
    )
    lines(at["XTD10"] / "test_1kcaptions_en.txt", "a dog", "a cat, asleep", ' "two"\u2028lines ')
    lines(
        at["MIC"] / "test_1kcaptions_de.txt",
        "ein Hund",
        "eine Katze",
        "zwei",
        end="\r\n",
        last=False,
    )
    lines(at["STAIR"] / "test_1kcaptions_jp.txt", "犬", "猫", "二")
    return folder


@pytest.mark.parametrize("released", [True, False])
@pytest.mark.parametrize(
    "places",
    [
        ("images/COCO_train2014_1.jpg", "images/COCO_val2014_2.jpg", "images/COCO_val2014_3.jpg"),
        ("COCO_train2014_1.jpg", "COCO_val2014_2.jpg", "COCO_val2014_3.jpg"),
        (
            "train2014/COCO_train2014_1.jpg",
            "val2014/COCO_val2014_2.jpg",
            "val2014/COCO_val2014_3.jpg",
        ),
    ],
)
def test_xtd_pairs_line_i_of_each_language_with_image_i(
    tmp_path: Path, released: bool, places: tuple[str, ...]
) -> None:
    xtd(tmp_path, released=released)
    put(tmp_path, *places)
    data = load(tmp_path, "jp", "de", "en")
    assert list(data) == ["jp", "de", "en"]
    assert texts(data["jp"]) == ["犬", "猫", "二"]
    assert texts(data["de"]) == ["ein Hund", "eine Katze", "zwei"]
    assert texts(data["en"]) == ["a dog", "a cat, asleep", ' "two"\u2028lines ']
    assert data["de"].images.ids == [
        "COCO_train2014_1.jpg",
        "COCO_val2014_2.jpg",
        "COCO_val2014_3.jpg",
    ]
    assert data["de"].texts.ids[1] == "COCO_val2014_2.jpg#0"
    assert (data["de"].texts.language, data["de"].origin["layout"]) == ("de", "xtd")
    assert data["de"].images is data["jp"].images is data["en"].images


def test_xtd_images_may_stay_in_their_archive(tmp_path: Path) -> None:
    xtd(tmp_path, released=True)
    names = ["COCO_val2014_3.jpg", "COCO_train2014_1.jpg", "COCO_val2014_2.jpg"]
    pack(
        tmp_path / "images.tar.gz",
        **{f"images/{name}": jpeg(n * 80) for n, name in enumerate(names)},
    )
    images = load(tmp_path, "en")["en"].images
    assert [image.getpixel((0, 0))[0] for image in images.items] == [80, 160, 0]


def test_the_list_of_names_itself_can_be_pointed_at(tmp_path: Path) -> None:
    xtd(tmp_path, released=True)
    assert recognise(tmp_path / "XTD10" / "test_image_names.txt", "test") == recognise(
        tmp_path, "test"
    )


def test_a_language_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    xtd(tmp_path, released=True)
    with pytest.raises(
        MissingError, match=r"no test_1kcaptions_fr.txt in it. The languages there are de, en, jp\."
    ):
        load(tmp_path, "en", "fr")


@pytest.mark.parametrize("count", [2, 4])
def test_another_number_of_captions_than_of_images_is_refused_with_both_files(
    tmp_path: Path, count: int
) -> None:
    xtd(tmp_path, released=False)
    lines(tmp_path / "test_1kcaptions_en.txt", *"abcd"[:count])
    with pytest.raises(
        InvalidError,
        match=rf"captions_en.txt: {count} captions, where .*test_image_names.txt lists 3 images",
    ):
        load(tmp_path, "en")


def test_an_empty_line_is_an_empty_caption_and_refused_by_its_number(tmp_path: Path) -> None:
    xtd(tmp_path, released=False)
    lines(tmp_path / "test_1kcaptions_en.txt", "a", "", "c")
    with pytest.raises(
        InvalidError,
        match=r"captions_en.txt, line 2: caption 0 of image 'COCO_val2014_2.jpg' is empty",
    ):
        load(tmp_path, "en")


def test_an_image_listed_twice_is_refused(tmp_path: Path) -> None:
    xtd(tmp_path, released=False)
    lines(tmp_path / "test_image_names.txt", "a.jpg", "b.jpg", "a.jpg")
    with pytest.raises(InvalidError, match=r"line 3: image 'a.jpg' is listed at .*line 1 too"):
        load(tmp_path, "en")


def test_a_missing_image_is_named_and_counted(tmp_path: Path) -> None:
    xtd(tmp_path, released=False)
    put(tmp_path, "train2014/COCO_train2014_1.jpg", "val2014/COCO_val2014_3.jpg")
    with pytest.raises(
        MissingError,
        match=r"line 2: image 'COCO_val2014_2.jpg' is not in .*1 of 3 images are missing",
    ):
        load(tmp_path, "en")


@pytest.mark.skipif(not XTD10.is_dir(), reason="the development data is not on this machine")
def test_the_real_captions_of_xtd_load_in_all_eleven_languages(tmp_path: Path) -> None:
    for file in XTD10.glob("*.txt"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    names = (XTD10 / "test_image_names.txt").read_text().split()
    put(tmp_path / "images", *names)
    data = load(tmp_path, *XTD_LANGUAGES)
    assert {name: (len(of.images), len(of.texts)) for name, of in data.items()} == dict.fromkeys(
        XTD_LANGUAGES, (1000, 1000)
    )
    assert all(of.images is data["en"].images for of in data.values())
    assert not any("\r" in text or "\n" in text for of in data.values() for text in of.texts.items)
    assert data["en"].images.ids[0] == "COCO_train2014_000000061844.jpg"
    assert data["pl"].texts.ids[-1] == "COCO_val2014_000000129945.jpg#0"
    assert {name: 1000 - len(set(of.texts.items)) for name, of in data.items() if len(set(of.texts.items)) < 1000} == {
        "de": 3, "ru": 5, "es": 1, "fr": 1, "jp": 1, "zh": 1
    }  # fmt: skip


# XTD200 and Flickr30k-200


@pytest.mark.parametrize("names", ["test_image_names.txt", "filenames.txt"])
def test_xtd200_reads_a_file_named_by_the_flores_code(tmp_path: Path, names: str) -> None:
    lines(tmp_path / names, "b.jpg", "a.jpg")
    lines(tmp_path / "eng_Latn.txt", "bee", "ant")
    lines(tmp_path / "zho_Hans.txt", "蜂", "蚁", last=False)
    lines(tmp_path / "eng_captions.txt", "of another kind")
    put(tmp_path / "images", "a.jpg", "b.jpg")
    data = load(tmp_path, "zho_Hans", "eng_Latn")
    assert [texts(of) for of in data.values()] == [["蜂", "蚁"], ["bee", "ant"]]
    assert data["eng_Latn"].images.ids == ["b.jpg", "a.jpg"]
    assert data["eng_Latn"].origin["layout"] == "xtd200"
    with pytest.raises(
        MissingError, match=r"no deu_Latn.txt in it. The languages there are eng_Latn, zho_Hans\."
    ):
        load(tmp_path, "deu_Latn")


def test_two_lists_of_names_are_ambiguous_until_one_is_pointed_at(tmp_path: Path) -> None:
    lines(tmp_path / "test_image_names.txt", "a.jpg")
    lines(tmp_path / "filenames.txt", "b.jpg")
    lines(tmp_path / "eng_Latn.txt", "bee")
    put(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(
        ConfigError, match=r"test_image_names.txt \(xtd200\) and filenames.txt \(xtd200\)"
    ):
        load(tmp_path, "eng_Latn")
    assert load(tmp_path / "filenames.txt", "eng_Latn")["eng_Latn"].images.ids == ["b.jpg"]


def test_xtd_and_xtd200_are_told_apart_by_their_captions(tmp_path: Path) -> None:
    names = lines(tmp_path / "test_image_names.txt", "a.jpg")
    with pytest.raises(MissingError, match="no annotations in it"):
        recognise(tmp_path, "test")
    lines(tmp_path / "eng_Latn.txt", "ant")
    assert recognise(tmp_path, "test") == ("xtd200", names)
    lines(tmp_path / "test_1kcaptions_en.txt", "ant")
    assert recognise(tmp_path, "test") == recognise(names, "test") == ("xtd", names)


# Crossmodal-3600


def entry(key: str, **captions: list[str]) -> dict[str, object]:
    """A line of captions.jsonl as Google publishes it."""
    of = {name: {"caption": list_, "caption/tokenized": list_} for name, list_ in captions.items()}
    return {"image/key": key, "image/locale": "ar", **of}


def jsonl(folder: Path, *entries: object) -> Path:
    return lines(folder / "captions.jsonl", *(json.dumps(entry) for entry in entries))


def xm3600(folder: Path) -> Path:
    """Four images, the first and the last of one content, three languages, six Norwegian captions of the second image."""
    jsonl(
        folder,
        entry(KEYS[0], ar=["قطة"], en=["a cat", "the cat"], no=["en katt"]),
        entry(KEYS[1], ar=["."], en=[" a dog "], no=[f"hund {n}" for n in range(6)]),
        entry(KEYS[2], ar=["بيت"], en=["a house"], no=["et hus", "et hus"]),
        entry(KEYS[3], ar=["قطة"], en=["a cat"], no=["en katt"]),
    )
    shades = dict(zip(KEYS, (10, 90, 170, 10), strict=True))
    pack(
        folder / "images.tgz", **{f"images/{key}.jpg": jpeg(shades[key]) for key in reversed(KEYS)}
    )
    return folder


def test_languages_of_one_gallery_share_one_side_of_images(tmp_path: Path) -> None:
    data = load(xm3600(tmp_path), "ar", "en", "no")
    assert data["ar"].images is data["en"].images is data["no"].images
    assert data["no"].images.ids == list(KEYS)
    assert data["no"].images.hashes == [
        sha256(jpeg(shade)).hexdigest() for shade in (10, 90, 170, 10)
    ]
    assert len(set(data["no"].images.hashes)) == 3
    assert [image.getpixel((0, 0))[0] for image in data["no"].images.items] == [10, 90, 170, 10]


def test_xm3600_gives_all_captions_verbatim(tmp_path: Path) -> None:
    data = load(xm3600(tmp_path), "ar", "en", "no")
    assert texts(data["ar"]) == ["قطة", ".", "بيت", "قطة"]
    assert texts(data["en"]) == ["a cat", "the cat", " a dog ", "a house", "a cat"]
    assert np.bincount(data["no"].image_of_text).tolist() == [1, 6, 2, 1]
    assert data["no"].texts.ids[6] == f"{KEYS[1]}#5"
    assert data["no"].texts.language == "no"
    place = {"layout": "xm3600", "path": str(tmp_path / "captions.jsonl")}
    assert data["en"].origin == {**place, "equal_images": "1"}


def test_first_captions_give_one_text_an_image(tmp_path: Path) -> None:
    data = load(xm3600(tmp_path), "en", "no", captions="first")
    assert texts(data["no"]) == ["en katt", "hund 0", "et hus", "en katt"]
    assert texts(data["en"]) == ["a cat", " a dog ", "a house", "a cat"]
    assert data["en"].image_of_text.tolist() == [0, 1, 2, 3]


def test_crossmodal_is_found_below_the_folder_and_by_its_file(tmp_path: Path) -> None:
    file = xm3600(tmp_path / "xm3600") / "captions.jsonl"
    assert (
        recognise(tmp_path, "test")
        == recognise(file.parent, "test")
        == recognise(file, "test")
        == ("xm3600", file)
    )


def test_the_two_kinds_of_captions_jsonl_are_told_apart_by_the_first_line(tmp_path: Path) -> None:
    assert (
        recognise(jsonl(tmp_path / "ours", {"image": "a.jpg", "captions": ["a"]}), "test")[0]
        == "jsonl"
    )
    assert recognise(jsonl(tmp_path / "theirs", entry(KEYS[0], en=["a"])), "test")[0] == "xm3600"
    broken = lines(tmp_path / "broken" / "captions.jsonl", '{"image/key": ')
    with pytest.raises(InvalidError, match=r"captions.jsonl, line 1: not JSON"):
        load(broken, "en")


@pytest.mark.parametrize("archive", ["images.tar", "images.tgz", "images.tar.gz"])
def test_images_in_an_archive_are_found_in_whatever_folder_it_has(
    tmp_path: Path, archive: str
) -> None:
    jsonl(tmp_path, entry("a1", en=["a"]), entry("b2", en=["b"]))
    pack(tmp_path / archive, **{"./top/b2.jpg": jpeg(200), "a1.jpg": jpeg(100), "LICENSE": b"text"})
    images = load(tmp_path, "en")["en"].images
    assert [image.getpixel((0, 0))[0] for image in images.items] == [100, 200]


def test_an_images_folder_goes_before_an_archive(tmp_path: Path) -> None:
    jsonl(tmp_path, entry("a1", en=["a"]), entry("b2", en=["b"]))
    pack(tmp_path / "images.tar", **{"a1.jpg": jpeg(), "b2.jpg": jpeg()})
    put(tmp_path / "images", "a1.jpg")
    with pytest.raises(
        MissingError, match=r"line 2: image 'b2.jpg' is not in .*1 of 2 images are missing"
    ):
        load(tmp_path, "en")


def test_images_that_an_archive_lacks_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    xm3600(tmp_path)
    pack(tmp_path / "images.tgz", **{f"images/{KEYS[1]}.jpg": jpeg()})
    with pytest.raises(
        MissingError, match=rf"line 1: image '{KEYS[0]}.jpg' is not in .*images.tgz \(3 of 4 images"
    ):
        load(tmp_path, "en")


def test_two_files_of_one_name_in_an_archive_are_refused(tmp_path: Path) -> None:
    jsonl(tmp_path, entry("a1", en=["a"]))
    pack(tmp_path / "images.tar", **{"x/a1.jpg": jpeg(), "y/a1.jpg": jpeg(9)})
    with pytest.raises(
        InvalidError, match=r"images.tar: holds x/a1.jpg and y/a1.jpg, any of which could be meant"
    ):
        load(tmp_path, "en")


def test_a_broken_image_in_an_archive_is_refused_by_its_name(tmp_path: Path) -> None:
    jsonl(tmp_path, entry("a1", en=["a"]))
    pack(tmp_path / "images.tar", **{"images/a1.jpg": b"no image"})
    images = load(tmp_path, "en")["en"].images
    with pytest.raises(
        InvalidError, match=r"images.tar: images/a1.jpg: its 8 bytes are not an image"
    ):
        images.items[0]


def test_a_language_that_images_lack_is_refused_with_the_count(tmp_path: Path) -> None:
    jsonl(tmp_path, entry("a1", en=["a"], no=["a"]), entry("b2", en=["b"]), entry("c3", en=["c"]))
    with pytest.raises(
        InvalidError,
        match=r"line 2: image 'b2' has no captions in 'no' \(2 of 3 images have none\)",
    ):
        load(tmp_path, "en", "no")
    with pytest.raises(
        InvalidError,
        match=r"'xx' \(3 of 3 images have none\). The languages of the file are en, no\.",
    ):
        load(tmp_path, "xx")


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (
            {"image/key": "b2", "en": {"caption": [" \u00a0"]}},
            r"line 2: caption 0 of image 'b2' is empty",
        ),
        ({"image/key": "b2", "en": {"caption": []}}, r"line 2: image 'b2' has no captions"),
        (
            {"image/key": "b2", "en": {"caption": ["b", None]}},
            r"line 2, 'en': `caption` must be a list of strings",
        ),
        (
            {"image/key": "b2", "en": {"caption": "b"}},
            r"line 2, 'en': `caption` must be a list of strings and is \"b\"",
        ),
        ({"image/key": "b2", "en": ["b"]}, r"line 2: `en` must be an object"),
        (
            {"image/key": 7, "en": {"caption": ["b"]}},
            r"line 2: `image/key` must be a string and is 7",
        ),
        (
            {"image/key": "a1", "en": {"caption": ["b"]}},
            r"line 2: image 'a1' is listed at .*line 1 too",
        ),
        ([], r"line 2: must be an object with the key `image/key`"),
    ],
)
def test_broken_lines_of_crossmodal_are_refused_by_number(
    tmp_path: Path, broken: object, says: str
) -> None:
    jsonl(tmp_path, entry("a1", en=["a"]), broken)
    with pytest.raises(InvalidError, match=says):
        load(tmp_path, "en")


def test_a_key_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    put(tmp_path, "secret.jpg")
    jsonl(tmp_path / "data", entry("../secret", en=["a"]))
    with pytest.raises(InvalidError, match=r"'../secret.jpg' is not a path inside"):
        load(tmp_path / "data", "en")


# Multi30k


@pytest.mark.parametrize(
    ("names", "captions", "images"),
    [
        ("test_2016_flickr.txt", "", "flickr30k-images"),
        ("test_2016_flickr_images.txt", "", "images"),
        ("image_splits/test_2016_flickr.txt", "raw", "images"),
    ],
)
def test_multi30k_reads_four_languages(
    tmp_path: Path, names: str, captions: str, images: str
) -> None:
    lines(tmp_path / names, "1007129816.jpg", "1009434119.jpg")
    for language in ("en", "de", "fr", "cs"):
        lines(
            tmp_path / captions / f"test_2016_flickr.{language}",
            f"man ({language})",
            f"dog ({language})",
        )
    put(tmp_path / images, "1007129816.jpg", "1009434119.jpg")
    data = load(tmp_path, "en", "de", "fr", "cs")
    assert texts(data["cs"]) == ["man (cs)", "dog (cs)"]
    assert data["fr"].images is data["en"].images
    assert data["en"].texts.ids == ["1007129816.jpg#0", "1009434119.jpg#0"]
    place = {"layout": "multi30k", "path": str(tmp_path / names)}
    assert data["en"].origin == {**place, "equal_images": "1"}


def test_multi30k_takes_the_split_that_is_wanted(tmp_path: Path) -> None:
    for split, image in (
        ("test_2016_flickr", "a.jpg"),
        ("val", "b.jpg"),
        ("test_2017_flickr", "c.jpg"),
    ):
        lines(tmp_path / f"{split}.txt", image)
        lines(tmp_path / f"{split}.en", split)
        put(tmp_path / "images", image)
    assert [texts(load(tmp_path, "en", split=split)["en"]) for split in ("test", "val", "test_2017_flickr")] == [
        ["test_2016_flickr"], ["val"], ["test_2017_flickr"]
    ]  # fmt: skip
    with pytest.raises(
        MissingError, match=r"no test_2016_flickr.cs in it. The languages there are en\."
    ):
        load(tmp_path, "cs")
