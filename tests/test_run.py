"""Whole evaluations by the commands a user types: results, resumption after kill -9, bad input and its exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evals.config.catalog import Benchmark
from evals.evaluation.evaluate import evaluate
from evals.evaluation.load import Parts
from evals.progress import Silent
from evals.records.record import read_run
from evals.schema import InvalidError, MissingError
from evals.settings import Settings
from tests.commands import PATIENCE, process, run, until
from tests.conftest import small_model
from tests.hub import use
from tests.toys import HashEncoder, image_text

ROOT = Path(__file__).parents[1]
TOY = Benchmark(
    name="toy",
    title="Toy",
    task="image_text",
    data="toy",
    subsets=("en",),
    split="test",
    images=20,
    texts=100,
)


def photographs(folder: Path, n: int = 12, captions: int = 2) -> Path:
    """A captions.jsonl with small JPEGs of noise."""
    (folder / "images").mkdir(parents=True)
    words = "a the cat dog sits runs on under red blue".split()
    rng = np.random.default_rng(0)
    lines = []
    for i in range(n):
        noise = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{i}.jpg")
        texts = [" ".join(rng.choice(words, 6)) for _ in range(captions)]
        lines.append(json.dumps({"image": f"{i}.jpg", "captions": texts}))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def data(tmp_path):
    return photographs(tmp_path / "photographs")


def metrics(output: str) -> list[dict]:
    (only,) = json.loads(output)["runs"]
    return only["metrics"]


def test_an_evaluation_writes_what_it_prints(data, checkpoint, tmp_path):
    done = run(
        "flickr8k", "--model", checkpoint, "--data", data, "--allow-subset", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["runs"]
    folder = tmp_path / result["path"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "SHA256SUMS",
        "manifest.json",
        "metrics.jsonl",
        "queries.parquet",
    ]
    assert [
        json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()
    ] == result["metrics"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["benchmark"], manifest["partial"]) == (
        "flickr8k.partial",
        {"allow_subset": True},
    )
    assert manifest["encoded"] == {"image": 12, "text": 24}
    assert manifest["data"]["en"]["images"] == 12
    names = {(m["direction"], m["metric"], m["k"]) for m in result["metrics"]}
    assert {(d, "R", k) for d in ("t2i", "i2t") for k in (1, 5, 10)} <= names
    for m in result["metrics"]:
        if m["metric"] == "R":
            assert 0 <= m["ci_low"] <= m["value"] <= m["ci_high"] <= 1
    queries = pq.read_table(folder / "queries.parquet").to_pylist()
    assert len(queries) == 12 + 24
    t2i_at_1 = next(
        m["value"]
        for m in result["metrics"]
        if (m["direction"], m["metric"], m["k"]) == ("t2i", "R", 1)
    )
    hits = [q["better"] == 0 for q in queries if q["direction"] == "t2i"]
    assert t2i_at_1 == pytest.approx(np.mean(hits))


def test_a_person_gets_a_table_and_the_paths(data, checkpoint, tmp_path):
    done = run("flickr8k", "--model", checkpoint, "--data", data, "--allow-subset", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for piece in (
        "Flickr8k",
        "partial",
        "R@1",
        "R@10",
        "t2i",
        "i2t",
        "12/24",
        "record: results/runs/",
    ):
        assert piece in done.stdout


def test_a_terminal_without_unicode_still_gets_its_table(data, checkpoint, tmp_path):
    options = ("flickr8k", "--model", checkpoint, "--data", data, "--allow-subset")
    done = process(*options, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "Flickr8k ? small-v2" in done.stdout and "record: " in done.stdout


def test_a_second_run_encodes_nothing_and_gives_the_same(data, checkpoint, tmp_path):
    arguments = ("flickr8k", "--model", checkpoint, "--data", data, "--allow-subset", "--json")
    first, second = run(*arguments, cwd=tmp_path), run(*arguments, cwd=tmp_path)
    assert json.loads(second.stdout)["runs"][0]["encoded"] == {"image": 0, "text": 0}
    assert metrics(first.stdout) == metrics(second.stdout)


def test_several_benchmarks_and_models_at_once(data, checkpoint, checkpoint_v1, tmp_path):
    models = ("--model", checkpoint, "--model", checkpoint_v1)
    done = run(
        "flickr8k", "flickr", *models, "--data", data, "--allow-subset", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    assert [(r["benchmark"], r["model"]) for r in runs] == [
        ("flickr8k.partial", "small-v2"),
        ("flickr.partial", "small-v2"),
        ("flickr8k.partial", "small-v1"),
        ("flickr.partial", "small-v1"),
    ]
    assert [r["encoded"]["image"] for r in runs] == [
        12,
        0,
        12,
        0,
    ]  # the same photographs under another name


def test_limit_takes_images_with_all_their_captions(data, checkpoint, tmp_path):
    limited = (
        "flickr8k",
        "--model",
        checkpoint,
        "--data",
        data,
        "--allow-subset",
        "--limit",
        5,
        "--json",
    )
    done = run(*limited, cwd=tmp_path)
    assert {(m["direction"], m["n_queries"], m["n_gallery"]) for m in metrics(done.stdout)} == {
        ("t2i", 10, 5),
        ("i2t", 5, 10),
    }
    assert json.loads(done.stdout)["runs"][0]["partial"] == {
        "allow_subset": True,
        "limit": 5,
        "seed": 0,
    }


def test_some_of_the_languages_are_a_partial_run(checkpoint, tmp_path):
    done = run(
        "scenes", "--model", checkpoint, "--subsets", "en", "--limit", 20, "--json", cwd=tmp_path
    )
    assert json.loads(done.stdout)["runs"][0]["partial"] == {
        "subsets": ["en"],
        "limit": 20,
        "seed": 0,
    }


def test_a_sweep_scores_every_dimension_from_one_encode(data, checkpoint, tmp_path):
    plain = run(
        "flickr8k", "--model", checkpoint, "--data", data, "--allow-subset", "--json", cwd=tmp_path
    )
    options = (
        "--benchmarks",
        "flickr8k",
        "--model",
        checkpoint,
        "--data",
        data,
        "--allow-subset",
        "--dims",
        "8,16",
    )
    swept = run(*options, "--json", cwd=tmp_path, module="evals.mrl_sweep")
    assert swept.returncode == 0, swept.stderr
    assert json.loads(swept.stdout)["runs"][0]["encoded"] == {"image": 0, "text": 0}
    assert [m for m in metrics(swept.stdout) if m["dim"] == 32] == metrics(plain.stdout)
    assert {m["dim"] for m in metrics(swept.stdout)} == {8, 16, 32}
    told = json.loads(swept.stdout)["sweep"]
    full = next(p for p in told if (p["dim"], p["direction"], p["metric"]) == (32, "t2i", "R@5"))
    short = next(p for p in told if (p["dim"], p["direction"], p["metric"]) == (8, "t2i", "R@5"))
    assert short["kept"] == short["value"] / full["value"] and short["bytes"] == 32
    quantised = (
        "--precisions",
        "int8,binary",
        "--rescore",
        "10",
        "--figures",
        "figures",
        "--csv",
        "out/sweep.csv",
    )
    table = run(*options, *quantised, cwd=tmp_path, module="evals.mrl_sweep")
    assert table.returncode == 0, table.stderr
    for piece in (
        "R@1",
        "kept",
        "bytes",
        "binary+rescore10",
        "record: results/runs/",
    ):
        assert piece in table.stdout
    # statements about jina-clip-v2 are none about this model
    assert "not run" not in table.stdout
    assert len((tmp_path / "out" / "sweep.csv").read_text().splitlines()) == 1 + 3 * 5 * 2 * 2
    drawn = sorted(tmp_path.glob("figures/*.png"))
    assert len(drawn) == 6 and all(f"wrote figures/{path.name}" in table.stderr for path in drawn)
    manifests = [
        json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*/*/*/manifest.json")
    ]
    config = next(m["config"] for m in manifests if len(m["config"]["precisions"]) == 5)
    assert "127" in config["calibration"]["int8"] and config["dims"] == [32, 16, 8]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--precisions", "int4"), "--precisions int4"),
        (("--rescore", "100"), "--rescore: only int8 and binary"),
        (("--precisions", "int8", "--benchmarks", "mteb:STSBenchmark"), "float32 only"),
        (("--dims", "0"), "--dims: 0"),
    ],
)
def test_a_sweep_that_cannot_be_meant_ends_with_2(arguments, message, tmp_path):
    done = run(*arguments, cwd=tmp_path, module="evals.mrl_sweep")
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


def test_shuffled_data_gives_the_same_metrics(data, checkpoint, tmp_path):
    options = ("--model", checkpoint, "--allow-subset", "--json", "--store")
    first = run("flickr8k", *options, tmp_path / "a", "--data", data, cwd=tmp_path)
    lines = (data / "captions.jsonl").read_text().splitlines()
    (data / "captions.jsonl").write_text("\n".join(lines[::-1]) + "\n")
    second = run("flickr8k", *options, tmp_path / "a", "--data", data, cwd=tmp_path)
    for a, b in zip(metrics(first.stdout), metrics(second.stdout), strict=True):
        assert (a["metric"], a["k"], a["value"]) == (b["metric"], b["k"], b["value"])


SMALL_SHARDS = """
import sys, time
import evals.embeddings.store
import evals.encoders.jina as jina
shards, sys.argv = int(sys.argv[1]), ["evals.run", *sys.argv[2:]]
stream, encoded = jina.JinaEncoder.stream, []
def some(self, sides):
    for rows in stream(self, sides):
        if len(encoded) == shards:
            time.sleep(600)
        encoded.append(len(rows))
        yield rows
jina.JinaEncoder.stream = some
evals.embeddings.store.Store.__init__.__kwdefaults__["shard_rows"] = 4
from evals.cli.app import exit_with
from evals.run import app
exit_with(app)
"""
ALL_SHARDS = 9  # 12 images and 24 texts, by fours


def with_small_shards(shards: int, *arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """The same command with small shards; it waits to be killed instead of encoding more than so many of them."""
    command = [sys.executable, "-c", SMALL_SHARDS, str(shards), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment
    )


def committed(folder: Path) -> int:
    return len([path for path in folder.glob("results/store/*/*.json") if path.name != "key.json"])


@pytest.fixture(scope="module")
def undisturbed(checkpoint, tmp_path_factory):
    """The metrics of the run that is killed below, by a process that nobody kills."""
    folder = tmp_path_factory.mktemp("undisturbed")
    data = photographs(folder / "photographs")
    arguments = ("flickr8k", "--model", checkpoint, "--data", data, "--allow-subset", "--json")
    out, _ = with_small_shards(ALL_SHARDS, *arguments, cwd=folder).communicate(timeout=2 * PATIENCE)
    return metrics(out)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_killed_run_goes_on_from_its_last_shard_with_bit_equal_metrics(
    undisturbed, data, checkpoint, tmp_path, number, code
):
    arguments = ("flickr8k", "--model", checkpoint, "--data", data, "--allow-subset", "--json")
    # one that was killed may be killed again
    for shards in (1, 3) if number == signal.SIGKILL else (4,):
        before = committed(tmp_path)
        process = with_small_shards(shards, *arguments, cwd=tmp_path)
        until(lambda: committed(tmp_path) == before + shards, process)  # noqa: B023
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == code
    assert committed(tmp_path) == 4
    finished = with_small_shards(ALL_SHARDS, *arguments, cwd=tmp_path)
    out, err = finished.communicate(timeout=2 * PATIENCE)
    assert finished.returncode == 0, err
    assert sum(json.loads(out)["runs"][0]["encoded"].values()) == 36 - 4 * 4
    assert metrics(out) == undisturbed
    assert not list(tmp_path.rglob("*.part"))


def bad_jpeg(data: Path) -> None:
    path = data / "images" / "3.jpg"
    path.write_bytes(path.read_bytes()[:300])


def missing_image(data: Path) -> None:
    (data / "images" / "3.jpg").unlink()


def rewritten(line: str):
    def change(data: Path) -> None:
        lines = (data / "captions.jsonl").read_bytes().splitlines()
        lines[3] = line.encode("latin-1")
        (data / "captions.jsonl").write_bytes(b"\n".join(lines) + b"\n")

    return change


@pytest.mark.parametrize(
    ("change", "code", "culprits"),
    [
        (bad_jpeg, 3, ["3.jpg"]),
        (missing_image, 5, ["3.jpg"]),
        (rewritten('{"image": "3.jpg", "captions": []}'), 3, ["captions.jsonl", "4"]),
        (rewritten('{"image": "2.jpg", "captions": ["a cat"]}'), 3, ["2.jpg"]),
        (
            rewritten('{"image": "3.jpg", "captions": ["caf\xe9"]}'),
            3,
            ["captions.jsonl", "4", "UTF-8"],
        ),
        (rewritten('{"image": "3.jpg", "captions": ["a cat"'), 3, ["captions.jsonl", "4"]),
    ],
)
def test_bad_data_ends_with_one_message_that_names_it(
    data, checkpoint, tmp_path, change, code, culprits
):
    change(data)
    done = run("flickr8k", "--model", checkpoint, "--data", data, "--allow-subset", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert all(culprit in message for culprit in culprits), message
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("results/runs/**/manifest.json"))


def test_wrong_counts_are_refused_without_allow_subset(data, checkpoint, tmp_path):
    done = run("flickr8k", "--model", checkpoint, "--data", data, cwd=tmp_path)
    assert done.returncode == 3
    assert "12 images and 24 texts" in done.stderr and "--allow-subset" in done.stderr


def test_data_is_counted_before_a_checkpoint_is_looked_at(data, checkpoint, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    arguments = ("flickr8k", "--model", broken, "--data", data)
    assert "12 images and 24 texts" in run(*arguments, cwd=tmp_path).stderr
    assert "model.safetensors" in run(*arguments, "--allow-subset", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("flikr", "--model", "tiny"), 2, "Did you mean flickr"),
        (("scenes", "--model", "tinny"), 2, "Did you mean tiny"),
        (("scenes", "--model", "tiny", "--dims", "64,big"), 2, "big is not a whole number"),
        (("scenes", "--model", "tiny", "--dims", "9999"), 2, "--dims 9999"),
        (("scenes", "--model", "tiny", "--subsets", "en,xx"), 2, "no subset xx"),
        (("scenes", "--model", "tiny", "--dtype", "int4"), 2, "--dtype int4"),
        (("scenes", "--model", "tiny", "--device", "cuda:99"), 2, "--device cuda:99"),
        (("scenes", "--model", "tiny", "--no-such-option"), 2, "No such option"),
        (("scenes",), 2, "error: Name a --model. --list"),
        (("--model", "tiny"), 2, "error: Name one benchmark or --suite at least. --list"),
        (("tiny", "--model", "scenes"), 2, "Write the benchmark first, and --model tiny."),
        (("scenes", "--model", "/no/such/folder"), 5, "no such checkpoint folder"),
        (("scenes", "--model", "tiny", "--device", "meta"), 2, "--device meta"),
        (("scenes", "--model", "tiny", "--results", "/dev/null/x"), 5, "/dev/null"),
        (("flickr8k", "--model", "tiny", "--data", "no-such-folder"), 5, "no-such-folder"),
    ],
)
def test_what_cannot_be_done_ends_with_its_exit_code(arguments, code, message, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [("scenes", "--model", "jina-clip-v2"), ("flickr", "--model", "tiny")]
)
def test_what_the_hub_cannot_give_ends_with_the_three_ways_to_get_it(
    arguments, tmp_path, monkeypatch
):
    use(monkeypatch, "http://127.0.0.1:1", tmp_path / "hub")
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, "three ways" in done.stderr) == (5, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_checkpoint_of_the_wrong_shape_is_refused_by_key(data, checkpoint, tmp_path):
    folder = small_model().save_pretrained(tmp_path / "wrong")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["hf_model_config_kwargs"]["vocab_size"] = 41
    (folder / "config.json").write_text(json.dumps(config))
    done = run("flickr8k", "--model", folder, "--data", data, "--allow-subset", cwd=tmp_path)
    assert done.returncode == 3
    assert "word_embeddings" in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_key_in_a_yaml_file_is_refused(checkpoint, tmp_path):
    configs = tmp_path / "configs"
    configs.mkdir()
    for path in (ROOT / "configs").glob("*.yaml"):
        (configs / path.name).write_text(path.read_text().replace("  title:", "  titel:", 1))
    done = process("scenes", "--model", checkpoint, cwd=tmp_path, EVALS_CONFIGS=str(configs))
    assert done.returncode == 2
    assert "titel" in done.stderr and "benchmarks.yaml" in done.stderr


def test_errors_are_machine_readable_too(tmp_path, monkeypatch):
    done = run("flikr", "--model", "tiny", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["exit_code"] == done.returncode == 2
    use(monkeypatch, "http://127.0.0.1:1", tmp_path / "hub")
    done = run("flickr", "--model", "jina-clip-v2", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["failures"][0]["exit_code"] == done.returncode == 5


def test_one_failing_benchmark_leaves_the_results_of_the_others(data, checkpoint, tmp_path):
    arguments = ("scenes", "flickr8k", "--model", checkpoint, "--data", data, "--allow-subset")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2  # Scenes takes no --data
    assert "error: scenes by small-v2:" in done.stderr and "Flickr8k · small-v2" in done.stdout
    assert len(list(tmp_path.glob("results/runs/flickr8k.partial/*/*/manifest.json"))) == 1
    told = json.loads(run(*arguments, "--json", cwd=tmp_path).stdout)
    assert [r["benchmark"] for r in told["runs"]] == ["flickr8k.partial"]
    assert [(f["benchmark"], f["exit_code"]) for f in told["failures"]] == [("scenes", 2)]


def test_two_models_of_one_name_are_refused(checkpoint, tmp_path):
    other = small_model(seed=1).save_pretrained(tmp_path / checkpoint.name)
    done = run("scenes", "--model", checkpoint, "--model", other, cwd=tmp_path)
    assert done.returncode == 2
    assert "share the name small-v2" in done.stderr


def test_nothing_is_scored_without_the_images_that_failed_and_the_texts_are_stored(
    tmp_path, monkeypatch
):
    class Failing(HashEncoder):
        def encode(self, side):
            if side.kind == "image":
                raise InvalidError("no image for me")
            return super().encode(side)

    monkeypatch.setattr("evals.data.images.verify", lambda items, indices: None)
    parts = image_text([i // 5 for i in range(100)])
    options = Settings(results=tmp_path / "runs", store=tmp_path / "store")
    encoder = Failing()
    with pytest.raises(InvalidError, match="20 images, i0 to i19: no image for me") as caught:
        evaluate(TOY, Parts({"en": parts, "de": parts}, None), encoder, [8], options)
    assert caught.value.exit_code == 3
    assert encoder.encoded == 100  # texts, once
    assert not options.results.exists()


def test_captions_that_cannot_be_counted_are_null_and_a_line_says_why(tmp_path, monkeypatch):
    class WithoutTokenizer(HashEncoder):
        def truncated(self, side):
            raise MissingError("its tokenizer is not here.")

    class Messages(Silent):
        def info(self, message):
            lines.append(message)

    lines = []
    monkeypatch.setattr("evals.data.images.verify", lambda items, indices: None)
    parts = Parts({"en": image_text([i // 5 for i in range(100)])}, None)
    options = Settings(results=tmp_path / "runs", store=tmp_path / "store")
    outcome = evaluate(TOY, parts, WithoutTokenizer(), [8], options, reporter=Messages())
    manifest = read_run(outcome.path).manifest
    assert manifest.raw["lengths"] == {"captions": {"texts": 100, "truncated": None}}
    assert manifest.truncated is None
    assert [
        line for line in lines if "could not be counted: its tokenizer is not here" in line
    ] == ["toy: toy: texts longer than its maximum could not be counted: its tokenizer is not here"]


def test_constant_embeddings_score_chance(tmp_path, monkeypatch):
    class Constant(HashEncoder):
        def encode(self, side):
            return np.ones((len(side), self.dim), np.float32)

    parts = image_text([i // 5 for i in range(100)])
    monkeypatch.setattr("evals.data.images.verify", lambda items, indices: None)
    options = Settings(results=tmp_path / "runs", store=tmp_path / "store")
    outcome = evaluate(TOY, Parts({"en": parts}, None), Constant(), [8], options)
    t2i, i2t = outcome.scores["en"]
    assert t2i.values["R@1"].value == pytest.approx(1 / 20)
    assert t2i.values["R@10"].value == pytest.approx(10 / 20)
    assert i2t.values["R@1"].value == pytest.approx(5 / 100)
    assert t2i.tie_rate == i2t.tie_rate == 1.0


@pytest.mark.slow
def test_a_full_size_random_v2_folder_is_evaluated(tmp_path):
    """865,278,477 values saved in the official layout, read back and run on one photograph: about two minutes and 10 GB."""
    make = "import sys; from jina_clip import V2, JinaCLIP; from tests.conftest import word_tokenizer; "
    make += "JinaCLIP(V2, tokenizer=word_tokenizer()).save_pretrained(sys.argv[1])"
    folder = tmp_path / "random-v2"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", make, str(folder)], check=True, env=environment)
    data = photographs(tmp_path / "photographs", n=2)
    done = run(
        "flickr8k",
        "--model",
        folder,
        "--data",
        data,
        "--allow-subset",
        "--limit",
        1,
        "--json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["encoded"] == {"image": 1, "text": 2}
    assert {m["dim"] for m in metrics(done.stdout)} == {1024}
