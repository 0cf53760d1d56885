"""Local folders of captioned images: what is read, what is refused, and with which words."""

import io
import json
import subprocess
import sys
import zlib
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from evals.data import check_counts, load, subset_of
from evals.data.images import Images, decode, image_files, verify
from evals.data.local import load_local
from evals.schema import ConfigError, ImageText, InvalidError, MissingError, Side, Source

SHARED = Path(__file__).parents[2] / "shared" / "data"


def encoded(
    mode: str = "RGB", kind: str = "JPEG", size: tuple[int, int] = (40, 30), **options: object
) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int, bits: int, colour: int, data: bytes) -> bytes:
    """A PNG of these parts."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + name + data + check

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header = chunk(b"IHDR", size + bytes([bits, colour, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


JPEG = encoded()


def put(folder: Path, *names: str, data: bytes = JPEG) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def jsonl(folder: Path, *entries: object, name: str = "captions.jsonl") -> Path:
    (folder / name).write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder / name


def entry(image: str = "a.jpg", *captions: str, **more: object) -> dict[str, object]:
    return {"image": image, "captions": list(captions or ["a dog"]), **more}


def load_folder(folder: Path, split: str = "test") -> ImageText:
    return load_local(Source(("en",), split, folder))["en"]


# What is read


def test_plain_lines_give_images_and_captions_in_the_order_of_the_file(tmp_path: Path) -> None:
    put(tmp_path, "b.jpg", "images/a.jpg")
    file = jsonl(
        tmp_path,
        entry("b.jpg", " two  spaces ", "same", id=7, language="en"),
        entry("a.jpg", "same"),
    )
    data = load_folder(tmp_path)
    assert list(data.images.ids) == ["b.jpg", "a.jpg"]
    assert data.texts.items == [" two  spaces ", "same", "same"]
    assert data.texts.ids == ["b.jpg#0", "b.jpg#1", "a.jpg#0"]
    assert data.image_of_text.tolist() == [0, 0, 1]
    assert data.images.hashes == [sha256(JPEG).hexdigest()] * 2
    assert data.texts.hashes[1] == sha256(b"same").hexdigest()
    assert data.origin == {"layout": "jsonl", "path": str(file), "equal_images": "1"}
    assert (data.images.role, data.texts.role) == (None, None)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_line_ends_a_missing_last_one_and_a_byte_order_mark_change_nothing(
    tmp_path: Path, ending: str, last: bool, start: bytes
) -> None:
    put(tmp_path, "a.jpg")
    text = ending.join(["a.jpg#0\tone\u2028still one", "a.jpg#1\ttwo"]) + ending * last
    (tmp_path / "x.token").write_bytes(start + text.encode())
    assert load_folder(tmp_path).texts.items == ["one\u2028still one", "two"]


def test_six_captions_and_one_are_both_fine(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    jsonl(tmp_path, entry("a.jpg", *"uvwxyz"), entry("b.jpg", "v"))
    assert np.bincount(load_folder(tmp_path).image_of_text).tolist() == [6, 1]


def test_karpathy_takes_the_split_and_finds_images_through_filepath(tmp_path: Path) -> None:
    put(tmp_path, "val2014/c.jpg", "images/d.jpg")
    images = [
        {"filename": "x.jpg", "split": "train", "sentences": [{"raw": "no"}]},
        {
            "filename": "c.jpg",
            "filepath": "val2014",
            "split": "test",
            "sentences": [{"raw": "sea"}, {"raw": "see \n"}],
        },
        {"filename": "d.jpg", "split": "test", "sentences": [{"raw": "deer"}]},
    ]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"dataset": "coco", "images": images}))
    data = load_folder(tmp_path)
    assert list(zip(data.texts.ids, data.texts.items, strict=True)) == [
        ("c.jpg#0", "sea"), ("c.jpg#1", "see \n"), ("d.jpg#0", "deer")
    ]  # fmt: skip
    assert data.origin["layout"] == "karpathy"
    with pytest.raises(InvalidError, match=r"no image of split 'val'; its splits are test, train"):
        load_folder(tmp_path, "val")


@pytest.mark.parametrize(
    ("name", "listed"),
    [("Flickr_8k.testImages.txt", "b.jpg\r\n"), ("test.txt", "b"), ("flickr30k test.txt", "b\n")],
)
def test_a_split_list_beside_a_token_file_selects_the_split(
    tmp_path: Path, name: str, listed: str
) -> None:
    put(tmp_path, "Flicker8k_Dataset/a.jpg", "Flicker8k_Dataset/b.jpg")
    (tmp_path / "Flickr8k.token.txt").write_text(
        "gone.jpg.1#0\tlost\na.jpg#0\tone\nb.jpg#0\ttwo\nb.jpg#1\tthree\n"
    )
    (tmp_path / "Flickr8k.lemma.token.txt").write_text("b.jpg#0\tlemma\n")
    (tmp_path / name).write_text(listed)
    (tmp_path / "Flickr_8k.devImages.txt").write_text("a.jpg\n")
    assert load_folder(tmp_path).texts.items == ["two", "three"]
    assert load_folder(tmp_path, "val").texts.items == ["one"]
    with pytest.raises(ConfigError, match="0 lists for split 'train'"):
        load_folder(tmp_path, "train")


def test_a_split_list_with_an_image_that_has_no_caption_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    (tmp_path / "x.token").write_text("a.jpg#0\tone\n")
    (tmp_path / "test.txt").write_text("a\nb\n")
    with pytest.raises(InvalidError, match=r"test.txt, line 2: image 'b.jpg' has no caption"):
        load_folder(tmp_path)


def test_the_annotation_file_itself_can_be_named(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    file = jsonl(tmp_path, entry(), name="captions_dev300.jsonl")
    assert load_folder(file).origin["path"] == load_folder(tmp_path).origin["path"] == str(file)
    (tmp_path / "x.token").write_text("a.jpg#0\tone\n")
    with pytest.raises(
        ConfigError,
        match=r"holds captions_dev300.jsonl \(jsonl\) and x.token \(token\).*Point at the file itself",
    ):
        load_folder(tmp_path)
    assert load_folder(tmp_path / "x.token").texts.items == ["one"]


def test_captions_jsonl_goes_before_other_lines_but_two_others_are_ambiguous(
    tmp_path: Path,
) -> None:
    put(tmp_path, "a.jpg")
    jsonl(tmp_path, entry(), name="x.jsonl")
    jsonl(tmp_path, entry(), name="y.jsonl")
    with pytest.raises(ConfigError, match=r"x\.jsonl \(jsonl\) and y\.jsonl"):
        load_folder(tmp_path)
    assert load_folder(jsonl(tmp_path, entry()).parent).origin["path"].endswith("captions.jsonl")


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data")
@pytest.mark.parametrize(
    ("folder", "images", "texts"), [("flickr8k", 300, 1500), ("coco", 60, 300)]
)
def test_real_folders_load_and_every_image_decodes(folder: str, images: int, texts: int) -> None:
    data = load("captions", Source(("en",), "test", SHARED / folder))["en"]
    assert (len(data.images), len(data.texts)) == (images, texts)
    verify(data.images.items, range(images))


# What is refused


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([entry(), entry()], r"line 2: image 'a.jpg' is listed at .*captions.jsonl, line 1 too"),
        ([entry() | {"captions": []}], "line 1: image 'a.jpg' has no captions"),
        ([entry("a.jpg", "fine", "")], "caption 1 of image 'a.jpg' is empty"),
        ([entry("a.jpg", "\u00a0\u3000 \t")], "caption 0 of image 'a.jpg' is empty"),
        ([entry("a.jpg", "half \ud800")], "lone surrogate"),
        ([entry("a.jpg", "nul\0")], "NUL character"),
        ([entry() | {"captions": "a dog"}], "`captions` must be a list"),
        ([entry() | {"captions": ["a dog", None]}], "`captions` must be a list of strings"),
        (
            [{"image": "a.jpg"}],
            "line 1: no key `captions`, which must be a list of strings; the keys there are `image`",
        ),
        (
            [{"file": "a.jpg", "captions": ["x"]}],
            "no key `image`, which must be a string; the keys there are `file`, `captions`",
        ),
        (
            [[1, 2]],
            "line 1: must be an object with the key `captions` .a list of strings., and is a list",
        ),
        ([entry("../a.jpg")], "is not a path inside"),
        ([entry("/etc/passwd")], "is not a path inside"),
        ([entry("")], "line 1: the id '' of the image is empty"),
        ([entry("a\0.jpg")], "line 1: the id 'a.x00.jpg' of the image holds a NUL character"),
        ([], "no captioned images"),
    ],
)
def test_broken_entries_are_refused_by_line(tmp_path: Path, lines: list[object], says: str) -> None:
    put(tmp_path, "a.jpg")
    jsonl(tmp_path, *lines)
    with pytest.raises(InvalidError, match=says):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        (
            "captions.jsonl",
            b'{"image": "a.jpg", "captions": ["x"]}\n{"image": \n',
            r"line 2: not JSON \(.*column 11\)",
        ),
        ("captions.jsonl", b'{"image": "a.jpg", "captions": ["x"]}\n\n\n', "line 2: is empty"),
        (
            "captions.jsonl",
            "\n".join(["{}", '{"image": "é"}']).encode("latin-1"),
            "line 2: not UTF-8",
        ),
        ("captions.jsonl", b"[" * 100_000, "line 1: objects or lists nested more than 100 deep"),
        (
            "x.token",
            "a.jpg#0\tok\r\na.jpg#1\tcaf\xe9\r\n".encode("latin-1"),
            "x.token, line 2: not UTF-8",
        ),
        ("x.token", b"a.jpg#0 no tab\n", "line 1: not of the form"),
        ("x.token", b"a.jpg#0\tone\na.jpg#0\ttwo\n", "line 2: a.jpg#0 comes twice"),
        ("x.token", b"a.jpg#0\t\n", "caption 0 of image 'a.jpg' is empty"),
        (
            "dataset_x.json",
            b'{"images": [\n{"split": "test",}]}',
            "dataset_x.json, line 2: not JSON",
        ),
        (
            "dataset_x.json",
            b'{"images": {}}',
            "`images` must be a list and is {}",
        ),
        (
            "dataset_x.json",
            b'{"images": [{"split": "test", "filename": "a.jpg", "sentences": [{}]}]}',
            r"images\[0\]: no key `raw`",
        ),
        (
            "dataset_x.json",
            b'{"images": [{"filename": "a.jpg"}]}',
            r"images\[0\]: no key `split`, which must be a string",
        ),
    ],
)
def test_broken_files_are_refused_by_name_and_line(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    put(tmp_path, "a.jpg")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidError, match=says):
        load_folder(tmp_path)


def test_missing_images_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    jsonl(tmp_path, entry(), entry("b.jpg"), entry("x" * 300))
    with pytest.raises(
        MissingError, match=r"line 2: image 'b.jpg' is not in .* \(2 of 3 images are missing\)"
    ):
        load_folder(tmp_path)


def test_a_missing_image_that_is_there_in_another_case_is_named(tmp_path: Path) -> None:
    put(tmp_path, "a.JPG")
    jsonl(tmp_path, entry("a.jpg"))
    with pytest.raises(MissingError, match=r"image 'a.jpg' is not in .* 'a.JPG' is there: upper"):
        load_folder(tmp_path)


def test_the_known_defect_of_flickr8k_is_refused_by_line(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    (tmp_path / "Flickr8k.token.txt").write_text(
        "a.jpg#0\tone\n2258277193_586949ec62.jpg.1#0\ttwo\n"
    )
    with pytest.raises(MissingError, match=r"line 2: .*known defect of Flickr8k"):
        load_folder(tmp_path)


def test_links_to_a_store_of_photos_are_followed_but_names_may_not_lead_out(tmp_path: Path) -> None:
    put(tmp_path, "photos/a.jpg", "photos/deep/b.jpg")
    here = tmp_path / "here"
    here.mkdir()
    (here / "a.jpg").symlink_to(tmp_path / "photos/a.jpg")
    (here / "images").symlink_to(tmp_path / "photos")
    (tmp_path / "there").symlink_to(here)
    jsonl(here, entry(), entry("deep/b.jpg"))
    for folder in (here, tmp_path / "there"):
        assert [image.size for image in load_folder(folder).images.items] == [(40, 30)] * 2
    jsonl(here, entry("../photos/a.jpg"))
    with pytest.raises(InvalidError, match=r"'../photos/a.jpg' is not a path inside"):
        load_folder(here)


def test_absent_and_unknown_places_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(
        MissingError, match=rf"no such file or folder; {tmp_path} is there.*captions.jsonl"
    ):
        load_folder(tmp_path / "nowhere")
    put(tmp_path, "a.jpg")
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(MissingError, match=r"no annotations in it.*captions.jsonl"):
        load_folder(tmp_path)
    with pytest.raises(ConfigError, match=r"a.jpg: not an annotation file"):
        load_folder(tmp_path / "a.jpg")
    with pytest.raises(ConfigError, match=r"No loader 'webdataset'.*captions, hub_captions"):
        load("webdataset", Source(("en",), "test"))


# Images


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_refused_by_name(
    tmp_path: Path, share: float, progressive: bool
) -> None:
    data = encoded(size=(200, 150), progressive=progressive)
    put(tmp_path, "cut.jpg", data=data[: int(len(data) * share)])
    images = image_files([tmp_path / "cut.jpg"])
    with pytest.raises(
        InvalidError, match=r"cut.jpg: the image is broken \(image file is truncated"
    ):
        images[0]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"<html>404</html>", "16 bytes are not an image in JPEG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is HEIC, which is not read. Save it as JPEG"),
    ],
)
def test_what_is_no_image_is_refused_by_name(data: bytes, says: str) -> None:
    with pytest.raises(InvalidError, match=rf"x.jpg: .*{says}"):
        decode(data, "x.jpg")


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_modes_come_as_they_are_stored(mode: str) -> None:
    assert decode(encoded(mode, "PNG"), "x.png").mode == mode
    assert decode(encoded("CMYK"), "x.jpg").mode == "CMYK"


@pytest.mark.parametrize(
    ("dtype", "top", "kind", "mode"),
    [
        ("<u2", 65_535, "PNG", "I;16"),
        ("<u2", 65_535, "TIFF", "I;16"),
        ("<i4", 65_535, "TIFF", "I"),
        ("<f4", 1, "TIFF", "F"),
    ],
)
def test_grey_in_more_than_eight_bits_is_refused(
    dtype: str, top: int, kind: str, mode: str
) -> None:
    """Pillow makes white or black squares of them."""
    out = io.BytesIO()
    ramp = np.linspace(0, top, 64).reshape(8, 8).astype(dtype)
    Image.fromarray(ramp).save(out, kind)
    with pytest.raises(
        InvalidError, match=rf"x.tif: an image of mode {mode}, which has not 8 bits"
    ):
        decode(out.getvalue(), "x.tif")


def test_colour_of_sixteen_bits_keeps_its_high_bytes() -> None:
    """As every reader of PNG does; Pillow reads it so by itself."""
    rows = b"".join(b"\0" + bytes([0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC]) for _ in range(1))
    assert decode(png(1, 1, 16, 2, zlib.compress(rows)), "x.png").getpixel((0, 0)) == (
        0x12,
        0x56,
        0x9A,
    )


@pytest.mark.parametrize(
    ("size", "fine"), [((300, 3), True), ((301, 3), False), ((1, 65_000), False)]
)
def test_an_image_may_be_a_hundred_times_as_long_as_wide(size: tuple[int, int], fine: bool) -> None:
    """1 x 65,000 pixels are few, and 512 x 33 million after the resize."""
    data = encoded("L", "PNG", size)
    if fine:
        assert decode(data, "x.png").size == size
        return
    with pytest.raises(
        InvalidError, match=r"x.png: [\d,]+ x [\d,]+ pixels, and one side may be 100"
    ):
        decode(data, "x.png")


def test_no_library_can_make_half_an_image_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(InvalidError, match="truncated"):
        decode(JPEG[:-200], "x.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_content_counts_not_the_suffix(kind: str) -> None:
    if kind == "WEBP" and not features.check("webp"):
        pytest.skip("Pillow without WebP")
    assert decode(encoded(kind=kind), "x.jpg").size == (40, 30)


def test_a_format_that_is_not_listed_is_refused() -> None:
    with pytest.raises(InvalidError, match="not an image in JPEG"):
        decode(encoded(kind="PPM"), "x.jpg")


@pytest.mark.parametrize(
    "side", [8_000, 12_000, 20_000]
)  # silent, a warning and an error in Pillow itself
def test_a_bomb_is_refused_from_its_header(side: int) -> None:
    with pytest.raises(InvalidError, match="more than 50,000,000 pixels"):
        decode(png(side, side, 8, 2, zlib.compress(b"")), "bomb.png")


def test_verify_names_the_first_broken_image_in_order(tmp_path: Path) -> None:
    put(tmp_path, *(f"{n}.jpg" for n in range(20)))
    put(tmp_path, "7.jpg", "13.jpg", data=JPEG[:-40])
    images = image_files([tmp_path / f"{n}.jpg" for n in range(20)])
    verify(images, [0, 19, 12])
    with pytest.raises(InvalidError, match=r"/7\.jpg"):
        verify(images, range(20))
    with pytest.raises(InvalidError, match=r"/13\.jpg"):
        verify(images, [19, 13, 7])


def test_image_files_refuses_missing_ones_and_reads_nothing_early(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    with pytest.raises(MissingError, match=r"b.jpg: no such image file \(2 of 3 are missing\)"):
        image_files([tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg")])
    images = image_files([tmp_path / "a.jpg"])
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(MissingError, match=r"a.jpg: cannot be read \(No such file"):
        images[0]


def test_a_slice_of_images_decodes_nothing() -> None:
    images = Images(["x", "y"], lambda index: [JPEG, b"broken"][index])
    assert len(images[0:2]) == 2
    assert images[1:][:0:-1] is not None
    assert images[0:1][0].size == (40, 30)


# Parts and counts


def toy(order: list[int]) -> ImageText:
    ids = [f"i{n}" for n in order]
    texts = [f"{image}#{n}" for image in ids for n in range(2)]
    return ImageText(
        images=Side("image", ids, ids, ids),
        texts=Side("text", texts, texts, texts),
        image_of_text=np.repeat(np.arange(len(ids)), 2),
        origin={"layout": "toy"},
    )


def test_a_subset_keeps_all_captions_of_its_images_in_their_order() -> None:
    part = subset_of(toy(list(range(50))), 7)
    assert len(part.images) == 7
    assert list(part.images.ids) == sorted(part.images.ids, key=lambda name: int(name[1:]))
    assert [part.images.ids[i] for i in part.image_of_text] == [
        name.partition("#")[0] for name in part.texts.ids
    ]
    assert list(part.texts.items) == [f"{image}#{n}" for image in part.images.ids for n in range(2)]
    assert part.origin == {"layout": "toy", "limit": "7", "seed": "0"}


def test_a_subset_depends_on_seed_and_ids_but_not_on_order_and_grows_by_adding() -> None:
    data, turned = toy(list(range(50))), toy(list(range(50))[::-1])
    seven = set(subset_of(data, 7).images.ids)
    assert seven == set(subset_of(turned, 7).images.ids)
    assert seven < set(subset_of(data, 20).images.ids)
    assert seven != set(subset_of(data, 7, seed=1).images.ids)
    assert subset_of(data, 50) is data
    with pytest.raises(ConfigError, match="--limit 0"):
        subset_of(data, 0)


def test_counts_must_be_the_declared_ones_unless_a_part_is_allowed() -> None:
    data = toy([0, 1, 2])
    assert check_counts(data, images=3, texts=6, allow_subset=False, name="toy") is False
    assert check_counts(data, images=4, texts=8, allow_subset=True, name="toy") is True
    with pytest.raises(
        InvalidError,
        match=r"toy: 3 images and 6 texts, where the row declares 4 and 8.*--allow-subset",
    ):
        check_counts(data, images=4, texts=8, allow_subset=False, name="toy")
    with pytest.raises(InvalidError, match="more than the benchmark has"):
        check_counts(data, images=2, texts=6, allow_subset=True, name="toy")


def test_importing_the_loaders_stays_light() -> None:
    modules = (
        "evals.data, evals.data.local, evals.data.hub, evals.data.images, evals.config.catalog"
    )
    heavy = "torch transformers datasets PIL pandas pyarrow huggingface_hub".split()
    program = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
