"""CLIP_benchmark's data folders: what is read and refused, and that its program finds the same numbers on them."""

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evals.data.local import load_local
from evals.schema import CaptionProtocol, ConfigError, ImageText, InvalidError, MissingError, Source
from evals.tasks.image_text import score

AS_WRITTEN, QUOTES = CaptionProtocol(), CaptionProtocol(quotes="clip_benchmark")


def put(folder: Path, *names: str, seed: int = 0) -> None:
    """JPEG files of noise, each another one."""
    for n, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed + n).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 36), Image.Resampling.NEAREST).save(
            folder / name, quality=95
        )


def load(
    path: Path, *subsets: str, split: str = "test", protocol: CaptionProtocol = AS_WRITTEN
) -> dict[str, ImageText]:
    return load_local(Source(subsets or ("en",), split, path, protocol=protocol))


def captions(data: ImageText) -> list[tuple[str, str]]:
    return list(zip(data.texts.ids, data.texts.items, strict=True))


def coco(
    folder: Path,
    images: dict[int, str],
    *texts: tuple[int, object],
    name: str = "coco_test_karpathy.json",
) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": key, "file_name": file, "license": 3} for key, file in images.items()],
        "annotations": [
            {"id": n, "image_id": key, "caption": text} for n, (key, text) in enumerate(texts)
        ],
    }
    (folder / name).write_text(json.dumps(content))
    return folder / name


def flickr(
    folder: Path, *lines: tuple[str, str], name: str = "flickr30k_test_karpathy.txt"
) -> Path:
    """Written as pandas' to_csv writes it."""
    with (folder / name).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("image", "caption"), *lines])
    return folder / name


def cached(
    folder: Path, paths: list[str], texts: list[str], name: str = "xtd10-en.json", **more: object
) -> Path:
    (folder / name).write_text(json.dumps({"image_paths": paths, "annotations": texts, **more}))
    return folder / name


# COCO


def test_coco_images_come_by_id_and_captions_verbatim_in_the_order_of_the_annotations(
    tmp_path: Path,
) -> None:
    put(tmp_path, "val2014/b.jpg", "val2014/a.jpg")
    file = coco(tmp_path, {9: "a.jpg", 7: "b.jpg"}, (9, "two \n"), (7, "a sea"), (9, "one\nline"))
    data = load(tmp_path)["en"]
    assert captions(data) == [("b.jpg#0", "a sea"), ("a.jpg#0", "two \n"), ("a.jpg#1", "one\nline")]
    assert data.image_of_text.tolist() == [0, 1, 1]
    assert data.origin == {"layout": "coco", "path": str(file)}


def test_the_split_picks_the_coco_file_and_a_file_of_another_split_is_refused(
    tmp_path: Path,
) -> None:
    put(tmp_path, "images/a.jpg")
    coco(tmp_path, {1: "a.jpg"}, (1, "of test"))
    named = coco(tmp_path, {1: "a.jpg"}, (1, "of val"), name="coco_val_karpathy.json")
    assert load(tmp_path)["en"].texts.items == ["of test"]
    assert load(tmp_path, split="val")["en"].texts.items == ["of val"]
    with pytest.raises(
        ConfigError, match=r"coco_val_karpathy.json: holds split 'val', and 'test' is wanted"
    ):
        load(named)


def test_cocos_own_file_is_taken_when_it_is_named(tmp_path: Path) -> None:
    put(tmp_path, "val2017/a.jpg")
    named = coco(tmp_path, {1: "a.jpg"}, (1, "a cat"), name="annotations/captions_val2017.json")
    assert captions(load(named)["en"]) == [("a.jpg#0", "a cat")]
    with pytest.raises(MissingError, match=r"no annotations in it.*COCO's JSON"):
        load(tmp_path)


def test_a_named_json_file_is_told_by_its_keys(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    for name, content, layout in (
        (
            "1.json",
            {"images": [{"filename": "a.jpg", "split": "test", "sentences": [{"raw": "a cat"}]}]},
            "karpathy",
        ),
        (
            "2.json",
            {
                "images": [{"id": 1, "file_name": "a.jpg"}],
                "annotations": [dict(id=1, image_id=1, caption="cat")],
            },
            "coco",
        ),
        ("3.json", {"image_paths": ["x/a.jpg"], "annotations": ["a cat"]}, "clip_benchmark_json"),
    ):
        (tmp_path / name).write_text(json.dumps(content))
        assert load(tmp_path / name)["en"].origin["layout"] == layout
    for content in ({"pictures": []}, ["a.jpg"]):
        (tmp_path / "4.json").write_text(json.dumps(content))
        with pytest.raises(ConfigError, match=r"4.json: not an annotation file that is known here"):
            load(tmp_path / "4.json")
    (tmp_path / "5.json").write_text('{"images": [\n}')
    with pytest.raises(InvalidError, match=r"5.json, line 2: not JSON"):
        load(tmp_path / "5.json")


def test_a_named_json_file_that_changes_is_told_anew(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    file = cached(tmp_path, ["a.jpg"], ["a cat"], name="x.json")
    assert load(file)["en"].origin["layout"] == "clip_benchmark_json"
    coco(tmp_path, {1: "a.jpg"}, (1, "a cat"), name="x.json")
    os.utime(file, ns=(1, 1))
    assert load(file)["en"].origin["layout"] == "coco"


@pytest.mark.parametrize(
    ("images", "annotations", "says"),
    [
        (
            [(1, "a.jpg"), (2, "b.jpg")],
            [(1, 1, "cat")],
            r"images\[1\] \(id 2\): image 'b.jpg' has no captions",
        ),
        (
            [(1, "a.jpg")],
            [(1, 1, "cat"), (2, 5, "dog")],
            r"annotations\[1\]: image_id 5 is not the id of an image",
        ),
        (
            [(1, "a.jpg"), (1, "b.jpg")],
            [(1, 1, "cat")],
            r"images\[1\]: id 1 is that of .*images\[0\] too",
        ),
        (
            [(1, "a.jpg")],
            [(1, 1, "cat"), (1, 1, "dog")],
            r"annotations\[1\]: id 1 is that of .*annotations\[0\] too",
        ),
        (
            [(1, "a.jpg"), (2, "a.jpg")],
            [(1, 1, "cat"), (2, 2, "dog")],
            r"images\[1\] \(id 2\): image 'a.jpg' is listed at",
        ),
        (
            [(1, "a.jpg")],
            [(1, 1, None)],
            r"annotations\[0\]: `caption` must be a string and is null",
        ),
        ([("1", "a.jpg")], [(1, 1, "cat")], r"images\[0\]: `id` must be a whole number and is .1."),
        ([(1, "../a.jpg")], [(1, 1, "cat")], "is not a path inside"),
    ],
)
def test_broken_coco_files_are_refused_by_entry(
    tmp_path: Path, images: list, annotations: list, says: str
) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    content = {
        "images": [{"id": key, "file_name": name} for key, name in images],
        "annotations": [
            {"id": key, "image_id": image, "caption": text} for key, image, text in annotations
        ],
    }
    (tmp_path / "coco_test_karpathy.json").write_text(json.dumps(content))
    with pytest.raises(InvalidError, match=says):
        load(tmp_path)


# Flickr

CAPTIONS = (
    'A man, in "blue"',
    "A dog, a cat",
    'The sign says "stop"',
    "A tree",
    " two  spaces",
    "at the end ",
    'quoted, "end" ',
)


def test_flickr_lines_are_csv_and_images_come_in_the_order_of_their_first_line(
    tmp_path: Path,
) -> None:
    put(tmp_path, "flickr30k-images/b.jpg", "Images/a.jpg")
    flickr(
        tmp_path, ("b.jpg", CAPTIONS[0]), ("a.jpg", "one\r\nline\u2028more"), ("b.jpg", CAPTIONS[5])
    )
    data = load(tmp_path)["en"]
    assert captions(data) == [
        ("b.jpg#0", CAPTIONS[0]),
        ("b.jpg#1", CAPTIONS[5]),
        ("a.jpg#0", "one\r\nline\u2028more"),
    ]
    assert data.origin["layout"] == "flickr_csv"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_line_ends_an_empty_line_and_a_byte_order_mark_change_nothing(
    tmp_path: Path, ending: str, start: bytes
) -> None:
    put(tmp_path, "a.jpg")
    text = ending.join(["image,caption", 'a.jpg,"A dog, a cat"', "", "a.jpg,A tree"])
    (tmp_path / "flickr8k_test_karpathy.txt").write_bytes(start + text.encode())
    assert load(tmp_path)["en"].texts.items == ["A dog, a cat", "A tree"]


def test_chinese_has_its_own_flickr_file(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    flickr(tmp_path, ("a.jpg", "一只狗"), name="flickr30k_test_zh.txt")
    with pytest.raises(
        MissingError, match=r"flickr30k_test_karpathy.txt: not there, and 'en' is wanted"
    ):
        load(tmp_path)
    assert load(tmp_path, "zh")["zh"].texts.items == ["一只狗"]
    named = flickr(tmp_path, ("a.jpg", "A dog"))
    both = load(tmp_path, "en", "zh")
    assert (both["en"].texts.items, both["zh"].texts.items) == (["A dog"], ["一只狗"])
    assert both["en"].images is both["zh"].images
    with pytest.raises(ConfigError, match=r"karpathy.txt: is in 'en', and zh is wanted"):
        load(named, "zh")
    with pytest.raises(ConfigError, match=r"is for en, zh, and 'de' is wanted"):
        load(tmp_path, "en", "de")


def test_both_flickrs_in_one_folder_are_ambiguous_until_a_file_is_named(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    flickr(tmp_path, ("a.jpg", "of 30k"))
    named = flickr(tmp_path, ("a.jpg", "of 8k"), name="flickr8k_test_karpathy.txt")
    with pytest.raises(
        ConfigError,
        match=r"flickr30k_test_karpathy.txt \(flickr_csv\) and flickr8k_test_karpathy.txt",
    ):
        load(tmp_path)
    assert load(named)["en"].texts.items == ["of 8k"]
    with pytest.raises(ConfigError, match=r"holds split 'test', and 'val' is wanted"):
        load(named, split="val")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.jpg,A dog\n", "line 1: the first line must be `image,caption`"),
        ("", "line 1: the first line must be `image,caption`"),
        ("image,caption\n", "no captioned images"),
        ("image,caption\na.jpg,A dog, a cat\n", "line 2: 3 cells, where image,caption are two"),
        ('image,caption\na.jpg,"one\ntwo"\na.jpg\n', "line 4: 1 cell, "),
        (
            'image,caption\na.jpg,A dog\na.jpg,"A cat\na.jpg,A tree\n',
            r"line 3: not CSV \(unexpected end of data\)",
        ),
        ('image,caption\na.jpg,"A "dog"\n', "line 2: not CSV"),
        ("image,caption\na.jpg,\n", "line 2: caption 0 of image 'a.jpg' is empty"),
        ("image,caption\n../a.jpg,A dog\n", "line 2: '../a.jpg' is not a path inside"),
    ],
)
def test_broken_flickr_files_are_refused_by_line(tmp_path: Path, text: str, says: str) -> None:
    put(tmp_path, "a.jpg")
    (tmp_path / "flickr30k_test_karpathy.txt").write_text(text)
    with pytest.raises(InvalidError, match=says):
        load(tmp_path)


def test_requoted_captions_are_those_of_clip_benchmarks_own_loader(tmp_path: Path) -> None:
    pytest.importorskip("requests")
    theirs = pytest.importorskip("clip_benchmark.datasets.flickr").Flickr
    put(tmp_path, "a.jpg", "b.jpg")
    file = flickr(
        tmp_path, *((f"{'ab'[n % 2]}.jpg", caption) for n, caption in enumerate(CAPTIONS))
    )
    data = load(tmp_path, protocol=QUOTES)["en"]
    ours = [
        [data.texts.items[j] for j in np.flatnonzero(data.image_of_text == i)] for i in range(2)
    ]
    assert ours == [texts for _, texts in theirs(str(tmp_path), str(file)).data]
    assert ours[0] == [
        '"A man, in ""blue"""',
        '"The sign says ""stop"""',
        " two  spaces",
        '"quoted, ""end"" "',
    ]


# Cached JSON


def test_cached_files_give_one_caption_an_image_and_share_the_images_of_all_languages(
    tmp_path: Path,
) -> None:
    put(tmp_path, "xm3600/images/a.jpg", "xm3600/images/b.jpg")
    for language, texts in (("en", ["a cat", "a dog"]), ("de", ["Katze", "Hund"])):
        paths = [f"/home/someone/data/xm3600/images/{name}" for name in ("a.jpg", "b.jpg")]
        cached(
            tmp_path, paths, texts, name=f"crossmodal3600_captions-{language}.json", indicies=[0, 1]
        )
    data = load(tmp_path, "de", "en")
    assert captions(data["de"]) == [("a.jpg#0", "Katze"), ("b.jpg#0", "Hund")]
    assert data["en"].texts.items == ["a cat", "a dog"]
    assert data["en"].images is data["de"].images
    assert data["en"].origin == {
        "layout": "clip_benchmark_json", "path": str(tmp_path / "crossmodal3600_captions-en.json")
    }  # fmt: skip
    with pytest.raises(
        MissingError, match=r"crossmodal3600_captions-fr.json: not there, and 'fr' is wanted"
    ):
        load(tmp_path, "de", "fr")
    with pytest.raises(ConfigError, match=r"captions-de.json: is in 'de', and en, fr is wanted"):
        load(tmp_path / "crossmodal3600_captions-de.json", "en", "fr")


@pytest.mark.parametrize(
    ("there", "written"),
    [
        ("own/a.jpg", "data/own/a.jpg"),
        ("own/a.jpg", "C:\\data\\own\\a.jpg"),
        ("own/a.jpg", "../data/own/a.jpg"),
        ("a.jpg", "xtd10/images/a.jpg"),
        ("xtd10/images/a.jpg", "old/name/a.jpg"),
        ("flickr30k-200/images/a.jpg", "a.jpg"),
        ("images/a.jpg", f"{'x' * 300}/a.jpg"),
    ],
)
def test_images_are_found_by_the_end_of_their_path_or_in_a_known_folder(
    tmp_path: Path, there: str, written: str
) -> None:
    put(tmp_path, there)
    cached(tmp_path, [written], ["a cat"])
    data = load(tmp_path)["en"]
    assert list(data.images.ids) == ["a.jpg"]
    assert data.images.items.names == [str(tmp_path / there)]  # type: ignore[attr-defined]


def test_cached_paths_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    (tmp_path / "root").mkdir()
    for written in ("../a.jpg", "x/../../a.jpg", str(tmp_path / "a.jpg")):
        cached(tmp_path / "root", [written], ["a cat"])
        with pytest.raises(MissingError, match=r"image_paths\[0\]: image 'a.jpg' is not in"):
            load(tmp_path / "root")


@pytest.mark.parametrize(
    ("paths", "texts", "more", "says"),
    [
        (
            ["a.jpg"],
            ["x", "y"],
            {},
            "1 image_paths and 2 annotations.*CLIP_benchmark cuts to the shortest",
        ),
        (["a.jpg"], ["x"], {"indices": []}, "or other indices"),
        (["a.jpg"], ["x"], {"indicies": [0, 1]}, "or other indices"),
        (
            ["a.jpg", None],
            ["x", "y"],
            {},
            r"image_paths\[1\]: a path or its annotation is not a string",
        ),
        (["a.jpg"], [["x"]], {}, r"image_paths\[0\]: a path or its annotation is not a string"),
        (["a.jpg", "old/a.jpg"], ["x", "y"], {}, r"image_paths\[1\]: image 'a.jpg' is listed at"),
        (["images/"], ["x"], {}, r"image_paths\[0\]: the id '' of the image is empty"),
    ],
)
def test_broken_cached_files_are_refused_by_entry(
    tmp_path: Path, paths: list, texts: list, more: dict, says: str
) -> None:
    put(tmp_path, "a.jpg")
    cached(tmp_path, paths, texts, **more)
    with pytest.raises(InvalidError, match=says):
        load(tmp_path)


def test_two_cached_benchmarks_in_one_folder_are_ambiguous_until_a_file_is_named(
    tmp_path: Path,
) -> None:
    put(tmp_path, "a.jpg")
    named = cached(tmp_path, ["a.jpg"], ["a cat"])
    cached(tmp_path, ["a.jpg"], ["ein Hund"], name="xtd10-de.json")
    cached(tmp_path, ["a.jpg"], ["a dog"], name="xtd200-eng_Latn.json")
    with pytest.raises(ConfigError, match=r"holds xtd10-en.json .* and xtd200-eng_Latn.json"):
        load(tmp_path)
    assert load(named, "en", "de")["de"].texts.items == ["ein Hund"]


def test_what_crossmodal3600_files_were_made_from_goes_before_them(tmp_path: Path) -> None:
    put(tmp_path, "xm3600/images/a.jpg")
    line = {"image/key": "a", "image/locale": "en", "en": {"caption": ["a cat", "one cat"]}}
    (tmp_path / "xm3600/captions.jsonl").write_text(json.dumps(line) + "\n")
    named = cached(
        tmp_path, ["xm3600/images/a.jpg"], ["a cat"], name="crossmodal3600_captions-en.json"
    )
    assert load(tmp_path)["en"].texts.items == ["a cat", "one cat"]
    assert load(named)["en"].texts.items == ["a cat"]


# The program itself

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
RUNNER = "import sys, open_clip, clip_benchmark.cli as cli; open_clip.add_model_config(sys.argv.pop(1)); cli.main()"


def pairs_of_noise() -> list[tuple[str, str]]:
    """30 images with 3 captions each, of random words, some with commas and quotes."""
    rng = np.random.default_rng(0)
    words = "man dog sea red, blue, tree sits runs 'old' \"new\" two on".split()
    return [
        (f"{i:02}.jpg", " ".join(rng.choice(words, 6).tolist()) + f" {i} {n}")
        for n in range(3)
        for i in range(30)
    ]


def webdataset(root: Path, images: Path, pairs: list[tuple[str, str]]) -> Path:
    """The pairs in two shards."""
    (root / "test").mkdir(parents=True)
    (root / "dataset_type.txt").write_text("retrieval")
    (root / "test" / "nshards.txt").write_text("2")
    for shard in range(2):
        with tarfile.open(root / "test" / f"{shard}.tar", "w") as tar:
            for name in sorted({image for image, _ in pairs})[shard::2]:
                captions = "\n".join(caption for image, caption in pairs if image == name).encode()
                for suffix, data in (("jpg", (images / name).read_bytes()), ("txt", captions)):
                    info = tarfile.TarInfo(f"s{name[:2]}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return root


def tiny_checkpoint(folder: Path) -> tuple[Path, Path]:
    """The config of a random open_clip model and its weights, wide enough apart that scores are."""
    import open_clip
    import torch

    (folder / "tiny-of-test.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-of-test.json")
    model = open_clip.create_model("tiny-of-test")
    generator = torch.Generator().manual_seed(0)
    weights = {
        key: value + 0.2 * torch.randn(value.shape, generator=generator)
        for key, value in model.state_dict().items()
    }
    weights["logit_scale"] = model.logit_scale.detach()
    torch.save(weights, folder / "tiny.pt")
    return folder / "tiny-of-test.json", folder / "tiny.pt"


def our_recall(data: ImageText, weights: Path) -> dict[str, float]:
    """Recall under CLIP_benchmark's names."""
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms(
        "tiny-of-test", pretrained=str(weights)
    )
    with torch.no_grad():
        images = model.eval().encode_image(
            torch.stack([transform(image) for image in data.images.items])
        )
        texts = model.encode_text(open_clip.get_tokenizer("tiny-of-test")(list(data.texts.items)))
    both = score([images.numpy(), texts.numpy()], data, dims=[16])
    names = {"t2i": "image_retrieval_recall", "i2t": "text_retrieval_recall"}
    return {
        f"{names[side.direction]}@{k}": side.values[f"R@{k}"].value
        for side in both
        for k in (1, 5, 10)
    }


def test_the_program_finds_the_same_recall_on_the_same_folders(tmp_path: Path) -> None:
    for package in ("requests", "open_clip", "torchvision", "pycocotools", "clip_benchmark"):
        pytest.importorskip(package)
    pairs, names = pairs_of_noise(), [f"{i:02}.jpg" for i in range(30)]
    folders = {name: tmp_path / name for name in ("mscoco_captions", "flickr30k", "xtd10")}
    put(folders["mscoco_captions"] / "val2014", *names)
    put(folders["flickr30k"], *names)
    put(folders["xtd10"] / "xtd10" / "images", *names)
    coco(
        folders["mscoco_captions"],
        {100 - i: name for i, name in enumerate(names)},
        *((100 - int(i[:2]), c) for i, c in pairs),
    )
    flickr(folders["flickr30k"], *pairs)
    cached(
        folders["xtd10"],
        [f"{folders['xtd10']}/xtd10/images/{i}" for i in names],
        [c for _, c in pairs[:30]],
    )
    folders["wds/toy"] = webdataset(tmp_path / "toy", tmp_path / "flickr30k", pairs)
    config, weights = tiny_checkpoint(tmp_path)
    options = (
        f"--dataset_root {tmp_path}/{{dataset_cleaned}} --output {tmp_path}/{{dataset}}.json --pretrained {weights} "
        "--recall_k 1 5 10"
    )
    command = [
        sys.executable,
        "-c",
        RUNNER,
        str(config),
        "eval",
        "--dataset",
        *folders,
        *options.split(),
    ]
    command += "--model tiny-of-test --task zeroshot_retrieval --no_amp --num_workers 0".split()
    done = subprocess.run(
        command,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name, folder in folders.items():
        theirs = json.loads((tmp_path / f"{name.removeprefix('wds/')}.json").read_text())["metrics"]
        ours = our_recall(
            load(folder, protocol=QUOTES if name == "flickr30k" else AS_WRITTEN)["en"], weights
        )
        assert ours == pytest.approx(theirs, abs=1e-6)
        assert all(0 < ours[f"{side}_retrieval_recall@10"] < 1 for side in ("image", "text"))
        if name == "flickr30k":
            assert our_recall(load(folder)["en"], weights) != pytest.approx(theirs, abs=1e-6)
