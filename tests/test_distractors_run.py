"""A run with distractors: its own numbers stay, and its curves are those of galleries with them."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evals.config.catalog import Benchmark
from evals.config.choice import choose
from evals.dashboard.history import read_history
from evals.dashboard.site import Verdicts, build
from evals.evaluation.distractors import (
    Distractors,
    captions_joining,
    check_distractors,
    images_joining,
    read_distractors,
)
from evals.evaluation.evaluate import evaluate
from evals.evaluation.load import Parts
from evals.evaluation.outcome import Outcome
from evals.ranking.metrics import hit_at
from evals.ranking.ranks import ranks
from evals.ranking.relevance import Relevant
from evals.records.curves import read_curves
from evals.records.record import read_run
from evals.schema import ConfigError, EvalError, ImageText, InvalidError
from evals.settings import Settings
from evals.stats.bootstrap import Interval
from evals.tasks.scores import Value
from evals.views.gallery_curve import as_csv, as_markdown, rows_of
from tests.commands import run
from tests.test_dashboard import Page
from tests.toys import HashEncoder, image_text, text_side

ROW = Benchmark(
    name="toys", title="Toys", data="toys", subsets=("en",), split="test", task="image_text",
    images=6, texts=12,
)  # fmt: skip
OWN = image_text([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])


def others(n: int, shared: int = 0) -> ImageText:
    """`n` images with a caption each, after `shared` that the benchmark has with other captions."""
    return image_text_from([*range(shared), *range(100, 100 + n)])


def image_text_from(numbers: list[int]) -> ImageText:
    data = image_text(list(range(max(numbers) + 1)))
    texts = image_text(list(range(1000 + max(numbers) + 1))).texts
    return ImageText(
        data.images.select(numbers),
        texts.select([1000 + number for number in numbers]),
        np.arange(len(numbers)),
        {"layout": "toy"},
    )


def source(data: ImageText) -> Distractors:
    return Distractors("captions:toys", (data.images,), {"en": data}, origin={"layout": "toy"})


def measured(tmp_path: Path, distractors: Distractors | None, *, dims=(8,)) -> Outcome:
    settings = Settings(results=tmp_path / "runs", store=tmp_path / "store")
    parts = Parts({"en": OWN}, None)
    return evaluate(ROW, parts, HashEncoder(), dims, settings, distractors=distractors)


def points(outcome: Outcome, direction: str, metric: str, dim: int = 8) -> dict[int, float]:
    lines = read_curves(read_run(outcome.path))
    return {
        line.n_gallery: line.value
        for line in lines
        if (line.direction, line.name, line.dim) == (direction, metric, dim)
    }


def test_the_ends_of_a_curve_are_the_benchmark_and_the_gallery_of_all(tmp_path: Path) -> None:
    data = others(30)
    outcome = measured(tmp_path, source(data))
    encoder = HashEncoder()
    rows = {
        kind: encoder.encode(side)
        for kind, side in (("own images", OWN.images), ("own texts", OWN.texts))
    }
    gallery = np.concatenate([rows["own images"], encoder.encode(data.images)])
    unit = [
        array / np.linalg.norm(array, axis=1)[:, None] for array in (rows["own texts"], gallery)
    ]
    together = ranks(*unit, Relevant.single(OWN.image_of_text))
    for k in (1, 5, 10):
        curve = points(outcome, "t2i", f"R@{k}")
        (alone,) = [
            score.values[f"R@{k}"].value
            for score in outcome.scores["en"]
            if score.direction == "t2i"
        ]
        assert list(curve) == [6, 10, 20, 36]
        assert curve[6] == alone
        assert curve[36] == pytest.approx(hit_at(together, k).mean(), abs=1e-15)
        assert alone >= curve[10] >= curve[20] >= curve[36]


def test_the_first_point_has_the_interval_of_the_benchmark(tmp_path: Path) -> None:
    outcome = measured(tmp_path, source(others(30)), dims=(8, 4))
    for line in read_curves(read_run(outcome.path)):
        if line.n_distractors:
            continue
        (value,) = [
            score.values[line.name]
            for score in outcome.scores["en"]
            if (score.direction, score.dim) == (line.direction, line.dim)
        ]
        assert value == Value(line.value, Interval(line.ci_low, line.ci_high))


def test_the_scores_of_a_record_are_those_without_distractors(tmp_path: Path) -> None:
    without, beside = measured(tmp_path, None), measured(tmp_path, source(others(9)))
    for name in ("metrics.jsonl", "queries.parquet"):
        assert (without.path / name).read_bytes() == (beside.path / name).read_bytes()
    assert "distractors" not in read_run(without.path).manifest.raw
    assert read_curves(read_run(without.path)) == []
    assert {path.name for path in beside.path.iterdir()} - {
        path.name for path in without.path.iterdir()
    } == {"distractors.jsonl", "distractors.parquet"}


def test_what_the_benchmark_has_is_taken_out_with_its_captions_and_counted(tmp_path: Path) -> None:
    data = others(4, shared=3)
    outcome = measured(tmp_path, source(data))
    counts = read_run(outcome.path).manifest.raw["distractors"]["counts"]["en"]
    assert counts["image"] == {"distractors": 4, "in_benchmark": 3, "repeated": 0}
    # the captions of these three images are not those of the benchmark, and yet may be right
    assert counts["text"] == {"distractors": 4, "in_benchmark": 3, "repeated": 0}
    assert max(points(outcome, "t2i", "R@1")) == 6 + 4
    assert max(points(outcome, "i2t", "R@1")) == 12 + 4


def test_equal_captions_and_images_of_a_source_join_once() -> None:
    data = image_text_from([7, 7, 8])
    joining = images_joining(source(data), set())
    assert joining is not None and joining.counts["repeated"] == 1
    captions = captions_joining(source(data), "en", OWN, set())
    assert captions is not None
    assert captions.counts == {"distractors": 2, "in_benchmark": 0, "repeated": 1}


def test_a_caption_that_the_benchmark_has_is_none_of_the_distractors() -> None:
    data = others(3)
    same = ImageText(data.images, OWN.texts.select([0, 1, 2]), np.arange(3), {})
    captions = captions_joining(source(same), "en", OWN, set())
    assert captions is not None and captions.counts["in_benchmark"] == 3


def test_each_query_has_its_two_counts_in_the_record(tmp_path: Path) -> None:
    outcome = measured(tmp_path, source(others(30)))
    counts = pq.read_table(outcome.path / "distractors.parquet").to_pylist()
    queries = pq.read_table(outcome.path / "queries.parquet").to_pylist()
    assert [row["query_id"] for row in counts] == [row["query_id"] for row in queries]
    hits = [q["better"] + c["better"] == 0 for q, c in zip(queries, counts, strict=True)]
    assert np.mean(hits[:12]) == points(outcome, "t2i", "R@1")[36]


def test_a_language_without_captions_is_refused() -> None:
    german, french = others(2), others(3)
    distractors = Distractors("xm3600", (), {"de": german, "fr": french})
    with pytest.raises(ConfigError, match="has captions in de, fr, and none in en"):
        captions_joining(distractors, "en", OWN, set())
    assert distractors.captions_for("de") is german
    assert source(french).captions_for("ja") is french


def test_rows_of_another_width_are_refused(tmp_path: Path) -> None:
    rows = np.ones((3, 5), np.float32)
    with pytest.raises(ConfigError, match="images have 5 values, and those of toy 8"):
        measured(tmp_path, Distractors("embeddings:a.npy", rows={"image": rows}))


def test_a_curve_is_shown_in_markdown_and_csv(tmp_path: Path) -> None:
    outcome = measured(tmp_path, source(others(30)))
    markdown, lines = as_markdown(outcome), as_csv(outcome).decode().splitlines()
    assert "# Toys with distractors · toy" in markdown
    rows = rows_of(read_curves(read_run(outcome.path)))
    assert markdown.count("\n| en |") == len(rows)
    assert len(lines) == 1 + 3 * len(rows)


def test_the_page_of_a_run_has_its_curve_and_no_other_page_has_one(tmp_path: Path) -> None:
    outcome = measured(tmp_path, source(others(30)))
    measured(tmp_path, None)
    build(read_history(tmp_path / "runs"), Verdicts(), tmp_path / "site")
    pages = {path.name: Page(path) for path in (tmp_path / "site" / "runs").glob("*.html")}
    [(name, page)] = [
        (name, page)
        for name, page in pages.items()
        if any(table["id"] == "gallery" for table in page.data["tables"])
    ]
    assert outcome.path.name in name and len(pages) == 2
    lines = read_curves(read_run(outcome.path))
    assert [row["value"] for row in page.rows("gallery")] == [line.value for line in lines]
    assert [row["low"] for row in page.rows("gallery")] == [line.ci_low for line in lines]


def jpeg(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (9, 7), (60 * shade, 3, 200)).save(out, "JPEG")
    return out.getvalue()


def tar_of(path: Path, shades: list[int]) -> None:
    with tarfile.open(path, "w") as tar:
        for shade in shades:
            for name, body in ((f"{shade}.jpg", jpeg(shade)), (f"{shade}.json", b"{}")):
                member = tarfile.TarInfo(name)
                member.size = len(body)
                tar.addfile(member, io.BytesIO(body))


def write_source(layout: str, root: Path) -> str:
    """The same four images, and what to write on the command line."""
    root.mkdir()
    if layout == "folder":
        (root / "below").mkdir()
        for shade in range(4):
            (root / "below" / f"{shade}.jpg").write_bytes(jpeg(shade))
        return f"images:{root}"
    if layout in ("tars", "webdataset glob"):
        tar_of(root / "0.tar", [0, 1])
        tar_of(root / "1.tar", [2, 3])
        return f"images:{root}" if layout == "tars" else f"images:{root}/{{0..1}}.tar"
    if layout == "parquet glob":
        for part, shades in enumerate(([0, 1], [2, 3])):
            cells = [{"bytes": jpeg(shade), "path": None} for shade in shades]
            pq.write_table(pa.table({"image": cells}), root / f"part-{part}.parquet")
        return f"images:{root}/*.parquet"
    if layout == "labels":
        for shade in range(4):
            (root / f"class{shade % 2}").mkdir(exist_ok=True)
            (root / f"class{shade % 2}" / f"{shade}.jpg").write_bytes(jpeg(shade))
        return f"labels:{root}"
    assert layout == "captions"
    (root / "images").mkdir()
    entries = []
    for shade in range(4):
        (root / "images" / f"{shade}.jpg").write_bytes(jpeg(shade))
        entries.append(json.dumps({"image": f"{shade}.jpg", "captions": [f"shade {shade}"]}))
    (root / "captions.jsonl").write_text("\n".join(entries) + "\n")
    return f"captions:{root}"


@pytest.mark.parametrize(
    "layout", ["folder", "tars", "webdataset glob", "parquet glob", "labels", "captions"]
)
def test_every_source_gives_the_same_images(layout: str, tmp_path: Path) -> None:
    written = write_source(layout, tmp_path / "source")
    check_distractors(written, [])
    distractors = read_distractors(written)
    expected = read_distractors(write_source("folder", tmp_path / "folder"))
    hashes = [content for side in distractors.images for content in side.hashes]
    assert sorted(hashes) == sorted(expected.images[0].hashes)
    assert all(side.items[0].size == (9, 7) for side in distractors.images)
    assert bool(distractors.captioned) == (layout == "captions")


def test_a_folder_that_is_called_as_a_benchmark_is_a_source_like_any_other(tmp_path: Path) -> None:
    written = write_source("captions", tmp_path / "flickr8k")
    check_distractors(written, [])
    assert len(read_distractors(written).images[0]) == 4


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("empty", "no images, no .tar and no .parquet in it"),
        ("mixed", "stands for files of .parquet, .tar"),
        ("no images", "no images in it. Leave it out"),
        ("nowhere", "no such file or folder"),
    ],
)
def test_a_place_without_images_is_refused(layout: str, message: str, tmp_path: Path) -> None:
    place = tmp_path / "source"
    if layout != "nowhere":
        place.mkdir()
    if layout == "mixed":
        tar_of(place / "0.tar", [0])
        pq.write_table(pa.table({"image": [b"x"]}), place / "a.parquet")
    if layout == "no images":
        tar_of(place / "0.tar", [])
    with pytest.raises(EvalError, match=message):
        read_distractors(f"images:{place}")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("images:", "says no place. Write images:PLACE"),
        ("embeddings", "says no place"),
        ("beir:texts", "has no images"),
        ("mteb:STSBenchmark", "is no row of"),
        ("flickr9k", "No benchmark 'flickr9k'"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused_before_anything_is_read(
    written: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_distractors(written, [])


@pytest.mark.parametrize("name", ["vtab-cifar10", "mteb:STSBenchmark", "beir:texts"])
def test_tasks_without_captioned_images_take_no_distractors(name: str) -> None:
    with pytest.raises(ConfigError, match="is another task"):
        check_distractors("scenes", choose([name]).work)


def test_rows_of_a_file_join_the_gallery_of_the_texts(tmp_path: Path) -> None:
    rows = HashEncoder().encode(others(30).images)
    np.save(tmp_path / "crawl.npy", rows.astype(np.float64))
    finished = measured(tmp_path, read_distractors(f"embeddings:{tmp_path}/crawl.npy"))
    encoded = measured(tmp_path, source(others(30)))
    assert points(finished, "t2i", "R@5") == points(encoded, "t2i", "R@5")
    assert points(finished, "i2t", "R@5") == {}


class WatchedRows(np.ndarray):
    """Rows that count how often a block of them was read."""

    readings = 0

    def __getitem__(self, key):
        type(self).readings += isinstance(key, slice)
        return super().__getitem__(key)


@pytest.mark.parametrize(("memory", "readings"), [(2**30, 1), (1, 36)])
def test_distractors_are_read_once_for_all_languages_that_fit(
    memory: int, readings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WatchedRows, "readings", 0)
    rows = HashEncoder().encode(others(30).images)
    distractors = Distractors("embeddings:x", rows={"image": rows.view(WatchedRows)})
    captions = {
        name: replace(OWN, texts=text_side([f"{name} {number}" for number in range(12)]))
        for name in ("de", "en", "fr")
    }
    settings = Settings(results=tmp_path / "runs", store=tmp_path / "store")
    together = evaluate(
        ROW,
        Parts(captions, None),
        HashEncoder(),
        (8, 4),
        settings,
        distractors=distractors,
        memory=memory,
    )
    assert WatchedRows.readings == readings  # one for each query where none fits
    for name, data in captions.items():
        alone = evaluate(
            ROW, Parts({name: data}, None), HashEncoder(), (8, 4), settings, distractors=distractors
        )
        lines = [line for line in read_curves(read_run(together.path)) if line.subset == name]
        assert lines == read_curves(read_run(alone.path)) != []


def test_rows_of_a_table_join_the_gallery_of_their_kind_and_without_one_are_refused(
    tmp_path: Path,
) -> None:
    crawl = others(30)
    columns = {
        "id": [*crawl.images.ids, *crawl.texts.ids],
        "embedding": [
            row.tolist()
            for side in (crawl.images, crawl.texts)
            for row in HashEncoder().encode(side)
        ],
    }
    kinds = ["image"] * len(crawl.images) + ["text"] * len(crawl.texts)
    pq.write_table(pa.table(columns | {"kind": kinds}), tmp_path / "rows.parquet")
    pq.write_table(pa.table(columns), tmp_path / "unnamed.parquet")
    named = read_distractors(f"embeddings:{tmp_path}/rows.parquet").rows
    assert {kind: len(rows) for kind, rows in named.items()} == {
        "image": len(crawl.images),
        "text": len(crawl.texts),
    }
    with pytest.raises(InvalidError, match="has no column `kind`"):
        read_distractors(f"embeddings:{tmp_path}/unnamed.parquet")


def test_the_command_shows_the_curve_and_writes_its_files(checkpoint: Path, tmp_path: Path) -> None:
    written = write_source("captions", tmp_path / "source")
    options = ("scenes", "--model", checkpoint, "--subsets", "en", "--limit", 5)
    done = run(*options, "--distractors", written, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 images as distractors; left out: 0 of the benchmark" in done.stderr
    for piece in ("with distractors", "gallery", "distractors-en.png", "distractors.md"):
        assert piece in done.stdout
    machine = run(*options, "--distractors", written, "--json", cwd=tmp_path)
    output = json.loads(machine.stdout)
    (result,) = output["runs"]
    assert {line["n_distractors"] for line in result["distractors"]} == {0, 4}
    assert all((tmp_path / path).is_file() for path in output["written"])
    assert read_run(tmp_path / result["path"]).manifest.files.keys() >= {"distractors.jsonl"}
