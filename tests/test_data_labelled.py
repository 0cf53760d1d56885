"""Labelled images: webdatasets, class folders and parquet give the labels and prompts that were put, or say what is wrong."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evals.config.catalog import benchmarks
from evals.data import check_counts, subset_of
from evals.data import load as load_subsets
from evals.data.prompts import fill, names_of, templates_of, wordnet_ids
from evals.data.sources import class_prompts
from evals.evaluation.recording import content_hash
from evals.schema import (
    ClassPrompts,
    ConfigError,
    EvalError,
    InvalidError,
    LabeledImages,
    MissingError,
)
from tests.hub import COMMIT, OLDER, Hub
from tests.labelled import (
    NAMES,
    PROMPTS,
    class_folders,
    labels,
    load,
    npy,
    picture,
    source,
    truths,
    webdataset,
)
from tests.test_data_webdataset import put, shard

FER = ClassPrompts(7, "fer2013", "fer2013")


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_webdataset_brings_its_labels_names_and_templates(tmp_path: Path) -> None:
    data = load(webdataset(tmp_path))
    assert (data.labels.tolist(), data.classnames) == (labels(), tuple(NAMES))
    assert [data.texts.items[j] for j in np.flatnonzero(data.class_of_text == 3)] == [
        "a photo of a dark grey.",
        "dark grey",
        "the colour dark grey, seen from afar",
    ]
    assert data.texts.ids[9:12] == ["3#0", "3#1", "3#2"]
    assert (data.images.ids[25], data.images.items[25].size) == ("s0000025", (24, 20))
    assert (data.origin["classnames"], data.origin["layout"]) == ("classnames.txt", "webdataset")
    assert data.counts == {"images": 48, "classes": 5}


def test_images_of_several_classes_have_a_truth_for_each(tmp_path: Path) -> None:
    data = load(webdataset(tmp_path, multilabel=True), ClassPrompts(5, multilabel=True))
    np.testing.assert_array_equal(data.labels, truths())
    assert data.multilabel


def test_without_names_and_templates_of_its_own_clip_benchmarks_are_taken(tmp_path: Path) -> None:
    webdataset(tmp_path)
    for name in ("classnames.txt", "zeroshot_classification_templates.txt"):
        (tmp_path / name).unlink()
    data = load(tmp_path, FER)
    assert data.classnames[0] == "angry"
    assert data.texts.items[0] == "a photo of a angry looking face."
    assert (data.origin["classnames"], data.origin["templates"]) == (
        "clip-benchmark fer2013",
        "clip-benchmark fer2013",
    )
    with pytest.raises(
        InvalidError, match=r"no classnames\.txt in it, and clip-benchmark names no classes"
    ):
        load(tmp_path, ClassPrompts(5))


def test_a_webdataset_comes_from_the_hub_at_its_commit(hub: Hub, tmp_path: Path) -> None:
    hub.files = files(webdataset(tmp_path / "put"))
    [data] = load_subsets("labeled_webdataset", source(None, repo="org/set")).values()
    assert (data.labels.tolist(), data.origin["revision"]) == (labels(), COMMIT)
    assert data.origin["prompts_sha256"] == load(tmp_path / "put").origin["prompts_sha256"]


@pytest.mark.parametrize(
    ("more", "prompts", "error", "says"),
    [
        (
            {"test/0.tar": shard(a__png=picture(0, 0), a__cls="5")},
            PROMPTS,
            InvalidError,
            "'a': class 5, where the row has 5",
        ),
        (
            {"test/0.tar": shard(a__png=picture(0, 0), a__cls="-1")},
            PROMPTS,
            InvalidError,
            "a.cls: '-1' is not the number",
        ),
        (
            {"test/0.tar": shard(a__png=picture(0, 0), a__txt="1")},
            PROMPTS,
            InvalidError,
            r"'a' has no label \(cls\)",
        ),
        (
            {"test/0.tar": shard(s0000030__png=picture(0, 0), s0000030__cls="1")},
            PROMPTS,
            InvalidError,
            "'s0000030' is listed at",
        ),
        (
            {"dataset_type.txt": b"retrieval"},
            PROMPTS,
            ConfigError,
            "says 'retrieval', and the row needs",
        ),
        (
            {},
            ClassPrompts(5, multilabel=True),
            ConfigError,
            "says 'classification', and the row needs 'multilabel'",
        ),
        ({}, ClassPrompts(6), InvalidError, "classnames.txt: 5 class names, where the row has 6"),
        ({"classnames.txt": b"a\n\nb\nc\nd\n"}, PROMPTS, InvalidError, "line 2: is empty"),
        (
            {"zeroshot_classification_templates.txt": b"a photo"},
            PROMPTS,
            InvalidError,
            r"'a photo' must hold \{c\}",
        ),
        ({"test/nshards.txt": b"3"}, PROMPTS, MissingError, "shard 2.tar is missing"),
    ],
)
def test_what_is_wrong_with_a_webdataset_is_told(
    tmp_path: Path, more: dict[str, bytes], prompts: ClassPrompts, error: type[EvalError], says: str
) -> None:
    put(webdataset(tmp_path), more)
    with pytest.raises(error, match=says):
        load(tmp_path, prompts)


@pytest.mark.parametrize("row", [np.array([0, 1, 2, 0, 0]), np.zeros((5, 1)), np.zeros(4)])
def test_truths_that_are_none_are_refused(tmp_path: Path, row: np.ndarray) -> None:
    put(
        webdataset(tmp_path, multilabel=True),
        {"test/0.tar": shard(a__png=picture(0, 0), a__npy=npy(row))},
    )
    with pytest.raises(
        InvalidError, match=r"a 0 or 1 for each class|4 truths, where the row has 5"
    ):
        load(tmp_path, ClassPrompts(5, multilabel=True))
    put(tmp_path, {"test/0.tar": shard(a__png=picture(0, 0), a__npy=b"\x80\x04]")})
    with pytest.raises(InvalidError, match="not an array of numpy"):
        load(tmp_path, ClassPrompts(5, multilabel=True))


EMOTIONS = ["Happy", "sad", "angry", "SURPRISED", "fearful"]


@pytest.mark.parametrize("split", [None, "test"])
def test_class_folders_are_matched_by_name(tmp_path: Path, split: str | None) -> None:
    data = load(class_folders(tmp_path, EMOTIONS, split=split), FER)
    names = [Path(image).parts[0].lower() for image in data.images.ids]
    assert [data.classnames[label] for label in data.labels] == names
    assert data.origin["layout"] == "class_folders"
    assert (len(data.images), len(data.classnames)) == (30, 7)


def test_class_folders_are_matched_by_wordnet_id_number_and_json(tmp_path: Path) -> None:
    imagenet_a = ClassPrompts(200, "imagenet1k", wordnet="imagenet_a_wnids")
    wnids = wordnet_ids(imagenet_a)
    data = load(
        class_folders(tmp_path / "wnid", [wnids[3], wnids[0], wnids[199], wnids[1], wnids[2]]),
        imagenet_a,
    )
    assert data.classnames[0] == "stingray"
    assert set(data.labels.tolist()) == {0, 1, 2, 3, 199}
    assert [int(label) for label in data.labels] == [
        wnids.index(Path(image).parts[0]) for image in data.images.ids
    ]

    v2 = load(
        class_folders(tmp_path / "v2", ["10", "2", "999", "0", "7"]),
        ClassPrompts(1000, "imagenet1k"),
    )
    assert [str(label) for label in v2.labels] == [Path(image).parts[0] for image in v2.images.ids]

    root = class_folders(tmp_path / "json", ["n5", "n4", "n3", "n2", "n1"])
    (root / "classes.json").write_text(json.dumps({f"n{i}": f"thing {i}" for i in range(1, 6)}))
    own = load(root, ClassPrompts(5))
    assert own.classnames[0] == "thing 1"
    assert [f"n{label + 1}" for label in own.labels] == [
        Path(image).parts[0] for image in own.images.ids
    ]


def test_class_folders_that_are_no_classes_are_told(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "a", [*EMOTIONS[:4], "hungry"])
    with pytest.raises(
        InvalidError,
        match=r"the folder 'hungry' is none of the 7 classes \(clip-benchmark fer2013; 1 are not\)",
    ):
        load(root, FER)
    (class_folders(tmp_path / "b", EMOTIONS) / "happy").mkdir()
    with pytest.raises(InvalidError, match="'Happy' and 'happy' are one class"):
        load(tmp_path / "b", FER)
    (class_folders(tmp_path / "c", EMOTIONS) / "sad" / "notes.txt").write_text("x")
    with pytest.raises(InvalidError, match=r"notes\.txt: not an image"):
        load(tmp_path / "c", FER)
    with pytest.raises(ConfigError, match="class folders cannot say"):
        load(tmp_path / "c", ClassPrompts(20, multilabel=True))
    with pytest.raises(MissingError, match="no such folder"):
        load(tmp_path / "none", FER)
    sunglasses = class_folders(
        tmp_path / "d", ["sunglasses", "missile", "tench", "goldfish", "hammerhead shark"]
    )
    with pytest.raises(
        InvalidError, match="the folder 'missile' is none"
    ):  # ImageNet has two classes of that name
        load(sunglasses, ClassPrompts(1000, "imagenet1k"))


def test_links_below_a_class_are_followed_but_not_round_in_a_circle(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "x.png").write_bytes(picture(3, 99))
    root = class_folders(tmp_path / "a", EMOTIONS)
    before = len(load(root, FER).images)
    (root / "sad" / "more").symlink_to(photos)
    data = load(root, FER)
    assert len(data.images) == before + 1
    assert "sad/more/x.png" in data.images.ids
    (root / "sad" / "again").symlink_to(root)
    with pytest.raises(InvalidError, match=r"sad/again.*: a link that leads round in a circle"):
        load(root, FER)


def test_two_keys_for_one_class_folder_are_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path, ["n5", "n4", "n3", "n2", "n1"])
    names = {"n1": "a", "N1": "b", "n3": "c", "n4": "d", "n5": "e"}
    (root / "classes.json").write_text(json.dumps(names))
    with pytest.raises(InvalidError, match=r"classes\.json: two keys name the folder 'n1'"):
        load(root, ClassPrompts(5))


def parquet(column: str, values: list[int], names: list[str] | None, image: str = "image") -> bytes:
    cells = [{"bytes": picture(0, n), "path": None} for n in range(len(values))]
    table = pa.table({image: cells, column: values})
    if names:
        features = {column: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def from_hub(hub: Hub, data: bytes, prompts: ClassPrompts, readme: str = "") -> LabeledImages:
    hub.files = {"test-00000-of-00001.parquet": data, "README.md": readme.encode()}
    [found] = load_subsets("labeled_parquet", source(None, prompts, repo="org/set")).values()
    return found


def test_labels_of_parquet_mean_what_their_names_say(hub: Hub) -> None:
    names = ["Sad", "happy", "angry"]
    data = from_hub(hub, parquet("label", [2, 0, 1, 0], names), FER)
    assert [data.classnames[label] for label in data.labels] == ["angry", "sad", "happy", "sad"]
    assert data.images.items[1].size == (24, 20)


def test_label_names_come_from_the_readme_too_and_become_class_names_where_there_are_none(
    hub: Hub,
) -> None:
    readme = (
        "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n"
        "          '0': big_cat\n          '1': dog\n---\n"
    )
    data = from_hub(hub, parquet("label", [1, 0], None, image="img"), ClassPrompts(2), readme)
    assert (data.classnames, data.labels.tolist()) == (("big cat", "dog"), [1, 0])
    hub.head = OLDER
    with pytest.raises(InvalidError, match="the label names of its README are not those of 0 to 1"):
        from_hub(hub, parquet("label", [1, 0], None), ClassPrompts(2), readme.replace("'1'", "'2'"))


def test_numbers_of_converted_webdatasets_are_clip_benchmarks_and_others_are_refused(
    hub: Hub,
) -> None:
    assert from_hub(hub, parquet("cls", [6, 0], None, image="webp"), FER).labels.tolist() == [6, 0]


@pytest.mark.parametrize(
    ("column", "values", "names", "says"),
    [
        ("label", [0], None, "nothing says what the numbers in `label` mean"),
        ("label", [0], ["hungry"], "the label 'hungry' is no class"),
        ("label", [3], ["sad", "happy"], "row 0, column label: '3' is not one of the 2 labels"),
        ("label", [1.0], ["sad", "happy"], "column label: '1.0' is not one of the 2 labels"),
        ("label", [True], ["sad", "happy"], "column label: 'True' is not one of the 2 labels"),
        ("label", [-1], ["sad", "happy"], "column label: '-1' is not one of the 2 labels"),
        ("cls", [7], None, "row 0, column cls: '7' is not one of the 7 labels"),
        ("kind", [0], None, "no column label, cls"),
    ],
)
def test_parquet_that_cannot_be_meant_is_told(
    hub: Hub, column: str, values: list[int], names: list[str], says: str
) -> None:
    with pytest.raises(InvalidError, match=says):
        from_hub(hub, parquet(column, values, names), FER)


def test_every_row_has_prompts_and_the_right_number_of_classes() -> None:
    rows = [row for row in benchmarks().values() if row.task == "classification"]
    assert len(rows) == 38
    for row in rows:
        prompts = class_prompts(row)
        names = names_of(None, prompts)
        assert names is None or len(names.values) == row.classes.count
        assert fill(templates_of(None, prompts).values, "zebra")[0].count("zebra") == 1
        key = row.classes.dataset.split("/")[-1]  # where CLIP_benchmark looks first
        known = json.loads(
            (clip_benchmark() / "en_zeroshot_classification_templates.json").read_text()
        )
        assert row.classes.templates == (key if key in known else "imagenet1k") or key in (
            "imagenetv2",
            "caltech101",
        )
        assert row.hub.repo == f"clip-benchmark/wds_{row.classes.dataset.replace('/', '-')}"


def clip_benchmark() -> Path:
    import importlib.util

    return (
        Path(importlib.util.find_spec("clip_benchmark").submodule_search_locations[0]) / "datasets"
    )


def test_parts_of_imagenet_have_the_names_that_clip_benchmark_gives_them() -> None:
    """`imagenet_r_wnids` is a set in no order: the names are in ImageNet's."""
    names = names_of(None, ClassPrompts(200, "imagenet1k", wordnet="imagenet_r_wnids")).values
    whole = names_of(None, ClassPrompts(1000, "imagenet1k")).values
    positions = [whole.index(name) for name in names]
    assert positions == sorted(positions)
    assert names[:2] == ["goldfish", "great white shark"]
    wnids = wordnet_ids(ClassPrompts(200, "imagenet1k", wordnet="imagenet_r_wnids"))
    assert (wnids, len(wnids)) == (sorted(wnids), 200)


def test_templates_may_be_a_list_for_each_class() -> None:
    assert fill({"cat": ["a cat", "its whiskers"]}, "cat") == ["a cat", "its whiskers"]
    with pytest.raises(InvalidError, match="none for the class 'dog'"):
        fill({"cat": ["a cat"]}, "dog")
    with pytest.raises(InvalidError, match="no other braces"):
        fill(["a {c} and a {d}"], "cat")


def test_without_clip_benchmark_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import evals.data.prompts as room

    room._clip_benchmark.cache_clear()
    monkeypatch.setattr(room.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install 'jina-clip-evals\[classification\]'"):
        load(class_folders(tmp_path, EMOTIONS), FER)
    assert load(webdataset(tmp_path / "wds")).classnames == tuple(NAMES)  # brings its own


def test_clip_benchmark_is_read_and_not_imported() -> None:
    import subprocess

    code = (
        "import sys; from evals.data.prompts import *\n"
        "names_of(None, ClassPrompts(200, 'imagenet1k', wordnet='imagenet_a_wnids'))\n"
        "print({'torch', 'clip_benchmark'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_part_keeps_classes_and_prompts_and_is_another_content(tmp_path: Path) -> None:
    data = load(webdataset(tmp_path))
    part = subset_of(data, 10)
    kept = [data.images.ids.index(image) for image in part.images.ids]
    assert (kept, len(kept)) == (sorted(kept), 10)
    assert part.labels.tolist() == data.labels[kept].tolist()
    assert (part.classnames, part.texts) == (data.classnames, data.texts)
    other = LabeledImages(
        data.images, (data.labels + 1) % 5, data.classnames, data.texts, data.class_of_text, {}
    )
    assert len({content_hash(data), content_hash(part), content_hash(other)}) == 3


def test_counts_are_checked_and_classes_are_never_a_part(tmp_path: Path) -> None:
    data = load(webdataset(tmp_path))
    assert check_counts(data, images=48, classes=5, allow_subset=False, name="toy") is False
    assert check_counts(data, images=50, classes=5, allow_subset=True, name="toy") is True
    with pytest.raises(
        InvalidError,
        match=r"toy: 48 images and 5 classes, where the row declares 50 and 5.*--allow-subset",
    ):
        check_counts(data, images=50, classes=5, allow_subset=False, name="toy")
    with pytest.raises(InvalidError, match="Another number of classes is another benchmark"):
        check_counts(data, images=48, classes=6, allow_subset=True, name="toy")
