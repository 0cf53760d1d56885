"""Data of one's own by its kind and place: what it is called, what is counted, and that everything behind works as for a row."""

import json
import shutil
from pathlib import Path
from shlex import quote

import pytest
from PIL import Image

import evals
from evals.config.choice import choose
from evals.config.own_data import KINDS, DataRef, OwnBenchmark, Reading, data_ref
from evals.config.suites import Suite
from evals.data import subset_of
from evals.data.notes import notes
from evals.data.own import READ, object_subsets, read_own
from evals.evaluation.recording import content_hash
from evals.records import selection
from evals.records.manifest import Manifest
from evals.records.manifest_parts import ConfigPart, RowPart
from evals.records.selection import operand
from evals.records.shelf import Entry
from evals.report.measured import _is_published_data
from evals.report.names import Place
from evals.schema import CaptionProtocol, ConfigError, EvalError, LabeledImages, MissingError
from tests.commands import ROOT, Done, process, run
from tests.doors import picture
from tests.test_run import photographs
from tests.toys import HashEncoder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return photographs(tmp_path / "My photos")


def measured(done: Done) -> dict:
    assert done.returncode == 0, done.stderr
    [result] = json.loads(done.stdout)["runs"]
    return result


def manifest(done: Done, cwd: Path) -> dict:
    return json.loads((cwd / measured(done)["path"] / "manifest.json").read_text())


def test_photographs_and_captions_are_measured_without_a_row(
    photos: Path, tmp_path: Path, checkpoint: Path
) -> None:
    done = run(f"captions:{photos}", "--model", checkpoint, "--json", cwd=tmp_path)
    record = manifest(done, tmp_path)
    assert record["benchmark"] == "my-photos" and record["partial"] is None
    assert record["data"]["all"] | {"content": "", "origin": {}} == {
        "content": "",
        "origin": {},
        "images": 12,
        "texts": 24,
    }
    own = {"kind": "captions", "place": str(photos), "columns": None}
    assert record["config"]["row"]["own"] == own


def test_a_remedy_names_the_data_as_commands_take_it(photos: Path, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    evals.evaluate(f"captions:{photos}", HashEncoder(name="m"), results=results, store=None)
    argument = quote(f"my-photos=captions:{photos}")
    with pytest.raises(ConfigError) as unscored:
        selection.measured(operand("m@2"), results, "my-photos")
    assert str(unscored.value).endswith(f"--benchmarks {argument} --model m --dims 2")


def test_the_numbers_are_those_of_a_row_with_the_same_data(
    photos: Path, tmp_path: Path, checkpoint: Path
) -> None:
    options = ("--model", checkpoint, "--json")
    own = measured(run(f"captions:{photos}", *options, cwd=tmp_path))
    row = ("flickr8k", "--data", photos, "--allow-subset")
    declared = measured(run(*row, *options, cwd=tmp_path))
    assert declared["encoded"] == {"image": 0, "text": 0}
    assert [line | {"subset": ""} for line in own["metrics"]] == [
        line | {"subset": ""} for line in declared["metrics"]
    ]


def test_a_limit_measures_a_part_under_its_own_key(
    photos: Path, tmp_path: Path, checkpoint: Path
) -> None:
    options = ("--limit", 5, "--name", "birds", "--model", checkpoint, "--json")
    done = run(f"captions:{photos}", *options, cwd=tmp_path)
    assert manifest(done, tmp_path)["benchmark"] == "birds.partial"


def test_languages_are_subsets(photos: Path, tmp_path: Path, checkpoint: Path) -> None:
    lines = (photos / "captions.jsonl").read_text()
    (photos / "captions.jsonl").unlink()
    (photos / "captions").mkdir()
    for language in ("de", "en"):
        (photos / "captions" / f"{language}.jsonl").write_text(lines)
    done = run(f"captions:{photos}", "--model", checkpoint, "--json", cwd=tmp_path)
    assert list(manifest(done, tmp_path)["data"]) == ["de", "en"]
    chosen = run(
        f"captions:{photos}", "--subsets", "en", "--model", checkpoint, "--json", cwd=tmp_path
    )
    assert list(manifest(chosen, tmp_path)["data"]) == ["en"]


def test_mistakes_sweeps_fusion_and_cost_take_it(
    photos: Path, tmp_path: Path, checkpoint: Path
) -> None:
    named = f"captions:{photos}"
    path = measured(run(named, "--model", checkpoint, "--json", cwd=tmp_path))["path"]
    worst = run(path, "--top", 3, cwd=tmp_path, module="evals.mistakes")
    assert worst.returncode == 0, worst.stderr
    options = (
        "--benchmarks",
        named,
        "--dims",
        "8,16",
        "--no-figures",
        "--model",
        checkpoint,
        "--json",
    )
    sweep = measured(run(*options, cwd=tmp_path, module="evals.mrl_sweep"))
    assert {line["dim"] for line in sweep["metrics"]} == {8, 16, 32}
    fused = run(named, "--model", checkpoint, cwd=tmp_path, module="evals.fusion")
    assert fused.returncode == 0, fused.stderr
    cost = run(named, "--json", cwd=tmp_path, module="evals.cost")
    assert json.loads(cost.stdout)["benchmarks"][0]["benchmark"] == "my-photos"


def test_class_folders_are_measured_and_probed(tmp_path: Path, checkpoint: Path) -> None:
    shades = iter(range(100))
    for split in ("test", "train"):
        for name in ("guide_dog", "cat"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for number in range(3):
                picture = Image.new("RGB", (16, 16), (next(shades), 200, 30))
                picture.save(tmp_path / "pets" / split / name / f"{number}.png")
    done = run("labels:pets", "--model", checkpoint, "--json", cwd=tmp_path)
    data = manifest(done, tmp_path)["data"]["all"]
    assert (data["images"], data["classes"]) == (6, 2)
    assert data["origin"]["classnames"] == "names of folders"
    assert data["origin"]["templates"] == "a photo of a {c}."
    probed = run(
        *("labels:pets", "--model", checkpoint, "--knn", "1", "--no-linear", "--json"),
        cwd=tmp_path,
        module="evals.probe",
    )
    assert measured(probed)["benchmark"] == "pets.knn"


def test_a_program_names_it_in_the_same_way(photos: Path, tmp_path: Path, checkpoint: Path) -> None:
    results = {"results": tmp_path / "runs", "store": tmp_path / "store"}
    record = evals.evaluate(f"captions:{photos}", str(checkpoint), name="birds", **results)
    assert (record.benchmark, record.model) == ("birds", "small-v2")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("captions:photos/", "photos"),
        ("captions:a/Meine Fotos", "meine-fotos"),
        ("captions:a/写真", "写真"),
        ("birds=captions:a/b", "birds"),
        ("labels:shards/*.tar", "shards"),
        ("captions:shards/{00..09}.tar", "shards"),
    ],
)
def test_it_is_called_by_its_folder_or_as_one_likes(text: str, name: str) -> None:
    ref = data_ref(text)
    assert ref is not None and ref.name == name


@pytest.mark.parametrize("text", ["scenes", "mteb:STSBenchmark", "birds:DIR", "captions"])
def test_anything_else_is_no_data_of_ones_own(text: str) -> None:
    assert data_ref(text) is None


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["captions:"], r"nothing behind the colon"),
        (["captions:a/flickr8k"], r"flickr8k is a row of configs/.*--name.*flickr8k --data"),
        (["captions:a/birds", "labels:b/birds"], r"would both be called birds.*NAME="),
        (["captions:a/x.partial"], r"cannot be the name of records"),
        (["captions:///"], r"cannot be the name of records"),
        (["."], r"is a folder or file, and what is in it is not said.*captions:…"),
        (["flickr8x"], r"Did you mean .*captions:…"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_remedy(names: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        choose(names)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("place", "option"),
    [
        ("sts:pairs.tsv", ("--split", "dev")),
        ("sts:pairs.tsv", ("--columns", "image=a")),
        ("beir:mine", ("--columns", "image=a")),
        ("ir:beir/scifact/test", ("--split", "dev")),
    ],
)
def test_an_option_that_a_kind_does_not_heed_is_refused(place, option, tmp_path: Path) -> None:
    done = run(place, "--model", "tiny", *option, cwd=tmp_path)
    assert done.returncode == 2
    assert f"{option[0]} means nothing to {place}" in done.stderr


def test_options_of_own_data_are_refused_without_it(tmp_path: Path, checkpoint: Path) -> None:
    for options in (("--name", "x"), ("--split", "val")):
        done = run("scenes", "--model", checkpoint, *options, cwd=tmp_path)
        assert done.returncode == 2 and options[0] in done.stderr
    done = run("captions:a", "--model", checkpoint, "--data", "b", cwd=tmp_path)
    assert done.returncode == 2 and "--data means nothing to captions:a" in done.stderr


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, checkpoint: Path) -> None:
    # An id of ir_datasets is no folder.
    for kind in KINDS.keys() - {"ir"}:
        with pytest.raises(MissingError, match="nowhere"):
            evals.evaluate(f"{kind}:{tmp_path}/nowhere", str(checkpoint), results=tmp_path)


def test_every_kind_has_a_reader() -> None:
    assert set(KINDS) == set(READ)


def test_no_row_of_a_yaml_file_can_pass_for_own_data() -> None:
    assert "own" in OwnBenchmark.model_fields
    assert not any(isinstance(row, OwnBenchmark) for row in evals.benchmarks().values())


def labels(place: Path, **reading: str) -> LabeledImages:
    [data] = read_own(DataRef("labels", str(place), "x"), Reading(**reading)).subsets.values()
    assert isinstance(data, LabeledImages)
    return data


def test_labels_are_read_from_folders_and_from_tables_alike(tmp_path: Path) -> None:
    import datasets

    classes = [("b.png", "guide_dog", 1), ("a.png", "cat", 2), ("c.png", "guide_dog", 3)]
    for name, label, shade in classes:
        for folder in ("images", f"folders/{label}"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_bytes(picture(shade))
    rows = "".join(f"{name},{label}\n" for name, label, _ in classes)
    (tmp_path / "images" / "labels.csv").write_text(f"file_name,class\n{rows}")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "guide dog"])}
    )
    columns = {
        "image": [{"bytes": picture(shade), "path": name} for name, _, shade in classes],
        "label": [int(label != "cat") for _, label, _ in classes],
    }
    dataset = datasets.Dataset.from_dict(columns, features=features)
    dataset.save_to_disk(tmp_path / "saved")
    (tmp_path / "hub").mkdir()
    dataset.to_parquet(tmp_path / "hub" / "test-00000-of-00001.parquet")
    held = object_subsets(dataset, "x", Reading(), CaptionProtocol())["all"]
    tables = [labels(tmp_path / name) for name in ("images", "saved", "hub")]
    for data in (*tables, held):
        assert content_hash(data) == content_hash(tables[0])
        assert data.classnames == ("cat", "guide dog") and data.labels.tolist() == [1, 0, 1]
    folders = labels(tmp_path / "folders")
    assert folders.classnames == ("cat", "guide dog") and folders.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("a.png,0\nb.png,1\n", r"nothing says what the numbers in column class mean"),
        ("a.png,cat\nb.png,\n", r"line 3: '' in column class is no name of a class"),
        (
            "a.png,cat\na.png,dog\n",
            r"line 3: image 'a.png' is listed at .*line 2 too.*write captions: in the place of labels:",
        ),
        ("a.png,cat\nz.png,dog\n", r"'z.png' is not in"),
    ],
)
def test_labels_that_say_nothing_are_refused(rows: str, says: str, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture(1))
    (tmp_path / "labels.csv").write_text(f"file_name,class\n{rows}")
    with pytest.raises(EvalError, match=says):
        labels(tmp_path)


def test_a_suite_may_name_data_of_ones_own(photos: Path, tmp_path: Path) -> None:
    birds = Suite(
        name="x", title="X", benchmarks=("scenes", "birds=captions:My photos"), averages={}
    )
    assert [ref.name for ref in birds.own.values()] == ["birds"]
    configs = tmp_path / "configs"
    shutil.copytree(ROOT / "configs", configs, ignore=shutil.ignore_patterns("tiny", "published"))
    suite = "mine:\n  title: Mine\n  benchmarks: ['scenes', 'birds=captions:{}']\n"
    for place, says in (("My photos", None), ("../x", "leads out")):
        (configs / "suites.yaml").write_text(suite.format(place))
        done = process(
            "--suite", "mine", "--list", "--json", cwd=tmp_path, EVALS_CONFIGS=str(configs)
        )
        assert done.returncode == (2 if says else 0) and (says or "") in done.stderr


def test_no_published_table_takes_data_of_ones_own() -> None:
    """A folder of configs of one's own may have no row of that name, and then the name is free."""
    row = {"name": "flickr", "own": {"kind": "captions", "place": "x", "columns": None}}
    for own, counts in ((row, False), ({"name": "flickr"}, True)):
        manifest = Manifest.model_construct(config=ConfigPart(row=RowPart(**own)))
        place = Place("flickr", None, "en", "t2i", "R@5", None)
        assert _is_published_data(Entry(Path("x"), manifest), place) is counts


def test_what_was_read_and_merged_is_said(tmp_path: Path, checkpoint: Path) -> None:
    photos = photographs(tmp_path / "photos", n=4)
    entries = [json.loads(line) for line in (photos / "captions.jsonl").read_text().splitlines()]
    rows = [(entry["image"], text) for entry in entries for text in entry["captions"]]
    (photos / "captions.jsonl").unlink()
    (photos / "x.csv").write_text("file,text\n" + "".join(f"{a},{b}\n" for a, b in rows))
    done = run("captions:photos", "--model", checkpoint, cwd=tmp_path)
    assert "photos all: 4 images and 8 texts" in done.stderr
    assert "read as table, columns image=file,captions=text" in done.stderr
    assert "joined to its first row with their captions: 4" in done.stderr


@pytest.mark.parametrize("ending", ["gif", "tiff", "png", "webp"])
def test_only_the_first_frame_is_measured_and_that_is_said(ending: str, tmp_path: Path) -> None:
    still, other = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    for name, more in (("still", []), ("moves", [other]), ("again", [other])):
        still.save(tmp_path / f"{name}.{ending}", save_all=True, append_images=more)
    # A JPEG of several images is a photo with its thumbnails, as phones write it.
    still.save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[other])
    names = [f"still.{ending}", f"moves.{ending}", f"again.{ending}", "phone.jpg"]
    table = "".join(f"{name},a square\n" for name in names)
    (tmp_path / "x.csv").write_text("file,text\n" + table)
    [data] = read_own(DataRef("captions", str(tmp_path), "x"), Reading()).subsets.values()
    assert data.origin["several_frames"] == "2"
    assert "images of several frames or pages, measured by the first: 2" in notes(data.origin)
    part = subset_of(data, 3)
    kept = sum(name.startswith(("moves", "again")) for name in part.images.ids)
    assert part.origin["several_frames"] == str(kept)


def test_a_folder_per_split_is_no_class(tmp_path: Path) -> None:
    for number, place in enumerate(("train/cat", "train/dog", "val/cat", "val/dog")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "1.png").write_bytes(picture(number))
    with pytest.raises(ConfigError, match=r"has the splits val, train.*--split"):
        labels(tmp_path)
    assert labels(tmp_path, split="val").classnames == ("cat", "dog")
    shutil.rmtree(tmp_path / "train")
    assert labels(tmp_path).classnames == ("cat", "dog")
    # A class may be called so, too.
    (tmp_path / "toys" / "train").mkdir(parents=True)
    (tmp_path / "toys" / "train" / "1.png").write_bytes(picture(9))
    assert labels(tmp_path / "toys").classnames == ("train",)
