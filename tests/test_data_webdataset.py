"""Webdatasets: toy shards are read back as they were put, on disk and from the Hub, and as CLIP_benchmark reads them."""

import io
import shutil
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from evals.data import load as load_subsets
from evals.data.webdataset import csv_quoted
from evals.schema import (
    CaptionProtocol,
    ConfigError,
    EvalError,
    ImageText,
    InvalidError,
    MissingError,
    Source,
)
from tests.hub import COMMIT, OLDER, Hub, use


def encoded(shade: int, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(out, kind)
    return out.getvalue()


def shard(**files: bytes | str) -> bytes:
    """A tar archive; `s0__jpg` stands for `s0.jpg`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name.replace("__", "."))
            raw = data.encode() if isinstance(data, str) else data
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return out.getvalue()


FILES: dict[str, bytes] = {
    "dataset_type.txt": b"retrieval\n",
    "test/nshards.txt": b"2\n",
    "test/0.tar": shard(
        s0__webp=encoded(0, "WEBP"), s0__txt="one\ntwo", s1__jpg=encoded(1), s1__txt="three\n"
    ),
    "test/1.tar": shard(s2__txt="four\r\nfive\r\n", s2__png=encoded(2, "PNG"), s2__json="{}"),
}


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def with_shard(root: Path, data: bytes) -> Path:
    """A webdataset of one shard."""
    return put(
        root, {"dataset_type.txt": b"retrieval", "test/nshards.txt": b"1", "test/0.tar": data}
    )


def load(root: Path, split: str = "test", **protocol: str) -> ImageText:
    [data] = load_subsets(
        "captions", Source(("en",), split, folder=root, protocol=CaptionProtocol(**protocol))
    ).values()
    return data


def load_hub(revision: str | None = COMMIT, split: str = "test") -> ImageText:
    [data] = load_subsets(
        "hub_webdataset", Source(("en",), split, repo="org/set", revision=revision)
    ).values()
    return data


def pairs(data: ImageText) -> list[tuple[str, str]]:
    return [
        (data.images.ids[i], text)
        for i, text in zip(data.image_of_text, data.texts.items, strict=True)
    ]


PAIRS = [("s0", "one"), ("s0", "two"), ("s1", "three"), ("s2", "four"), ("s2", "five")]


def test_samples_come_in_the_order_of_the_shards_with_images_of_any_ending(tmp_path: Path) -> None:
    data = load(put(tmp_path, FILES))
    assert pairs(data) == PAIRS
    assert data.texts.ids[:3] == ["s0#0", "s0#1", "s1#0"]
    assert data.images.hashes[1] == sha256(encoded(1)).hexdigest()
    assert [data.images.items[n].format for n in range(3)] == ["WEBP", "JPEG", "PNG"]
    assert data.origin == {"layout": "webdataset", "path": str(tmp_path)}


def test_without_a_count_or_a_type_the_shards_that_are_there_are_read(tmp_path: Path) -> None:
    put(tmp_path, {name: data for name, data in FILES.items() if name.endswith(".tar")})
    assert pairs(load(tmp_path)) == PAIRS


def test_shards_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = {
        f"test/{n}.tar": shard(**{f"k{n}__jpg": encoded(n), f"k{n}__txt": f"text {n}"})
        for n in range(11)
    }
    assert load(put(tmp_path, files)).images.ids == [f"k{n}" for n in range(11)]


def test_a_key_ends_at_the_first_dot_and_may_lie_in_a_folder(tmp_path: Path) -> None:
    files = {
        "./a b/x-1__JPG": encoded(1),
        "a b/x-1__txt": "one",
        "README": "no sample",
        "a b/__hidden__txt": "nor this",
    }
    assert pairs(load(with_shard(tmp_path, shard(**files)))) == [("a b/x-1", "one")]


def test_of_several_images_clip_benchmarks_first_is_taken(tmp_path: Path) -> None:
    data = load(
        with_shard(
            tmp_path,
            shard(
                s__jpg=encoded(1), s__webp=encoded(2, "WEBP"), s__png=encoded(3, "PNG"), s__txt="x"
            ),
        )
    )
    assert data.images.items[0].format == "WEBP"


def test_captions_are_split_at_line_feeds_only_and_kept_verbatim(tmp_path: Path) -> None:
    data = load(with_shard(tmp_path, shard(s__jpg=encoded(1), s__txt="a\u2028b \\n c\n d\x0b ")))
    assert data.texts.items == ["a\u2028b \\n c", " d\x0b "]


def test_csv_quotes_are_undone_unless_clip_benchmarks_captions_are_wanted(tmp_path: Path) -> None:
    plain = ["a dog", 'a "red", big dog', "one, two"]
    baked = ["a dog", '"a ""red"", big dog"', '"one, two"']
    with_shard(tmp_path, shard(s__jpg=encoded(1), s__txt="\n".join(baked)))
    assert load(tmp_path).texts.items == plain
    assert load(tmp_path, quotes="clip_benchmark").texts.items == baked
    with_shard(tmp_path, shard(s__jpg=encoded(1), s__txt="\n".join(plain)))
    assert load(tmp_path).texts.items == plain
    assert load(tmp_path, quotes="clip_benchmark").texts.items == baked


def test_a_set_is_quoted_when_most_captions_that_could_be_are() -> None:
    assert csv_quoted(["a", '"b, c"', '"""d"" e"', 'one, "stray"'])
    assert not csv_quoted(["a, b", "c, d", '"e, f"', '"g" and "h"'])
    assert not csv_quoted(['"a b"', '"', '""', "plain"])
    assert not csv_quoted([])


@pytest.mark.parametrize(
    ("files", "kind", "says"),
    [
        (
            {"dataset_type.txt": b"multilabel\n"},
            ConfigError,
            r"dataset_type\.txt: says 'multilabel', a classification set",
        ),
        (
            {"test/nshards.txt": b"3\n"},
            MissingError,
            r"test: shard 2\.tar is missing \(1 of 3 shards are\)",
        ),
        (
            {"test/nshards.txt": b"900000"},
            MissingError,
            r"shard 2\.tar is missing \(899998 of 900000 shards are\)",
        ),
        (
            {"test/nshards.txt": b"1"},
            InvalidError,
            r"nshards\.txt: counts 1 shard, but 1\.tar is there",
        ),
        (
            {"test/nshards.txt": b"many"},
            InvalidError,
            r"nshards\.txt: says 'many', not the number of shards",
        ),
        (
            {"test/nshards.txt": b"0"},
            InvalidError,
            r"nshards\.txt: says '0', not the number of shards",
        ),
        (
            {"test/1.tar": FILES["test/0.tar"]},
            InvalidError,
            r"1\.tar, sample 's0': image 's0' is listed at .*0\.tar",
        ),
        ({"test/1.tar": FILES["test/1.tar"][:700]}, InvalidError, r"1\.tar: "),
        (
            {"test/1.tar": shard(k__jpg=encoded(1))},
            InvalidError,
            r"1\.tar: sample 'k' has no captions \(txt\) among its jpg",
        ),
        (
            {"test/1.tar": shard(k__jpg=encoded(1), k__cls="3")},
            InvalidError,
            r"sample 'k' has no captions \(txt\) among its jpg, cls",
        ),
        (
            {"test/1.tar": shard(k__txt="x")},
            InvalidError,
            r"1\.tar: sample 'k' has no image \(webp, .*among its txt",
        ),
        (
            {"test/1.tar": shard(k__jpg=b"1", k__JPG=b"2", k__txt="x")},
            InvalidError,
            r"sample 'k' has 'k.jpg' and 'k.JPG'",
        ),
        (
            {"test/1.tar": shard(k__jpg=b"1", k__txt=b"ab\xff")},
            InvalidError,
            r"1\.tar, k\.txt: not UTF-8 .* at byte 2",
        ),
        (
            {"test/1.tar": shard(k__jpg=b"1", k__txt="")},
            InvalidError,
            r"1\.tar, sample 'k': image 'k' has no captions",
        ),
        (
            {"test/1.tar": shard(k__jpg=b"1", k__txt="a\n\nb")},
            InvalidError,
            r"sample 'k': caption 1 of image 'k' is empty",
        ),
    ],
)
def test_what_is_missing_or_broken_is_named(
    tmp_path: Path, files: dict[str, bytes], kind: type[EvalError], says: str
) -> None:
    with pytest.raises(kind, match=says) as error:
        load(put(tmp_path, FILES | files))
    assert str(error.value).endswith(".")


def test_a_broken_image_is_named_by_shard_and_member(tmp_path: Path) -> None:
    data = load(with_shard(tmp_path, shard(s__jpg=encoded(1)[:200], s__txt="x")))
    with pytest.raises(InvalidError, match=r"0\.tar, s\.jpg: "):
        data.images.items[0]


def test_a_split_that_is_not_there_and_a_second_language_are_refused(tmp_path: Path) -> None:
    put(tmp_path, FILES)
    with pytest.raises(MissingError, match="no annotations in it"):
        load(tmp_path, split="val")
    with pytest.raises(ConfigError, match="holds one language, and en, de are wanted"):
        load_subsets("captions", Source(("en", "de"), "test", folder=tmp_path))


def test_the_hub_gives_the_same_samples_with_repo_and_commit_recorded(hub: Hub) -> None:
    hub.files = FILES | {"train/0.tar": b"never read", "train/nshards.txt": b"1"}
    data = load_hub(None)
    assert pairs(data) == PAIRS
    assert data.images.hashes[1] == sha256(encoded(1)).hexdigest()
    assert data.origin == {
        "layout": "hub_webdataset", "repo": "org/set", "revision": COMMIT, "split": "test",
    }  # fmt: skip
    assert not [path for path in hub.asked if "train" in path]


def test_a_download_that_breaks_off_is_taken_up_again(hub: Hub) -> None:
    hub.files, hub.cut = FILES, 2
    assert pairs(load_hub()) == PAIRS
    assert hub.cut == 0


def test_a_flipped_byte_in_the_cache_is_found(hub: Hub, tmp_path: Path) -> None:
    hub.files = FILES
    load_hub()
    blob = next((tmp_path / "hub").rglob("1.tar")).resolve()
    data = bytearray(blob.read_bytes())
    data[512] ^= 1  # the first letter of a caption, which no checksum of tar covers
    blob.write_bytes(bytes(data))
    with pytest.raises(InvalidError, match=r"1\.tar: damaged, its sha256 is not .*Delete"):
        load_hub()


@pytest.mark.parametrize("absent", ["1.tar", "nshards.txt"])
def test_a_part_in_the_cache_is_not_a_smaller_benchmark(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    hub.files = FILES
    load_hub()
    # A cache that was filled by an older huggingface_hub has no trees/: nothing tells it which files there should be.
    shutil.copytree(
        tmp_path / "hub", tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns("trees")
    )
    use(monkeypatch, "http://127.0.0.1:9", tmp_path / "copy")
    assert pairs(load_hub()) == PAIRS
    next((tmp_path / "copy").rglob(absent)).unlink()
    with pytest.raises(
        MissingError,
        match=rf"org/set at {COMMIT} cannot be had: .* the Hub cache does not hold it.*--data",
    ):
        load_hub()


def test_repos_that_cannot_be_had_or_are_of_another_kind_are_told(hub: Hub) -> None:
    hub.files = FILES
    with pytest.raises(
        MissingError, match=r"no val/nshards\.txt in it, so no split 'val' of a webdataset"
    ):
        load_hub(split="val")
    hub.head, hub.files = OLDER, FILES | {"dataset_type.txt": b"classification"}
    with pytest.raises(ConfigError, match="a classification set"):
        load_hub(OLDER)
    hub.status = 401
    with pytest.raises(MissingError, match=rf"org/set at {COMMIT}.*answers 401.*HF_TOKEN"):
        load_hub()


@pytest.mark.filterwarnings("ignore")
def test_what_clip_benchmark_exports_is_read_as_clip_benchmark_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("webdataset")
    builder = pytest.importorskip("clip_benchmark.webdataset_builder")
    datasets = pytest.importorskip("clip_benchmark.datasets.builder")
    monkeypatch.setattr(
        builder.torch.utils.data, "DataLoader", lambda dataset, **_: dataset
    )  # it would start 8 processes
    written = [
        (
            Image.new("RGB", (8, 6), (n, 0, 0)),
            [f'Caption {n}, "quoted"', " spaces \n and a break ", "naïve 犬 🐕"],
        )
        for n in range(7)
    ]
    builder.convert_retrieval_dataset(
        written, "test", str(tmp_path), image_format="png", max_count=3, verbose=False
    )
    theirs = list(
        datasets.build_wds_dataset(
            "toy", lambda image: image.getpixel((0, 0)), data_dir=str(tmp_path)
        )
    )
    data = load(tmp_path)
    assert (tmp_path / "test" / "nshards.txt").read_text() == "3\n"
    assert len(theirs) == len(data.images) == 7
    for n, (pixel, captions) in enumerate(theirs):
        assert data.images.items[n].getpixel((0, 0)) == pixel == (n, 0, 0)
        assert [
            text for i, text in zip(data.image_of_text, data.texts.items, strict=True) if i == n
        ] == captions
    assert data.texts.items[1] == " spaces \\n and a break "
