"""Records in the forms of other tools: each tool reads what was written, and reads our number."""

import csv
import io
import json
from argparse import Namespace

import pytest
import yaml

from evals.export.forms import FORMS, export, exportable
from evals.records.record import read_run
from evals.schema import ConfigError, InvalidError, NotComparableError
from tests import records
from tests.commands import run as command

REPO = "mteb/flickr30kt2i"
HUB = {"en": {"content": "c" * 64, "origin": {"repo": REPO, "revision": "e" * 40}}}
ROW = {"row": {"name": "flickr", "title": "Flickr30k", "classes": None, "hub": None}, "dims": [8]}


def both_ways(dim: int = 8, precision: str = "float32") -> list:
    cell = {"dim": dim, "precision": precision}
    return [
        records.line("R@1", 0.25, ci_low=0.2, ci_high=0.3, **cell),
        records.line("R@5", 0.1 + 0.2, **cell),
        records.line("median_rank", 1.0, **cell),
        records.line("R@1", 0.75, direction="i2t", **cell),
    ]


def record(root, lines=None, **fields):
    described = {"benchmark": "flickr", "config": ROW, "data": HUB} | fields
    return read_run(records.write(root, lines or both_ways(), **described))


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_table_has_every_number_to_the_last_bit(form, tmp_path):
    files = export([record(tmp_path)], form)
    (data,) = files.values()
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(data.decode())))
    elif form == "json":
        rows = json.loads(data)
    else:
        # what a user of `datasets` or pandas would do
        pandas = pytest.importorskip("pandas")
        rows = pandas.read_parquet(io.BytesIO(data)).to_dict("records")
    assert [row["metric"] for row in rows] == ["R@1", "R@5", "median_rank", "R@1"]
    assert [float(row["value"]) for row in rows] == [0.25, 0.30000000000000004, 1.0, 0.75]
    assert float(rows[0]["ci_low"]) == 0.2
    assert {row["data"] for row in rows} == {"c" * 64}
    assert {row["weights"] for row in rows} == {"a" * 64}


def test_datasets_reads_the_parquet(tmp_path):
    datasets = pytest.importorskip("datasets")
    for name, data in export([record(tmp_path)], "parquet").items():
        (tmp_path / name).write_bytes(data)
    table = datasets.Dataset.from_parquet(
        str(tmp_path / "results.parquet"), cache_dir=str(tmp_path / "cache")
    )
    assert table["value"][1] == 0.1 + 0.2


def test_a_name_is_no_formula_in_a_spreadsheet(tmp_path):
    files = export([record(tmp_path, model="=HYPERLINK()")], "csv")
    (row, *_) = csv.DictReader(io.StringIO(files["results.csv"].decode()))
    assert row["model"] == "'=HYPERLINK()"


# it leaves files open
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_clip_benchmark_builds_its_table_from_the_files(tmp_path):
    cli = pytest.importorskip("clip_benchmark.cli")
    lines = [*both_ways(), *both_ways(4), *both_ways(8, "int8")]
    paths = []
    for name, data in export([record(tmp_path, lines)], "clip-benchmark").items():
        (tmp_path / name).write_bytes(data)
        paths.append(str(tmp_path / name))
    cli.main_build(Namespace(files=paths, output=str(tmp_path / "benchmark.csv")))
    rows = list(csv.DictReader((tmp_path / "benchmark.csv").open()))
    # three variants that its table tells apart, of its own name for Flickr30k
    assert len({row["model_fullname"] for row in rows}) == 3
    assert {row["dataset"] for row in rows} == {"flickr30k"}
    assert {row["image_retrieval_recall@1"] for row in rows} == {"0.25"}
    assert {row["text_retrieval_recall@1"] for row in rows} == {"0.75"}
    assert {row["task"] for row in rows} == {"zeroshot_retrieval"}


def test_a_classification_has_clip_benchmarks_names(tmp_path):
    row = {"name": "food", "title": "Food", "classes": {"dataset": "food101"}}
    lines = [records.line(name, 0.5, direction="") for name in ("acc@1", "acc@5")]
    run = record(tmp_path, lines, benchmark="food", config={"row": row})
    (data,) = export([run], "clip-benchmark").values()
    body = json.loads(data)
    assert body["metrics"] == {"acc1": 0.5, "acc5": 0.5}
    assert (body["dataset"], body["task"]) == ("food101", "zeroshot_classification")


def test_a_part_of_a_benchmark_is_not_called_by_its_name(tmp_path):
    run = record(tmp_path, benchmark="flickr.partial", partial={"limit": 20})
    (data,) = export([run], "clip-benchmark").values()
    assert json.loads(data)["dataset"] == "flickr.partial"
    with pytest.raises(NotComparableError, match="a part of"):
        export([run], "hf")


def test_the_hub_reads_the_entries(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    files = export([record(tmp_path, [*both_ways(), *both_ways(4, "int8")])], "hf")
    assert list(files) == [
        ".eval_results/flickr.dim8.yaml",
        ".eval_results/flickr.dim4.int8.yaml",
    ]
    entries = hub.parse_eval_result_entries(yaml.safe_load(files[".eval_results/flickr.dim8.yaml"]))
    # a median rank is no score
    assert [entry.task_id for entry in entries] == ["en/t2i/R@1", "en/t2i/R@5", "en/i2t/R@1"]
    assert [entry.value for entry in entries] == [25.0, 30.0, 75.0]
    assert entries[0].dataset_id == REPO
    assert entries[0].dataset_revision == "e" * 40
    assert "95% interval 20.0 to 30.0" in entries[0].notes


def test_the_hub_shows_no_data_that_it_does_not_have(tmp_path):
    local = record(tmp_path, data={"en": {"content": "c" * 64, "origin": {"folder": "/mine"}}})
    with pytest.raises(NotComparableError, match="no repository on the Hub"):
        export([local], "hf")


def test_one_repository_has_the_results_of_one_model(tmp_path):
    runs = [record(tmp_path, model=name) for name in ("a", "b")]
    with pytest.raises(NotComparableError, match=r"a \(.*, b \("):
        export(runs, "hf")


def test_two_records_of_one_benchmark_do_not_overwrite_each_other(tmp_path):
    runs = [record(tmp_path), record(tmp_path)]
    with pytest.raises(ConfigError, match="both be written"):
        export(runs, "hf")
    assert len(export(runs, "clip-benchmark")) == 2


def test_a_card_keeps_a_name_in_its_cell(tmp_path):
    (data,) = export([record(tmp_path, model="a|b<script>\n# x")], "card").values()
    text = data.decode()
    assert r"a\|b&lt;script&gt; # x" in text
    assert "| en | t2i | 8 | float32 | 25.00 (20.00 to 30.00) | 30.00 |" in text


def test_every_format_says_what_it_cannot_hold(tmp_path):
    run = record(tmp_path, [records.line("nDCG@10", 0.5)])
    with pytest.raises(NotComparableError, match="Export it --to csv"):
        export([run], "clip-benchmark")
    with pytest.raises(NotComparableError, match="no task of mteb"):
        export([run], "mteb")
    assert exportable([run], "mteb").refused
    assert exportable([run], "csv").runs == [run]
    with pytest.raises(ConfigError, match="no such format"):
        export([run], "excel")
    with pytest.raises(ConfigError, match="no record"):
        export([], "csv")


MTEB = {
    "task": "SciFact",
    "dataset": "mteb/scifact",
    "revision": "d" * 40,
    "mteb_version": "2.26.24",
    "splits": ["test"],
    "all_splits": ["test"],
    "query_metric": "ndcg_at_10",
}


def task_record(root, value: float = 0.5, stated: float | None = None):
    mteb = pytest.importorskip("mteb")
    line = records.line("ndcg_at_10", value, subset="default", direction="test")
    table = records.values(1, subset="default", value=1.0)
    path = records.write(root, [line], table, benchmark="mteb.SciFact", mteb=MTEB)
    entry = {
        "hf_subset": "default",
        "languages": ["eng-Latn"],
        "main_score": value if stated is None else stated,
        "ndcg_at_10": value,
    }
    mteb.results.TaskResult(
        dataset_revision="d" * 40,
        task_name="SciFact",
        mteb_version="2.26.24",
        scores={"test": [entry]},
        evaluation_time=1.0,
        kg_co2_emissions=None,
    ).to_disk(path / "task_result.json")
    return read_run(path)


def test_mteb_reads_its_results_folder(tmp_path):
    mteb = pytest.importorskip("mteb")
    for name, data in export([task_record(tmp_path)], "mteb").items():
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    results = mteb.ResultCache(tmp_path / "out").load_results(require_model_meta=True)
    (model,) = results.model_results
    assert (model.model_name, model.model_revision) == ("local/m", "a" * 40)
    assert model.task_results[0].get_score() == 0.5


def test_the_hub_names_a_task_of_mteb_as_mteb_does(tmp_path):
    (data,) = export([task_record(tmp_path)], "hf").values()
    entries = yaml.safe_load(data)
    assert [entry["dataset"]["task_id"] for entry in entries] == ["SciFact_default_test", "SciFact"]
    assert {entry["value"] for entry in entries} == {50.0}


def test_a_result_of_mteb_that_was_changed_is_not_passed_on(tmp_path):
    with pytest.raises(InvalidError, match="it was changed"):
        export([task_record(tmp_path, stated=0.9)], "mteb")


def test_the_command_exports_the_newest_records_and_says_what_it_left_out(tmp_path):
    record(tmp_path / "results/runs")
    record(tmp_path / "results/runs", benchmark="mine", data={"en": {"content": "c" * 64}})
    done = command("--to", "hf", "--json", cwd=tmp_path, module="evals.export")
    assert done.returncode == 0, done.stderr
    assert "left out" in done.stderr
    assert "mine has no repository" in done.stderr
    machine = json.loads(done.stdout)
    assert machine["files"] == ["results/export/.eval_results/flickr.dim8.yaml"]
    assert (tmp_path / machine["files"][0]).is_file()


def test_a_record_that_was_named_is_never_left_out(tmp_path):
    path = record(tmp_path / "results/runs", benchmark="mine", data={"en": {}}).path
    done = command(path, "--to", "hf", cwd=tmp_path, module="evals.export")
    assert done.returncode == 4
    assert not (tmp_path / "results/export").exists()


def test_the_help_lists_every_format(tmp_path):
    text = " ".join(command("--help", cwd=tmp_path, module="evals.export").stdout.split())
    assert all(f"{name}: " in text for name in FORMS)
