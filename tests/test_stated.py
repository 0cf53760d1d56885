"""Result files of other tools are compared by their means, and never as if they were tested."""

import json

import pytest

from evals.analysis.stated import differences, read_stated
from evals.export.forms import export
from evals.schema import InvalidError, NotComparableError
from tests.commands import run as command
from tests.test_export import record

MTEB = {
    "task_name": "SciFact",
    "dataset_revision": "r" * 40,
    "mteb_version": "2.26.24",
    "evaluation_time": 1.0,
    "scores": {"test": [{"main_score": 0.25, "hf_subset": "default", "languages": ["eng-Latn"]}]},
}


def written(folder, name, **fields):
    path = folder / name
    path.write_text(json.dumps(MTEB | fields))
    return path


def test_a_file_that_mteb_wrote_states_its_main_scores(tmp_path):
    results = pytest.importorskip("mteb.results")
    path = tmp_path / "SciFact.json"
    results.TaskResult.from_dict(MTEB).to_disk(path)
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
    entry = MTEB["scores"]["test"][0]
    scores = {"test": [entry, entry | {"hf_subset": "de"}]}
    files = [written(tmp_path, "a.json"), written(tmp_path, "b.json", scores=scores)]
    result = command(*files, cwd=tmp_path, module="evals.compare")
    assert "only in b, not compared: test de main_score\n" in result.stdout
    output = json.loads(command(*files, "--json", cwd=tmp_path, module="evals.compare").stdout)
    assert (output["only_in_a"], output["only_in_b"]) == ([], ["test de main_score"])


def test_a_file_beside_a_model_is_refused_with_the_way_to_make_its_like(tmp_path):
    file = str(written(tmp_path, "a.json"))
    result = command(file, "tiny", cwd=tmp_path, module="evals.compare")
    assert result.returncode == 4
    assert "evals.export" in result.stderr


def test_other_data_is_not_compared(tmp_path):
    files = [written(tmp_path, "a.json"), written(tmp_path, "b.json", dataset_revision="other")]
    with pytest.raises(NotComparableError, match="dataset_revision"):
        differences(*map(read_stated, files))


@pytest.mark.parametrize(
    "fields",
    [
        {"mteb_version": "3.0.0"},
        {"mteb_version": None},
        {"scores": []},
        {"scores": {"test": [{"hf_subset": "default", "main_score": True}]}},
        {"scores": {"test": [{"main_score": 0.5}]}},
        {"scores": {"test": MTEB["scores"]["test"] * 2}},
    ],
)
def test_a_file_that_the_tool_does_not_write_is_refused(fields, tmp_path):
    with pytest.raises(InvalidError, match=r"a\.json"):
        read_stated(written(tmp_path, "a.json", **fields))
