"""Classification by the commands a user types: records, tables, sweeps, parts and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

from evals.config.catalog import benchmark
from evals.config.suites import find_suite
from evals.evaluation.averages import averages
from evals.evaluation.evaluate import evaluate
from evals.evaluation.load import Parts
from evals.evaluation.outcome import Outcome
from evals.records.record import read_queries, read_run
from evals.settings import Settings
from evals.tasks.scores import Scores, Value
from evals.views import tables as show
from tests.commands import process, run
from tests.labelled import class_folders, load, row, webdataset
from tests.test_data_labelled import EMOTIONS
from tests.toys import HashEncoder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("data") / "fer2013", EMOTIONS, split="test")


def test_class_folders_are_evaluated_and_recorded(folders: Path, tmp_path: Path) -> None:
    done = run(
        "fer2013",
        "--model",
        "tiny",
        "--data",
        folders,
        "--allow-subset",
        "--dims",
        "64,256",
        "--json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    [result] = json.loads(done.stdout)["runs"]
    assert [(m["metric"], m["k"], m["dim"]) for m in result["metrics"]] == [
        (metric, k, dim)
        for dim in (256, 64)
        for metric, k in (("acc", 1), ("acc", 5), ("mean_per_class_recall", None))
    ]
    for m in result["metrics"]:
        assert 0 <= m["ci_low"] <= m["value"] <= m["ci_high"] <= 1
        assert (m["direction"], m["n_queries"], m["n_gallery"], m["precision"]) == (
            "",
            30,
            7,
            "float32",
        )
    record = read_run(tmp_path / result["path"])
    assert (record.manifest.raw["benchmark"], record.manifest.raw["partial"]) == (
        "fer2013.partial",
        {"allow_subset": True},
    )
    data = record.manifest.raw["data"]["en"]
    assert (data["images"], data["classes"], data["origin"]["templates"]) == (
        30,
        7,
        "clip-benchmark fer2013",
    )
    assert record.manifest.raw["encoded"] == {"image": 30, "text": 42}
    queries = read_queries(record)
    rows = [q for q in queries.to_pylist() if q["dim"] == 256]
    assert np.mean([q["better"] == 0 for q in rows]) == pytest.approx(result["metrics"][0]["value"])
    assert {q["query_id"].split("/")[0].lower() for q in rows if q["label"] == 0} == {"angry"}


def test_a_sweep_gives_the_plain_run_at_full_width_and_keeps_its_share(
    folders: Path, tmp_path: Path
) -> None:
    options = ("--model", "tiny", "--data", folders, "--allow-subset")
    plain = run("fer2013", *options, "--json", cwd=tmp_path)
    swept = run(
        "--benchmarks",
        "fer2013",
        *options,
        "--dims",
        "64,8",
        "--json",
        cwd=tmp_path,
        module="evals.mrl_sweep",
    )
    [one], [all_] = (json.loads(done.stdout)["runs"] for done in (plain, swept))
    assert one["metrics"] == [m for m in all_["metrics"] if m["dim"] == 256]
    assert {m["dim"] for m in all_["metrics"]} == {8, 64, 256}
    assert all_["encoded"] == {"image": 0, "text": 0}
    options = (*options, "--dims", "8", "--precisions", "int8")
    shown = run("--benchmarks", "fer2013", *options, cwd=tmp_path, module="evals.mrl_sweep")
    [head] = [
        line.split()
        for line in shown.stdout.splitlines()
        if line.split()[:2] == ["dim", "precision"]
    ]
    assert head == ["dim", "precision", "acc@1", "kept", "acc@5", "kept", "bytes"]
    assert [
        line.split()[:2] for line in shown.stdout.splitlines() if line.split()[:1] == ["8"]
    ] == [
        ["8", "float32"],
        ["8", "int8"],
    ]
    assert "partial" in shown.stdout


def test_what_cannot_be_measured_is_refused_with_its_exit_code(
    folders: Path, tmp_path: Path
) -> None:
    data = ("--model", "tiny", "--data", folders)
    for arguments, code, says in (
        (("fer2013", *data), 3, "30 images and 7 classes, where the row declares 7,178 and 7"),
        (("mnist", *data), 3, "is none of the 10 classes"),
        (("cars", *data), 3, "no classnames.txt in it"),
    ):
        done = run(*arguments, cwd=tmp_path)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    done = process("fer2013", "--model", "tiny", cwd=tmp_path)
    assert (
        done.returncode == 5 and "clip-benchmark/wds_fer2013 at main cannot be had" in done.stderr
    )
    packed = run(
        "prepare",
        "fer2013",
        "--to",
        tmp_path / "packed",
        "--data",
        folders,
        cwd=tmp_path,
        module="evals.data",
    )
    assert (packed.returncode, "only captioned images are packed" in packed.stderr) == (2, True), (
        packed.stderr
    )


def test_a_limit_is_a_part_of_its_own(folders: Path, tmp_path: Path) -> None:
    done = run(
        "fer2013",
        "--model",
        "tiny",
        "--data",
        folders,
        "--allow-subset",
        "--limit",
        9,
        "--json",
        cwd=tmp_path,
    )
    [result] = json.loads(done.stdout)["runs"]
    assert {m["n_queries"] for m in result["metrics"]} == {9}
    assert result["partial"] == {"allow_subset": True, "limit": 9, "seed": 0}


@pytest.fixture
def several(tmp_path: Path) -> Outcome:
    """A set with several classes an image, by a model that knows nothing."""
    from evals.schema import ClassPrompts

    data = load(webdataset(tmp_path / "wds", multilabel=True), ClassPrompts(5, multilabel=True))
    options = Settings(results=tmp_path / "runs", store=tmp_path / "store")
    toy = row().model_copy(update={"metric": "mAP"})
    return evaluate(toy, Parts({"en": data}, None), HashEncoder(), [8, 4], options)


def test_images_of_several_classes_are_recorded_by_class(
    several: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_run(several.path)
    table = read_queries(record).to_pylist()
    whole = next(m for m in record.metrics if m.dim == 8)
    assert (whole.metric, whole.k, whole.ci_low, whole.n_queries, whole.n_gallery) == (
        "mAP",
        None,
        None,
        5,
        48,
    )
    assert whole.value == pytest.approx(
        np.mean([q["average_precision"] for q in table if q["dim"] == 8])
    )
    assert [q["query_id"] for q in table[:2]] == ["0:red", "1:green"]


def accuracy(name: str, value: float) -> Outcome:
    scores = [Scores("", 8, {"acc@1": Value(value, None)}, {}, [], [], 0, 0.0)]
    return Outcome(Path("run"), benchmark(name), "m", None, {}, {"en": scores})


def test_the_papers_average_is_over_37_sets_without_voc_multilabel() -> None:
    suite = find_suite("classification-37")
    members = suite.averages["37 sets"].of
    assert (len(suite.benchmarks), len(members)) == (38, 37)
    assert "voc2007-multilabel/en" not in members
    assert sum(member.startswith("vtab-") for member in members) == 20
    few = {name for name in suite.benchmarks if benchmark(name).classes.count < 5}
    assert {f"{name}/en" for name in few} == set(members) - set(
        suite.averages["34 sets of five classes or more"].of
    )
    outcomes = [accuracy(member.removesuffix("/en"), 0.5) for member in members]
    top1, top5 = averages(suite, [*outcomes[:-1], accuracy("vtab-svhn", 1.0)])
    assert top1.value == pytest.approx((36 * 0.5 + 1) / 37)
    assert (top5.metric, top5.value, len(top5.missing)) == ("acc@5", None, 34)


def test_every_line_of_the_json_is_the_records(several: Outcome) -> None:
    [result] = show.as_json([several])["runs"]
    assert [m["metric"] for m in result["metrics"]] == ["mAP", "mAP"]
