"""Prepared folders: what they hold, that they measure the same, that they survive a kill, and what `verify` finds."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from evals.cli.app import Log
from evals.config.catalog import Benchmark
from evals.data import load
from evals.data.__main__ import app
from evals.data.filenames import place_for
from evals.data.local import load_local
from evals.data.manifest import Manifest, check_folder
from evals.data.prepare import prepare
from evals.evaluation.load import load_parts
from evals.schema import (
    CaptionProtocol,
    ConfigError,
    EvalError,
    ImageText,
    InvalidError,
    MissingError,
    Source,
)
from evals.settings import Settings
from tests.commands import until
from tests.hub import COMMIT, OLDER, Hub

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[1]
LOG = Log()


def jpeg(shade: int, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(out, kind)
    return out.getvalue()


def put(folder: Path, **images: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, shade in images.items():
        (folder / f"{name}.jpg").write_bytes(jpeg(shade))


def jsonl(file: Path, entries: Mapping[str, list[str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "".join(
            json.dumps({"image": image, "captions": texts}) + "\n"
            for image, texts in entries.items()
        )
    )


def row(*subsets: str, images: int = 2, texts: int | None = 3, **more: Any) -> Benchmark:
    fields = dict(
        title="Toy",
        task="image_text",
        data="captions",
        subsets=subsets or ("en",),
        split="test",
        images=images,
    )
    return Benchmark(**{"name": "toy", **fields, **({"texts": texts} if texts else {}), **more})


def source(folder: Path | None, *subsets: str, **more: Any) -> Source:
    return Source(subsets or ("en",), "test", folder=folder, **more)


def pack(row: Benchmark, given: Source, to: Path, allow_subset: bool = False) -> Manifest:
    return prepare(row, given, to / row.name, allow_subset=allow_subset, progress=LOG.progress)


def content(data: ImageText) -> tuple[Any, ...]:
    """All that a score can depend on, and the ids by which runs are compared."""
    images, texts = data.images, data.texts
    return (
        list(images.ids),
        list(images.hashes),
        list(texts.items),
        list(texts.ids),
        data.image_of_text.tolist(),
        data.also.tolist(),
    )


def contents(parts: Mapping[str, ImageText]) -> dict[str, tuple[Any, ...]]:
    return {subset: content(data) for subset, data in parts.items()}


@pytest.fixture
def karpathy(tmp_path: Path) -> Path:
    """Two test images with three captions in Karpathy's JSON, one of them quoted and in a folder of its own."""
    folder = tmp_path / "source"
    put(folder / "val2014", a=1)
    put(folder / "images", b=2)
    images = [
        {"filename": "x.jpg", "split": "train", "sentences": [{"raw": "no"}]},
        {"filename": "b.jpg", "split": "test", "sentences": [{"raw": 'two, "so" called \u2028 '}]},
        {
            "filename": "a.jpg",
            "filepath": "val2014",
            "split": "test",
            "sentences": [{"raw": "one"}, {"raw": "a \n"}],
        },
    ]
    (folder / "dataset_toy.json").write_text(json.dumps({"images": images}))
    return folder


@pytest.fixture
def languages(tmp_path: Path) -> Path:
    """Two languages of two images each, one of them shared, in another order."""
    folder = tmp_path / "source"
    put(folder / "images", a=1, b=2, c=3)
    jsonl(folder / "captions" / "en.jsonl", {"a.jpg": ["one"], "b.jpg": ["two", "too"]})
    jsonl(folder / "captions" / "de.jsonl", {"c.jpg": ["drei", "3"], "a.jpg": ["eins"]})
    return folder


# What is packed, and that it measures the same


def test_a_karpathy_release_comes_back_from_the_folder_as_it_was(
    karpathy: Path, tmp_path: Path
) -> None:
    given = source(karpathy)
    manifest = pack(row(), given, tmp_path / "to")
    before, folder = contents(load("captions", given)), tmp_path / "to" / "toy"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "captions.jsonl", "images/a.jpg", "images/b.jpg", "manifest.json"
    ]  # fmt: skip
    assert (folder / "images" / "a.jpg").read_bytes() == jpeg(1)
    for place in (folder, tmp_path / "to"):
        assert contents(load_parts(row(), Settings(data=place)).subsets) == before
    assert manifest.subsets["en"].origin == {
        "layout": "karpathy",
        "path": str(karpathy / "dataset_toy.json"),
    }
    assert (manifest.subsets["en"].images, manifest.subsets["en"].texts) == (2, 3)
    assert manifest.source == {"path": str(karpathy), "split": "test"}
    assert manifest.made_by.startswith("jina-clip-evals ") and manifest.prepared.endswith("Z")
    assert check_folder(folder, LOG.progress) == manifest


def test_languages_share_their_images(languages: Path, tmp_path: Path) -> None:
    given, toy = source(languages, "en", "de"), row("en", "de")
    pack(toy, given, tmp_path / "to")
    folder = tmp_path / "to" / "toy"
    assert sorted(path.name for path in folder.rglob("*.*")) == [
        "a.jpg",
        "b.jpg",
        "c.jpg",
        "de.jsonl",
        "en.jsonl",
        "manifest.json",
    ]
    for place in (folder, tmp_path / "to"):
        again = load_parts(toy, Settings(data=place)).subsets
        assert contents(again) == contents(load("captions", given))
    assert content(
        load_parts(toy, Settings(data=folder, subsets=("de",))).subsets["de"]
    ) == content(again["de"])


@pytest.mark.parametrize(
    ("protocol", "texts"),
    [
        ({"captions": "first"}, ['"two, ""so"" called \u2028 "', "one"][1:]),
        ({"quotes": "clip_benchmark"}, None),
        ({}, None),
    ],
)
def test_all_captions_are_packed_whatever_the_protocol(
    karpathy: Path, tmp_path: Path, protocol: dict[str, Any], texts: Any
) -> None:
    toy = row(protocol=protocol, texts=2 if protocol.get("captions") else 3)
    assert pack(toy, source(karpathy), tmp_path / "to").subsets["en"].texts == 3
    measured = CaptionProtocol(**protocol)
    before = load("captions", source(karpathy, protocol=measured))
    assert contents(load_parts(toy, Settings(data=tmp_path / "to")).subsets) == contents(before)


def test_rows_that_differ_in_their_protocol_share_a_folder(karpathy: Path, tmp_path: Path) -> None:
    to = tmp_path / "to" / "toy"
    first = prepare(row(), source(karpathy), to, allow_subset=False, progress=LOG.progress)
    other = row(name="toy-first", folder="toy", protocol={"captions": "first"}, texts=2)
    assert prepare(other, source(karpathy), to, allow_subset=False, progress=LOG.progress) == first
    assert len(load_parts(other, Settings(data=tmp_path / "to")).subsets["en"].texts) == 2


def test_the_hub_is_packed_at_the_commit_that_was_resolved(hub: Hub, tmp_path: Path) -> None:
    from tests.test_data_hub import CAPTIONS

    hub.files = CAPTIONS
    toy, given = row(images=3, texts=5, data="hub_captions"), source(None, repo="org/set")
    manifest = pack(toy, given, tmp_path / "to")
    assert manifest.source == {"repo": "org/set", "revision": COMMIT, "split": "test"}
    assert contents(load_parts(toy, Settings(data=tmp_path / "to")).subsets) == contents(
        load("hub_captions", given)
    )
    hub.status = 500  # nothing is asked for a finished folder
    assert pack(toy, given, tmp_path / "to") == manifest
    with pytest.raises(
        ConfigError, match=rf"holds toy, split test, org/set at {COMMIT}, which is not .*{OLDER}"
    ):
        pack(toy, source(None, repo="org/set", revision=OLDER), tmp_path / "to")


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["7", "3:201", "a b (1).jpg"], ["images/7", "images/3:201", "images/a b (1).jpg"]),
        (["val2014/a.jpg", "images/b.jpg"], ["images/val2014/a.jpg", "images/b.jpg"]),
        (["../a.jpg"], [None]),
        (["/a.jpg"], [None]),
        ([".a", "a.", "", "a\nb", "ä", "a" * 300], [None] * 6),
        (["captions.jsonl", "captions/en.jsonl", "manifest.json"], [None] * 3),
        (
            ["a.jpg", "A.jpg", "images/a.jpg"],
            ["images/a.jpg", None, None],
        ),  # one file on some file systems
        (["a", "a/b"], ["images/a", None]),
        (["a/b", "a", "A/c"], ["images/a/b", None, "images/A/c"]),
    ],
)
def test_an_id_is_kept_where_a_file_can_have_it(names: list[str], files: list[str | None]) -> None:
    used: set[str] = set()
    places = [place_for(name, jpeg(1, "PNG"), used) for name in names]
    assert [
        file if line == name else None for name, (file, line) in zip(names, places, strict=True)
    ] == files
    for name, (file, line) in zip(names, places, strict=True):
        if line != name:
            assert file == f"images/{line}" and line.endswith(".png") and len(line) == 24


def test_odd_ids_lead_to_their_images(tmp_path: Path) -> None:
    given, toy = folder_of_odd_ids(tmp_path / "source"), row(images=3, texts=3)
    pack(toy, given, tmp_path / "to")
    before, after = (
        load_local(given)["en"],
        load_parts(toy, Settings(data=tmp_path / "to")).subsets["en"],
    )
    assert (after.images.hashes, after.texts.items) == (before.images.hashes, before.texts.items)
    assert [after.images.ids[0], *map(len, after.images.ids[1:])] == ["a.jpg", 24, 24]


def folder_of_odd_ids(folder: Path) -> Source:
    put(folder, a=1)
    put(folder / "images", a=2)
    (folder / "ä?.png").write_bytes(jpeg(3, "PNG"))
    jsonl(
        folder / "captions.jsonl", {"a.jpg": ["one"], "images/a.jpg": ["two"], "ä?.png": ["three"]}
    )
    return source(folder)


# Running it again


def test_a_finished_folder_is_left_alone(
    karpathy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, folder = pack(row(), source(karpathy), tmp_path / "to"), tmp_path / "to" / "toy"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr("evals.data.prepare.load", None)
    assert pack(row(), source(karpathy), tmp_path / "to") == manifest
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    (folder / "images" / "a.jpg").write_bytes(jpeg(9))
    with pytest.raises(InvalidError, match=r"1 changed \(images/a.jpg\)"):
        pack(row(), source(karpathy), tmp_path / "to")


def test_a_language_can_be_added_later(languages: Path, tmp_path: Path) -> None:
    toy, folder = row("en", "de"), tmp_path / "to" / "toy"
    assert pack(toy, source(languages, "en"), tmp_path / "to").subsets.keys() == {"en"}
    kept = (folder / "images" / "a.jpg").stat().st_ino
    assert pack(toy, source(languages, "de"), tmp_path / "to").subsets.keys() == {"en", "de"}
    assert (folder / "images" / "a.jpg").stat().st_ino == kept
    check_folder(folder, LOG.progress)
    assert contents(load_parts(toy, Settings(data=folder)).subsets) == contents(
        load("captions", source(languages, "en", "de"))
    )


def test_an_interrupted_folder_keeps_what_is_right_and_replaces_the_rest(
    karpathy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "to" / "toy"
    with monkeypatch.context() as patch:
        patch.setattr("evals.data.prepare._lines", lambda *_: b"x")
        patch.setattr("evals.data.prepare._packed", stop)
        with pytest.raises(KeyboardInterrupt):
            pack(row(), source(karpathy), tmp_path / "to")
    with pytest.raises(InvalidError, match="not finished"):
        check_folder(folder, LOG.progress)
    kept = (folder / "images" / "b.jpg").stat().st_ino
    (folder / "images" / "a.jpg").write_bytes(b"half")
    (folder / "images" / ".a.jpg.1234.part").write_bytes(b"half")
    with pytest.raises(ConfigError, match="holds toy"):
        pack(row(split="val"), Source(("en",), "val", folder=karpathy), tmp_path / "to")
    manifest = pack(row(), source(karpathy), tmp_path / "to")
    assert check_folder(folder, LOG.progress) == manifest
    assert (folder / "images" / "b.jpg").stat().st_ino == kept
    assert sorted(path.name for path in folder.iterdir()) == [
        "captions.jsonl",
        "images",
        "manifest.json",
    ]


def stop(*_: object) -> None:
    raise KeyboardInterrupt


PACKING = """
import sys, time
import evals.data.prepare as prepare
images, sys.argv = int(sys.argv[1]), ["evals.data", *sys.argv[2:]]
write, written = prepare._write, []
def some(path, data):
    if len(written) == images:
        time.sleep(600)
    write(path, data)
    written.append(path)
prepare._write = some
from evals.data.__main__ import app
app()
"""


def test_a_kill_at_any_moment_is_mended_by_the_same_command(tmp_path: Path) -> None:
    folder, n = tmp_path / "source", 300
    put(folder, **{f"i{i}": i % 256 for i in range(n)})
    jsonl(folder / "captions.jsonl", {f"i{i}.jpg": [f"image {i}"] for i in range(n)})
    arguments = ["prepare", "flickr8k", "--to", "to", "--data", "source", "--allow-subset"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    images = tmp_path / "to" / "flickr8k" / "images"
    for more in (1, 40):  # files that a killed run has added, at least
        before = len(list(images.glob("*.jpg")))
        # It waits to be killed instead of writing more than a hundred, however late the kill comes.
        process = subprocess.Popen(
            [sys.executable, "-c", PACKING, "100", *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        until(lambda: len(list(images.glob("*.jpg"))) >= before + more, process)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (images.parent / "manifest.json").exists()
        assert before < len(list(images.glob("*.jpg"))) < n
    kept = {path.name: path.stat().st_ino for path in images.glob("*.jpg")}
    done = subprocess.run(
        [sys.executable, "-m", "evals.data", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(check_folder(images.parent, LOG.progress).files) == n + 1
    assert all((images / name).stat().st_ino == inode for name, inode in kept.items())
    assert contents({"en": load_local(source(images.parent))["en"]}) == contents(
        {"en": load_local(source(folder))["en"]}
    )


def test_two_at_once_are_refused(karpathy: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "to").mkdir()
    with (
        FileLock(tmp_path / "to" / ".toy.lock"),
        pytest.raises(MissingError, match="another process prepares it"),
    ):
        pack(row(), source(karpathy), tmp_path / "to")


# What is refused


def test_a_broken_image_is_named_before_anything_is_written(
    languages: Path, tmp_path: Path
) -> None:
    (languages / "images" / "c.jpg").write_bytes(jpeg(3)[:-200])
    with pytest.raises(InvalidError, match=r"c\.jpg: the image is broken"):
        pack(row("en", "de"), source(languages, "en", "de"), tmp_path / "to")
    assert not (tmp_path / "to" / "toy").exists()


def test_a_part_needs_to_be_allowed_and_can_be_completed(karpathy: Path, tmp_path: Path) -> None:
    toy = row(images=3, texts=4)
    with pytest.raises(
        InvalidError, match="toy en: 2 images and 3 texts, where the row declares 3 and 4"
    ):
        pack(toy, source(karpathy), tmp_path / "to")
    assert pack(toy, source(karpathy), tmp_path / "to", allow_subset=True).subsets["en"].partial
    with pytest.raises(InvalidError, match="the row declares 3 and 4"):
        pack(toy, source(karpathy), tmp_path / "to")
    listing = json.loads((karpathy / "dataset_toy.json").read_text())
    listing["images"].append(
        {"filename": "c.jpg", "split": "test", "sentences": [{"raw": "three"}]}
    )
    put(karpathy, c=3)
    (karpathy / "dataset_toy.json").write_text(json.dumps(listing))
    assert not pack(toy, source(karpathy), tmp_path / "to").subsets["en"].partial
    assert len(check_folder(tmp_path / "to" / "toy", LOG.progress).files) == 4


def test_a_full_disk_is_told_before_anything_is_written(
    karpathy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=9000))
    with pytest.raises(MissingError, match=r"toy: needs 0\.0 MB, and 0\.0 MB are free"):
        pack(row(), source(karpathy), tmp_path / "to")
    assert not (tmp_path / "to" / "toy").exists()


def test_files_of_somebody_else_are_not_touched(karpathy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was not prepared by this command"):
        prepare(row(), source(karpathy), karpathy, allow_subset=False, progress=LOG.progress)
    pack(row(), source(karpathy), tmp_path / "to")
    with pytest.raises(ConfigError, match=r"holds toy, split test, from .*source, which is not"):
        pack(row(), source(karpathy / "dataset_toy.json"), tmp_path / "to")


def test_what_is_drawn_by_code_needs_no_preparing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="toy is bundled and needs no preparing"):
        pack(row(data="scenes"), source(None), tmp_path / "to")
    assert not (tmp_path / "to").exists()


# verify


@contextmanager
def found(kind: type[EvalError], says: str, folder: Path) -> Iterator[None]:
    yield
    with pytest.raises(kind, match=says):
        check_folder(folder, LOG.progress)


def edited(file: Path, change: Any) -> None:
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def test_what_is_missing_changed_or_additional_is_named(karpathy: Path, tmp_path: Path) -> None:
    pack(row(), source(karpathy), tmp_path / "to")
    folder = tmp_path / "to" / "toy"
    with found(InvalidError, r"1 additional \(images/\.DS_Store\)", folder):
        (folder / "images" / ".DS_Store").write_bytes(b"")
    with found(
        InvalidError, r"3 files and others 1 changed \(images/b.jpg\), 1 additional", folder
    ):
        data = bytearray(jpeg(2))
        data[-3] ^= 1
        (folder / "images" / "b.jpg").write_bytes(bytes(data))
    with found(
        InvalidError,
        r"1 missing \(images/a.jpg\), 1 changed \(images/b.jpg\), 1 additional",
        folder,
    ):
        (folder / "images" / "a.jpg").unlink()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda m: m["subsets"]["en"].update(texts=4),
            "2 images and 3 texts, where the manifest says 2 and 4 for en",
        ),
        (lambda m: m.pop("source"), "`source` is not what this version writes"),
        (lambda m: m.update(schema_version=2), "`schema_version` is not"),
        (
            lambda m: m["files"].update({"../x": {"sha256": "0" * 64, "bytes": 1}}),
            "must be a path inside the folder",
        ),
        (
            lambda m: m["files"]["captions.jsonl"].update(sha256="zz"),
            r"`files.captions.jsonl.sha256` is not",
        ),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    karpathy: Path, tmp_path: Path, change: Any, says: str
) -> None:
    pack(row(), source(karpathy), tmp_path / "to")
    with found(InvalidError, says, tmp_path / "to" / "toy"):
        edited(tmp_path / "to" / "toy" / "manifest.json", change)


# The commands


@pytest.fixture
def command(tmp_path: Path, karpathy: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`python -m evals.data ...` with the rows toy (on karpathy's data) and bundled."""
    rows = {
        name: row(data=data).model_dump(mode="json", exclude={"name"})
        for name, data in (("toy", "captions"), ("drawn", "scenes"))
    }
    (tmp_path / "benchmarks.yaml").write_text(json.dumps(rows))
    monkeypatch.setenv("EVALS_CONFIGS", str(tmp_path))

    def run(*words: object) -> Result:
        return CliRunner().invoke(app, list(map(str, words)))

    return run


def test_the_commands_say_what_was_made_and_what_is_fine(
    command: Any, karpathy: Path, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    made = command("prepare", "toy", "--to", to, "--data", karpathy)
    assert made.exit_code == 0, made.stderr
    assert made.stdout.startswith("toy: 3 files, 0.0 MB, as prepared on 2")
    assert made.stdout.endswith(f", from {karpathy}\n  {to / 'toy'}\n")
    assert command("verify", to).stdout == command("verify", to / "toy").stdout == made.stdout
    (to / "notes").mkdir()
    assert f"{to / 'notes'}: no manifest.json in it" in command("verify", to).stderr
    [entry] = json.loads(command("verify", to, "--json").stdout)["prepared"]
    assert (entry["path"], entry["files"], entry["benchmark"]) == (str(to / "toy"), 3, "toy")
    (to / "toy" / "images" / "a.jpg").unlink()
    broken = command("verify", to)
    assert (broken.exit_code, "1 missing (images/a.jpg)" in broken.stderr) == (3, True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("prepare drawn --to to", 2, "bundled"),
        ("prepare toj --to to", 2, "Did you mean toy"),
        ("prepare toy --to to --subsets en,xx", 2, "toy has no subset xx"),
        ("prepare toy --to to", 5, "--data"),
        ("verify nowhere", 5, "no manifest.json"),
        ("verify .", 5, "nor in a folder of it"),
    ],
)
def test_exit_codes(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command(*words.split())
    assert (done.exit_code, says in done.stderr) == (code, True), done.stderr
