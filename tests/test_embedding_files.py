"""Embeddings of another program, found by ids: the same numbers as those of the model that made them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evals.encoders.embedding_files import embedding_file
from evals.records.record import list_runs, read_run
from evals.schema import EvalError, InvalidError, MissingError, Side
from tests.commands import run as command

IMAGES, TEXTS = ["i0", "i1"], ["t0", "t1", "t2"]
ROWS = {
    "image": np.array([[1, 0], [0, 1]], np.float32),
    "text": np.array([[1, 2], [3, 4], [5, 6]], np.float32),
}


def write(path, kind: str, *, images=IMAGES, rows=ROWS):
    """The rows in one of the layouts; the folder or file."""
    ids = {"image": images, "text": TEXTS}
    if kind == "parquet":
        table = {
            "id": [*images, *TEXTS],
            "kind": ["image"] * len(images) + ["text"] * 3,
            "embedding": [row.tolist() for name in ids for row in rows[name]],
        }
        path = path / "rows.parquet"
        pq.write_table(pa.table(table), path)
    elif kind == "npz":
        path = path / "rows.npz"
        ids_of_rows = {"image_ids": np.array(images), "text_ids": np.array(TEXTS)}
        np.savez(path, images=rows["image"], texts=rows["text"], **ids_of_rows)
    elif kind == "safetensors":
        from safetensors.numpy import save_file

        path = path / "rows.safetensors"
        metadata = {"image_ids": json.dumps(images), "text_ids": json.dumps(TEXTS)}
        save_file({"images": rows["image"], "texts": rows["text"]}, path, metadata)
    else:
        path = path / "rows"
        path.mkdir()
        for name, names in ids.items():
            np.save(path / f"{name}s.npy", rows[name])
            (path / f"{name}s.txt").write_text("\n".join(names) + "\n")
    return path


LAYOUTS = ["parquet", "npz", "safetensors", "folder"]


def side(kind: str, ids: list[str]) -> Side:
    return Side(kind, ids, ids, [f"content of {item}" for item in ids])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_rows_of_the_ids_in_their_order(layout, tmp_path):
    encoder = embedding_file("mine", str(write(tmp_path, layout)))
    assert encoder.dim == 2
    assert encoder.encode(side("text", ["t2", "t0"])).tolist() == [[5, 6], [1, 2]]
    assert encoder.encode(side("image", ["i1"])).tolist() == [[0, 1]]


def test_the_layouts_have_one_identity(tmp_path):
    encoders = [embedding_file("mine", str(write(tmp_path, layout))) for layout in LAYOUTS]
    assert len({encoder.fingerprint["weights"] for encoder in encoders}) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"images": ["i0", "i0"]}, "'i0' is the id of rows 0 and 1"),
        ({"rows": ROWS | {"image": np.array([[1, np.nan], [0, 1]], np.float32)}}, "NaN"),
        ({"rows": ROWS | {"image": np.array([[1e300, 0], [0, 1]])}}, "infinity"),
    ],
)
def test_what_no_layout_may_hold(layout, fault, message, tmp_path):
    with pytest.raises(InvalidError, match=message):
        embedding_file("mine", str(write(tmp_path, layout, **fault)))


def test_an_item_without_a_row_is_named_with_the_way_to_the_ids(tmp_path):
    encoder = embedding_file("mine", str(write(tmp_path, "npz")))
    with pytest.raises(InvalidError, match=r"1 of 2 images have no row: 'i9'.*evals\.items"):
        encoder.encode(side("image", ["i0", "i9"]))


def test_equal_items_need_equal_rows(tmp_path):
    encoder = embedding_file("mine", str(write(tmp_path, "npz")))
    twins = Side("text", ["a", "a"], ["t0", "t1"], ["same", "same"])
    with pytest.raises(InvalidError, match="'t0' and 't1' are equal"):
        encoder.check(twins)
    encoder.check(side("text", TEXTS))


def broken_files(folder):
    """A file per way in which one can be broken, and what is to be said of it."""
    (folder / "a.pickle").write_bytes(b"")
    yield folder / "a.pickle", "embeddings are read from"
    np.savez(folder / "objects.npz", images=np.array([{}], dtype=object))
    yield folder / "objects.npz", "without pickled objects"
    np.savez(folder / "numbers.npz", images=ROWS["image"], image_ids=np.array([1, 2]))
    yield folder / "numbers.npz", "is no text"
    np.savez(folder / "short.npz", images=ROWS["image"], image_ids=np.array(["a"]))
    yield folder / "short.npz", "2 rows and 1 ids"
    np.savez(folder / "nothing.npz", x=ROWS["image"])
    yield folder / "nothing.npz", "holds no rows"
    np.savez(folder / "flat.npz", images=np.zeros(2, np.float32), image_ids=np.array(["a", "b"]))
    yield folder / "flat.npz", "of shape"
    (folder / "torn.parquet").write_bytes(b"PAR1")
    yield folder / "torn.parquet", "no readable Parquet"
    (folder / "torn.safetensors").write_bytes(b"12345678{")
    yield folder / "torn.safetensors", "no readable safetensors"
    ragged = pa.table({"id": ["a", "b"], "embedding": [[1.0], [1.0, 2.0, 3.0]]})
    pq.write_table(ragged, folder / "ragged.parquet")
    yield folder / "ragged.parquet", "differ in length"
    pq.write_table(pa.table({"id": ["a"], "vector": [[1.0]]}), folder / "named.parquet")
    yield folder / "named.parquet", "no column embedding; it has id, vector"
    pq.write_table(pa.table({"id": ["a"], "embedding": ["x"]}), folder / "text.parquet")
    yield folder / "text.parquet", "not lists of floats"
    (folder / "alone").mkdir()
    np.save(folder / "alone" / "images.npy", ROWS["image"])
    yield folder / "alone", r"images\.txt: missing"


def test_a_file_that_is_broken_is_named_with_what_is_wrong(tmp_path):
    for path, message in broken_files(tmp_path):
        with pytest.raises(EvalError, match=message) as error:
            embedding_file("mine", str(path))
        assert str(path) in str(error.value)
    with pytest.raises(MissingError, match="no such file"):
        embedding_file("mine", str(tmp_path / "nowhere.npz"))


def test_rows_made_elsewhere_score_as_the_model_that_made_them(tmp_path):
    """What a user does: list the items, embed them with a program of one's own, measure."""
    from io import BytesIO

    from PIL import Image

    from jina_clip import JinaCLIP
    from tests.commands import ROOT

    part = ("scenes", "--subsets", "en")
    done = command(*part, "--to", "items.parquet", cwd=tmp_path, module="evals.items")
    assert done.returncode == 0, done.stderr
    assert "1,500 items" in done.stdout
    items = pq.read_table(tmp_path / "items.parquet").to_pylist()
    texts = [item for item in items if item["kind"] == "text"]
    images = [item for item in items if item["kind"] == "image"]
    model = JinaCLIP.from_pretrained(ROOT / "configs/tiny")
    rows = {
        "images": model.encode_image(
            [Image.open(BytesIO(item["image"])) for item in images], normalize_embeddings=False
        ),
        "image_ids": np.array([item["id"] for item in images]),
        "texts": model.encode_text([item["text"] for item in texts], normalize_embeddings=False),
        "text_ids": np.array([item["id"] for item in texts]),
    }
    np.savez(tmp_path / "rows.npz", **rows)
    for spec in ("tiny", "mine=embeddings:rows.npz"):
        done = command(*part, "--model", spec, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    runs = [read_run(path) for path in list_runs(tmp_path / "results/runs")]
    (mine,) = [run for run in runs if run.manifest.model == "mine"]
    (tiny,) = [run for run in runs if run.manifest.model == "tiny"]
    assert mine.metrics == tiny.metrics
    assert mine.manifest.encoder.source == {"spec": "embeddings:rows.npz"}
