"""The front door: `import evals`, and every block of docs/from-python.md as it is written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evals
from evals.records.record import list_runs
from evals.schema import ConfigError, InvalidError, MissingError
from tests import records
from tests.toys import HashEncoder, image_text

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "from-python.md").read_text("utf-8"), re.DOTALL
)
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
NAMES = [
    "Comparison",
    "Encoder",
    "EvalError",
    "ImageText",
    "Run",
    "Side",
    "benchmarks",
    "compare",
    "evaluate",
    "image_text",
    "list_runs",
    "models",
    "read_run",
    "score",
    "text_pairs",
    "text_retrieval",
    "weights_hash",
]


class Pixels:
    """A model as a program has one: rows from the colour of an image, and from the colour that a text names."""

    def encode_text(self, texts):
        words = [[word for word in text.split() if word in COLOURS] for text in texts]
        return [COLOURS[colours[0]] if colours else (1, 1, 1) for colours in words]

    def encode_image(self, images):
        return np.array([np.asarray(image.convert("RGB"))[0, 0] for image in images], np.float64)


def squares(colours=("red", "green", "blue")):
    from PIL import Image

    images = [Image.new("RGB", (8, 8), tuple(255 * c for c in COLOURS[n])) for n in colours]
    return evals.image_text(images, [[f"a {name} square", f"{name}"] for name in colours])


def test_the_names_are_these_and_no_others():
    assert evals.__all__ == NAMES == [name for name in dir(evals) if name in evals.__all__]
    assert all(getattr(evals, name) is not None for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        evals.nothing  # noqa: B018


def test_a_command_of_the_same_name_does_not_hide_the_function():
    code = "import evals, evals.compare; from evals.compare import app; print(callable(evals.compare), app)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("True <typer"), done.stderr


def test_importing_loads_nothing_heavy_and_prints_nothing():
    code = "import sys, evals; evals.EvalError; print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "") and "torch" not in done.stdout


def test_the_blocks_of_the_docs_run_in_their_order(tmp_path):
    """In one fresh folder; every block stands by itself, beside the records that those before it left."""
    (tmp_path / "checkpoint").symlink_to(ROOT / "configs" / "tiny")
    (tmp_path / "blocks.json").write_text(json.dumps(BLOCKS))
    code = "import json; [exec(block, {}) for block in json.load(open('blocks.json'))]"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(BLOCKS) == 5 and [line.split()[0] for line in done.stdout.splitlines()] == [
        "0",
        "500",
        "1000",
    ]
    assert len(list_runs(tmp_path / "results" / "runs")) == 6


def listed(heading):
    """The columns that docs/from-python.md lists below the sentence that names a table."""
    page = (ROOT / "docs" / "from-python.md").read_text("utf-8")
    table = re.search(
        rf"^`{re.escape(heading)}` has one row.*?\n\n((?:\|.*\n)+)", page, re.MULTILINE
    )
    cells = [line.split("|")[1] for line in table[1].splitlines()[2:]]
    return {column for cell in cells for column in re.findall(r"`(\w+)`", cell)}


def test_the_docs_list_the_columns_of_every_table(tmp_path):
    places = {"results": tmp_path / "runs", "store": tmp_path / "store"}
    run = evals.evaluate(squares(), Pixels(), name="squares", weights="v1", dims=[3, 2], **places)
    tables = {
        "run.metrics()": run.metrics(),
        "run.queries()": run.queries(),
        "run.kept()": run.kept(),
        "comparison.table()": evals.compare(run, run, dims=(3, 2)).table(),
    }
    for heading, table in tables.items():
        assert listed(heading) == set(table.columns), heading


def test_an_object_is_measured_and_stored_under_its_weights(tmp_path):
    places = {"results": tmp_path / "runs", "store": tmp_path / "store"}
    run = evals.evaluate(squares(), Pixels(), name="squares", weights="v1", **places)
    assert run.value("t2i/R@1") == run.value("i2t/R@1") == 1.0
    assert (run.benchmark, run.model, run.manifest["encoded"]) == (
        "squares",
        "squares",
        {"image": 3, "text": 6},
    )
    again = evals.evaluate(squares(), Pixels(), name="squares", weights="v1", **places)
    other = evals.evaluate(
        squares(), Pixels(), name="squares", weights=lambda model: "v2", **places
    )
    assert again.manifest["encoded"] == {"image": 0, "text": 0}
    assert other.manifest["encoded"] == {"image": 3, "text": 6}


def test_an_object_that_leaves_out_an_item_is_refused(tmp_path):
    """All rows behind it would be those of their neighbours."""

    class Forgetful(Pixels):
        def encode_text(self, texts):
            return super().encode_text(texts[:1] + texts[2:])

    with pytest.raises(InvalidError, match=r"squares: gave rows of shape \(5, 3\) for 6 texts"):
        evals.evaluate(squares(), Forgetful(), name="squares", store=None, results=tmp_path)


def test_weights_are_asked_for_and_never_guessed(tmp_path):
    places = {"results": tmp_path / "runs", "store": tmp_path / "store"}
    with pytest.raises(ConfigError, match=r"Which weights has this Pixels\?"):
        evals.evaluate(squares(), Pixels(), **places)
    run = evals.evaluate(squares(), Pixels(), **{**places, "store": None})
    assert run.value("t2i/R@1") == 1.0 and not (tmp_path / "store").exists()


def test_a_model_in_training_is_evaluated_and_goes_on_training(tmp_path):
    import torch

    class Noisy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = torch.nn.Dropout(0.9)
            self.frozen = torch.nn.BatchNorm1d(3)

        def encode(self, items):
            rows = [[len(str(item)), 1.0, 2.0] for item in items]
            return self.dropout(torch.tensor(rows))

    model = Noisy().train()
    model.frozen.eval()  # as towers are that somebody does not train
    kwargs = {"results": tmp_path / "runs", "store": None}
    runs = [evals.evaluate(squares(), model, **kwargs) for _ in range(2)]
    assert model.training and model.dropout.training and not model.frozen.training
    assert runs[0].record.metrics == runs[1].record.metrics


def test_tables_hold_what_the_record_holds(tmp_path):
    run = evals.evaluate(
        image_text([0, 0, 1, 2]),
        HashEncoder(),
        dims=[8, 4],
        name="toy",
        results=tmp_path,
        store=tmp_path / "s",
    )
    frame = run.metrics()
    assert len(frame) == len(run.record.metrics) and set(frame.dim) == {8, 4}
    row = frame[(frame.direction == "t2i") & (frame.metric == "R@1") & (frame.dim == 4)]
    assert row.value.item() == run.value("t2i/R@1", dim=4)
    queries = run.queries()
    hits = queries[(queries.direction == "t2i") & (queries.dim == 8)].better == 0
    assert hits.mean() == pytest.approx(run.value("t2i/R@1"))
    assert [found.path for found in evals.list_runs(tmp_path, model="toy")] == [run.path]


def test_what_is_kept_is_a_share_of_the_full_width_with_the_interval_of_a_sweep(tmp_path):
    data = image_text([i // 2 for i in range(60)])
    run = evals.evaluate(
        data,
        HashEncoder(),
        dims=[8, 2],
        name="toy",
        results=tmp_path / "runs",
        store=tmp_path / "store",
    )
    kept = run.kept().set_index(["direction", "dim", "metric"])
    full, cut = (kept.loc["t2i", dim, "R@5"] for dim in (8, 2))
    assert cut.kept == pytest.approx(run.value("t2i/R@5", dim=2) / run.value("t2i/R@5", dim=8))
    assert cut.kept_low < cut.kept < cut.kept_high and (full.bytes, cut.bytes) == (32, 8)
    assert full.kept == 1 and np.isnan(full.kept_low)  # of itself all is kept, whatever is drawn


def test_a_value_that_is_not_one_number_is_refused_with_what_there_is(tmp_path):
    run = evals.evaluate(image_text([0, 1]), HashEncoder(), results=tmp_path, store=None)
    with pytest.raises(
        ConfigError,
        match=r"no 't2i/R@7' at 8 dimensions in float32\. It has.*t2i/R@1.*the subsets all",
    ):
        run.value("t2i/R@7")
    with pytest.raises(ConfigError, match=r"no 't2i/R@1' of subset 'de' at 4 dimensions"):
        run.value("t2i/R@1", subset="de", dim=4)


def test_a_value_of_several_subsets_is_to_be_named_with_one(tmp_path):
    lines = [records.line(value=0.5, subset=name) for name in ("en", "de")]
    path = records.write(tmp_path, lines, records.queries(), subsets=("en", "de"))
    says = r"t2i/R@1 has a value per subset\. Name one, such as subset='en'; there is en, de\.$"
    with pytest.raises(ConfigError, match=says):
        evals.read_run(path).value("t2i/R@1")


def test_a_comparison_is_that_of_the_command(tmp_path):
    run = evals.evaluate(
        image_text([0, 0, 1, 2]), HashEncoder(), dims=[8, 1], results=tmp_path, store=None
    )
    comparison = evals.compare(run, run, dims=(8, 1), metrics=["R@1"])
    change = comparison.changes[0]
    assert (change.a, change.b) == (run.value("t2i/R@1"), run.value("t2i/R@1", dim=1))
    table = comparison.table()
    assert list(table.difference) == [change.difference.value for change in comparison.changes]


def test_a_comparison_shows_itself_as_the_sentence_of_the_command(tmp_path):
    run = evals.evaluate(
        image_text([0, 0, 1, 2]), HashEncoder(), dims=[8, 1], results=tmp_path, store=None
    )
    comparison = evals.compare(run, run, dims=(8, 1))
    sentence, rows = repr(comparison).splitlines()
    assert sentence == comparison.sentence and "on 3 images of " in sentence
    assert rows == f"({len(comparison.changes)} changes, with intervals and p, in .table())"
    command = [sys.executable, "-m", "evals.compare", str(run.path), f"{run.path}@1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["finding"]["sentence"] == sentence


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_are_there_score_as_numpy_counts(tmp_path, seed):
    rng = np.random.default_rng(seed)
    images, image_of_text = rng.standard_normal((30, 12)), np.repeat(np.arange(30), 2)
    texts = images[image_of_text] + 1.5 * rng.standard_normal((60, 12))
    run = evals.score(images, texts, image_of_text, dims=[12, 5], results=tmp_path)
    for dim in (12, 5):
        x, y = (
            rows[:, :dim] / np.linalg.norm(rows[:, :dim], axis=1, keepdims=True)
            for rows in (texts, images)
        )
        scores = x @ y.T
        better = (scores > scores[np.arange(60), image_of_text][:, None]).sum(axis=1)
        assert run.value("t2i/R@5", dim=dim) == pytest.approx((better < 5).mean())


@pytest.mark.parametrize(
    ("images", "captions", "message"),
    [
        (["a.png"], [], "1 images, 0 captions"),
        ([], [], "There are no images"),
        ([3], ["a"], "image 0: is int"),
        (["nowhere.png"], ["a photo"], "no such image file"),
        (["nowhere.png"], [[]], "has no caption"),
        (["nowhere.png"], [" "], "is empty"),
    ],
)
def test_data_that_cannot_be_meant_is_refused(images, captions, message):
    with pytest.raises((InvalidError, MissingError), match=message):
        evals.image_text(images, captions)


def test_settings_and_objects_that_mean_nothing_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no setting 'limits'"):
        evals.evaluate("scenes", "tiny", limits=3, results=tmp_path)
    with pytest.raises(ConfigError, match="neither encode_text nor encode"):
        evals.evaluate(squares(), object(), store=None, results=tmp_path)
    with pytest.raises(ConfigError, match="No benchmark 'scene'"):
        evals.evaluate("scene", "tiny", results=tmp_path)
    with pytest.raises(InvalidError, match="every one of the 3 images"):
        evals.score(np.eye(3), np.eye(3), [0, 1, 1], results=tmp_path)


def test_without_pandas_a_table_says_what_it_needs(tmp_path, monkeypatch):
    run = evals.evaluate(image_text([0, 1]), HashEncoder(), results=tmp_path, store=None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingError, match=r"jina-clip-evals\[pandas\]"):
        run.metrics()
