"""Result files of other tools are compared by their means, and never as if they were tested."""

import json

import pytest

from evals.analysis.stated import differences
from evals.analysis.stated_files import read_results, read_stated
from evals.export.forms import export
from evals.schema import InvalidError, MissingError, NotComparableError
from tests.commands import run as command
from tests.foreign_files import CLIP, TASK, mteb_folder, write
from tests.test_export import record, task_record


def written(folder, name, **fields):
    return write(folder / name, TASK, **fields)


def test_a_file_that_mteb_wrote_states_its_main_scores(tmp_path):
    results = pytest.importorskip("mteb.results")
    path = tmp_path / "SciFact.json"
    results.TaskResult.from_dict(TASK).to_disk(path)
    assert read_stated(path).values == {"test default main_score": 0.25}


def test_an_export_for_clip_benchmark_is_read_back(tmp_path):
    (data,) = export([record(tmp_path)], "clip-benchmark").values()
    path = tmp_path / "mine.json"
    path.write_bytes(data)
    stated = read_stated(path)
    assert stated.values["image_retrieval_recall@1"] == 0.25
    assert stated.measured["dataset"] == "flickr30k"


def test_a_difference_of_means_has_no_p_and_says_why(tmp_path):
    scores = {"test": [{"main_score": 0.75, "hf_subset": "default"}]}
    files = [written(tmp_path, "a.json"), written(tmp_path, "b.json", scores=scores)]
    result = command(*files, "--json", cwd=tmp_path, module="evals.compare")
    output = json.loads(result.stdout)
    assert "no interval, no paired test" in output["note"]
    (row,) = output["means"]
    assert (row["difference"], row["p"]) == (0.5, None)


def test_a_mean_that_one_file_alone_states_is_named(tmp_path):
    entry = TASK["scores"]["test"][0]
    scores = {"test": [entry, entry | {"hf_subset": "de"}]}
    files = [written(tmp_path, "a.json"), written(tmp_path, "b.json", scores=scores)]
    result = command(*files, cwd=tmp_path, module="evals.compare")
    assert "only in b, not compared: test de main_score\n" in result.stdout
    output = json.loads(command(*files, "--json", cwd=tmp_path, module="evals.compare").stdout)
    assert (output["only_in_a"], output["only_in_b"]) == ([], ["test de main_score"])


def test_a_record_stands_beside_a_file_of_clip_benchmark_without_an_export(tmp_path):
    path = record(tmp_path / "results/runs").path
    file = write(tmp_path / "theirs.json", CLIP)
    result = command(path, file, "--json", cwd=tmp_path, module="evals.compare")
    assert result.returncode == 0, result.stderr
    output = json.loads(result.stdout)
    rows = {row["name"]: (row["a"], row["b"], row["p"]) for row in output["means"]}
    assert rows == {
        "image_retrieval_recall@1": (0.25, 0.5, None),
        "text_retrieval_recall@1": (0.75, 0.75, None),
    }
    assert output["only_in_a"] == ["image_retrieval_recall@5"]
    assert output["model_b"] == "ViT-B-32 laion2b_s34b_b79k"
    shown = command(file, path, cwd=tmp_path, module="evals.compare").stdout
    assert "A: ViT-B-32 laion2b_s34b_b79k (CLIP_benchmark, " in shown
    assert "B: m (" in shown
    assert "no paired test; the record's mean stands beside the file's" in shown


def test_a_model_s_name_means_its_record_of_what_the_file_measured(tmp_path):
    root = tmp_path / "results/runs"
    record(root)
    record(root, benchmark="mine")
    file = write(tmp_path / "theirs.json", CLIP)
    result = command("m", file, "--json", cwd=tmp_path, module="evals.compare")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["means"][0]["a"] == 0.25
    other = write(tmp_path / "other.json", CLIP, dataset="mscoco_captions")
    result = command("m", other, cwd=tmp_path, module="evals.compare")
    assert result.returncode == 4
    assert "there are records of flickr, mine" in result.stderr


def test_a_record_of_a_task_stands_beside_the_file_of_mteb(tmp_path):
    path = task_record(tmp_path, 0.5).path
    file = written(tmp_path, "SciFact.json")
    result = command(path, file, "--json", cwd=tmp_path, module="evals.compare")
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)["means"]
    assert (row["name"], row["difference"]) == ("test default main_score", -0.25)
    other = written(tmp_path, "other.json", dataset_revision="f" * 40)
    result = command(path, other, cwd=tmp_path, module="evals.compare")
    assert (result.returncode, "dataset_revision" in result.stderr) == (4, True)


@pytest.mark.parametrize(
    ("fields", "file", "reason"),
    [
        ({}, TASK, "is no task of mteb"),
        ({}, CLIP | {"language": "fr"}, "no metric of CLIP_benchmark in the language 'fr'"),
        ({"benchmark": "flickr.partial", "partial": {"limit": 2}}, CLIP, "flickr.partial"),
    ],
)
def test_a_record_of_something_else_is_not_compared(fields, file, reason, tmp_path):
    path = record(tmp_path, **fields).path
    result = command(path, write(tmp_path / "a.json", file), cwd=tmp_path, module="evals.compare")
    assert result.returncode == 4
    assert reason in result.stderr


def test_other_data_is_not_compared(tmp_path):
    files = [written(tmp_path, "a.json"), written(tmp_path, "b.json", dataset_revision="other")]
    with pytest.raises(NotComparableError, match="dataset_revision"):
        differences(*map(read_stated, files))


ENTRY = TASK["scores"]["test"][0]


@pytest.mark.parametrize(
    "fields",
    [
        {"mteb_version": "3.0.0"},
        {"mteb_version": None},
        {"scores": []},
        {"scores": {"test": []}},
        {"scores": {"test": 1}},
        {"scores": {"test": [ENTRY | {"main_score": True}]}},
        {"scores": {"test": [ENTRY | {"main_score": "0.5"}]}},
        {"scores": {"test": [ENTRY | {"main_score": 25.0}]}},
        {"scores": {"test": [ENTRY | {"main_score": -0.1}]}},
        {"scores": {"test": [ENTRY | {"main_score": 10**400}]}},
        {"scores": {"test": [ENTRY | {"main_score": float("nan")}]}},
        {"scores": {"test": [ENTRY | {"hf_subset": 1}]}},
        {"scores": {"test": [{"main_score": 0.5}]}},
        {"scores": {"test": [ENTRY, ENTRY]}},
        {"task_name": "a" * 501},
        {"task_name": " "},
    ],
)
def test_a_file_that_the_tool_does_not_write_is_refused(fields, tmp_path):
    with pytest.raises(InvalidError, match=r"a\.json"):
        read_stated(written(tmp_path, "a.json", **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"metrics": {}},
        {"metrics": []},
        {"metrics": {"bleu": 0.5}},
        {"metrics": {"acc1": 50.0}},
        {"metrics": {"acc1": None}},
        {"metrics": {"acc1": 0.5, "acc5": float("nan")}},
        {"model": ["ViT"]},
        {"language": 1},
    ],
)
def test_a_file_that_clip_benchmark_does_not_write_is_refused(fields, tmp_path):
    with pytest.raises(InvalidError, match=r"a\.json"):
        read_stated(write(tmp_path / "a.json", CLIP, **fields))


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = write(tmp_path / "a.json", CLIP)
    path.write_text(path.read_text().replace('"model"', '"model": "mine", "model"'))
    with pytest.raises(InvalidError, match=r"a\.json.*twice"):
        read_stated(path)


def test_a_correlation_may_be_negative_where_the_file_shows_that_it_is_one(tmp_path):
    entry = {"main_score": -0.1, "cosine_spearman": -0.1, "hf_subset": "default"}
    path = written(tmp_path, "STS.json", scores={"test": [entry]})
    assert read_stated(path).values == {"test default main_score": -0.1}


def test_a_folder_that_mteb_wrote_is_read_with_its_model(tmp_path):
    mteb = pytest.importorskip("mteb")
    meta = mteb.models.ModelMeta.create_empty({"name": "org/theirs", "revision": "e" * 40})
    result = mteb.results.TaskResult.from_dict(TASK)
    mteb.ResultCache(tmp_path).save_to_cache(result, meta)
    results = read_results([tmp_path / "results"])
    (stated,) = results.stated
    assert not results.unread
    assert (stated.model, stated.source) == ("org/theirs@" + "e" * 12, "mteb 2.26.24")
    assert stated.values == {"test default main_score": 0.25}


def test_without_its_meta_file_a_result_is_of_the_model_that_its_folders_name(tmp_path):
    (tmp_path / "alone").mkdir()
    folder = mteb_folder(tmp_path)
    next(folder.rglob("model_meta.json")).unlink()
    (stated,) = read_results([folder]).stated
    assert stated.model == "org/theirs@" + "e" * 12
    assert read_stated(written(tmp_path / "alone", "SciFact.json")).model is None


def test_each_file_is_read_once_and_a_broken_one_below_a_folder_is_named(tmp_path):
    folder = mteb_folder(tmp_path)
    good = write(tmp_path / "clip" / "good.json", CLIP)
    bad = write(tmp_path / "clip" / "bad.json", CLIP, metrics={"acc1": 2})
    results = read_results([folder, tmp_path / "clip", good])
    assert [each.path.name for each in results.stated] == ["SciFact.json", "good.json"]
    ((path, message),) = results.unread
    assert path == bad
    assert "acc1 is 2" in message
    with pytest.raises(InvalidError, match="acc1 is 2"):
        read_results([bad])


def test_a_folder_without_results_and_a_path_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(InvalidError, match="no result file lies below it"):
        read_results([tmp_path])
    with pytest.raises(MissingError, match="nowhere"):
        read_results([tmp_path / "nowhere.json"])


@pytest.mark.parametrize("meta", [[], {}, {"name": 1}, {"name": "m", "revision": 2}])
def test_a_meta_file_of_wrong_types_is_refused(meta, tmp_path):
    folder = mteb_folder(tmp_path)
    place = next(folder.rglob("model_meta.json"))
    place.write_text(json.dumps(meta))
    ((path, message),) = read_results([folder]).unread
    assert path.name == "SciFact.json"
    assert "model_meta.json" in message
