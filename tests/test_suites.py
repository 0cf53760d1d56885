"""Suites, their averages, the list of what there is, and options that a model does not have."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.config.catalog import benchmark, benchmarks
from evals.config.models import ModelRef, resolve_model
from evals.config.suites import Average, Suite, find_suite, suites
from evals.encoders import ENCODERS, build
from evals.evaluation.averages import averages
from evals.evaluation.outcome import Outcome
from evals.schema import ConfigError
from evals.tasks.scores import Scores, Value
from evals.views.listing import as_json
from tests.commands import run
from tests.toys import HashEncoder

TOY = Suite(
    name="toy",
    title="Toy",
    benchmarks=("scenes",),
    averages={"two": Average(metric="R@1", of=("scenes/en", "scenes/de"))},
)


def result(partial: dict[str, Any] | None = None, **recalls: float) -> Outcome:
    """An outcome of Scenes with this R@1 in each language."""
    scores = {
        language: [Scores("t2i", 8, {"R@1": Value(recall, None)}, {}, [], [], 0, 0.0)]
        for language, recall in recalls.items()
    }
    return Outcome(Path("run"), benchmark("scenes"), "m", partial, {}, scores)


def test_an_average_is_over_its_members_and_nothing_else() -> None:
    [mean] = averages(TOY, [result(en=0.5, de=0.25, fr=1.0)])
    assert (mean.value, mean.members, mean.missing, mean.direction, mean.dim) == (
        0.375,
        2,
        [],
        "t2i",
        8,
    )


def test_an_average_without_all_members_has_no_value() -> None:
    [mean] = averages(TOY, [result(en=0.5)])
    assert (mean.value, mean.missing) == (None, ["scenes/de"])


def test_whole_languages_are_members_and_parts_of_one_are_not() -> None:
    some = {"subsets": ["en", "de"]}
    assert averages(TOY, [result(some, en=0.5, de=0.25)])[0].value == 0.375
    assert averages(TOY, [result(some | {"limit": 5}, en=0.5, de=0.25)]) == []


def test_members_may_come_from_several_benchmarks() -> None:
    both = Suite(
        name="b",
        title="B",
        benchmarks=("scenes", "xtd"),
        averages={"x": Average(metric="R@1", of=("scenes/en", "xtd/jp"))},
    )
    xtd = result(jp=1.0)._replace(benchmark=benchmark("xtd"))
    assert averages(both, [result(en=0.5), xtd])[0].value == 0.75


def test_the_papers_averages_have_the_papers_members() -> None:
    paper = find_suite("paper-v2").averages
    counts = {title: len(average.of) for title, average in paper.items()}
    assert list(counts.values()) == [2, 26, 10, 27]
    crossmodal = paper["Crossmodal-3600 (26 languages)"].of
    assert "xm3600-first/no" in crossmodal
    assert "xm3600-first/fil" not in crossmodal
    assert "xtd/jp" not in paper["Multilingual MS COCO (10 languages)"].of


def test_crossmodal_has_all_its_captions_and_norwegian_is_a_language() -> None:
    row = benchmark("xm3600")
    assert sum(map(row.count_texts, row.subsets)) == 261_375
    assert "no" in row.subsets
    assert benchmark("xm3600-first").protocol.captions == "first"
    assert len(benchmark("xtd200").subsets) == 27


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('"s": {title: "S", benchmarks: ["scnes"]}', "no benchmark 'scnes'. Did you mean scenes"),
        (
            '"s": {title: "S", benchmarks: ["scenes"], averages: {"a": {of: ["scenes/xx"]}}}',
            "the suite has no scenes/xx",
        ),
        (
            '"s": {title: "S", benchmarks: ["scenes"], averages: {"a": {of: ["xtd/en"]}}}',
            "the suite has no xtd/en",
        ),
        (
            '"s": {title: "S", benchmarks: ["scenes"], averages: {"a": {metric: "R@x", of: ["scenes/en"]}}}',
            "averages.a.metric",
        ),
        (
            '"s": {title: "S", benchmarks: ["mteb:A"]}',
            "row s: 'mteb:A' is no exact task of mteb. Write mteb:TASK/SPLIT",
        ),
        (
            '"s": {title: "S", benchmarks: ["mteb:A/b/c"]}',
            "row s: 'mteb:A/b/c' is no exact task of mteb",
        ),
        (
            '"s": {title: "S", benchmarks: ["mteb:A/test"], subsets: {"mteb:B": ["en"]}}',
            "limits the subsets of mteb:B",
        ),
        (
            '"s": {title: "S", benchmarks: ["mteb:A/test"], averages: {"a": {of: ["mteb:B"]}}}',
            "the suite has no mteb:B",
        ),
        (
            '"s": {title: "S", benchmarks: ["mteb:A/test", "mteb:A/dev"], averages: {"a": {of: ["mteb:A"]}}}',
            "the suite has no mteb:A",
        ),
        (
            '"s": {title: "S", benchmarks: ["mteb:A/test"], averages: {"a": {of: ["mteb:A", "scenes/en"]}}}',
            "not over both",
        ),
        (
            '"s": {title: "S", benchmarks: ["mteb:A/test"], averages: {"a": {of: ["mteb:A", "mteb:A"]}}}',
            "listed twice",
        ),
        (
            '"s": {title: "S", benchmarks: ["mteb:A/test"], averages: {"a": {metric: "R@1", of: ["mteb:A"]}}}',
            "leave out `metric`",
        ),
        (
            '"s": {title: "S", benchmarks: ["scenes"], averages: {"a": {over: ["scenes/en"]}}}',
            "unknown key `averages.a.over`",
        ),
    ],
)
def test_a_suite_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "suites.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        suites(tmp_path / "suites.yaml")


def test_the_list_tells_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    rows = {row["name"]: row["here"] for row in as_json(None)["benchmarks"]}
    assert rows.keys() == benchmarks().keys()
    assert [name for name, there in rows.items() if there] == ["scenes"]
    (tmp_path / "data" / "xm3600").mkdir(parents=True)
    commit = benchmark("flickr").hub.revision  # type: ignore[union-attr]
    shard = (
        tmp_path
        / "hub"
        / "datasets--mteb--flickr30kt2i"
        / "snapshots"
        / str(commit)
        / "data"
        / "x.parquet"
    )
    shard.parent.mkdir(parents=True)
    shard.touch()
    here = {row["name"] for row in as_json(tmp_path / "data")["benchmarks"] if row["here"]}
    assert here == {"scenes", "flickr", "flickr-quoted", "xm3600", "xm3600-first"}


def test_the_command_lists_and_runs_a_suite(tmp_path: Path) -> None:
    listed = json.loads(run("--list", "--json", cwd=tmp_path).stdout)
    assert {"smoke", "ci", "paper-v1", "paper-v2", "multilingual"} < {
        row["name"] for row in listed["suites"]
    }
    done = run("--suite", "smoke", "--model", "tiny", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    t2i, i2t = json.loads(done.stdout)["averages"]
    assert 0.5 < t2i["value"] < i2t["value"] < 1
    assert (t2i["members"], t2i["missing"]) == (6, [])
    assert run("--model", "tiny", cwd=tmp_path).returncode == 2
    wrong = run("--suite", "smok", "--model", "tiny", cwd=tmp_path)
    assert "No suite 'smok'. Did you mean smoke" in wrong.stderr


@pytest.mark.parametrize(
    ("name", "encoder", "spec"),
    [
        ("open_clip:ViT-B-32/openai", "open_clip", "ViT-B-32/openai"),
        (
            "st:sentence-transformers/all-MiniLM-L6-v2",
            "sentence_transformers",
            "sentence-transformers/all-MiniLM-L6-v2",
        ),
        (
            "api:https://api.jina.ai/v1/embeddings#jina-clip-v2",
            "api",
            "https://api.jina.ai/v1/embeddings#jina-clip-v2",
        ),
    ],
)
def test_a_rival_is_named_by_its_kind_and_what_follows(name: str, encoder: str, spec: str) -> None:
    ref = resolve_model(name)
    assert (ref.encoder, ref.spec) == (encoder, spec)
    assert "/" not in ref.name and ":" not in ref.name


def test_every_rival_in_the_configuration_is_known_to_open_clip() -> None:
    open_clip = pytest.importorskip("open_clip")
    from evals.config.models import models

    specs = [row.spec for row in models().values() if row.encoder == "open_clip"]
    assert len(specs) == 5
    assert {tuple(str(spec).split("/")) for spec in specs} <= set(open_clip.list_pretrained())


def test_an_option_that_a_model_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(HashEncoder):
        def __init__(self, *, name: str, device: str | None = None) -> None:
            super().__init__(name=name)
            self.device = device

    monkeypatch.setitem(ENCODERS, "api", lambda: Plain)  # type: ignore[arg-type]
    defaults = {"device": None, "compile": False}
    built: Any = build(
        "api", {"name": "m", "spec": "x"}, {"device": "cpu", "compile": False}, defaults
    )
    assert (built.name, built.device) == ("m", "cpu")
    with pytest.raises(ConfigError, match="--compile means nothing to m, which is api"):
        build("api", {"name": "m", "spec": "x"}, {"device": "cpu", "compile": True}, defaults)


def test_a_prefix_without_anything_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing behind the colon"):
        resolve_model("st:")
    tiny = resolve_model("tiny")
    assert tiny == ModelRef("tiny", "jina_clip", tiny.folder, name_chosen=True)


def test_the_shipped_suites_have_the_published_members() -> None:
    sizes = {
        "mteb-eng-retrieval": 15,
        "mteb-eng-sts": 10,
        "mteb-multilingual-sts": 13,
        "vidore": 10,
        "vidore-v2": 4,
        "vidore-v3": 10,
        "mieb-lite": 51,
        "mieb-eng": 125,
        "mieb-multilingual": 130,
    }
    rows = suites()
    for name, size in sizes.items():
        suite = rows[name]
        assert len(set(suite.tasks)) == len(suite.benchmarks) == size
        assert len(next(iter(suite.averages.values())).of) == size
    splits = {task.task: task.split for name in sizes for task in rows[name].tasks}
    assert {task: split for task, split in splits.items() if split != "test"} == {
        "MSMARCO": "dev",
        "AFQMC": "validation",
        "TinyImageNetClustering": "valid",
        "Food101ZeroShot": "validation",
        "Food101Classification": "validation",
    }
    assert {task.task: task.subsets for task in rows["mteb-eng-sts"].tasks if task.subsets} == {
        "STS17": ("en-en",),
        "STS22": ("en",),
    }
    assert "believed, not published" in str(rows["mteb-multilingual-sts"].about)
    for name in ("mieb-lite", "mieb-eng"):
        by_type = list(rows[name].averages.values())[1:]
        assert sum(len(average.of) for average in by_type) == sizes[name]


def test_the_list_shows_suites_of_tasks_and_how_many_they_have(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from evals.views.listing import print_list

    assert (
        len({row["name"]: row for row in as_json(None)["suites"]}["mieb-lite"]["benchmarks"]) == 51
    )
    print_list(None)
    text = " ".join(capsys.readouterr().out.split())
    assert "51 tasks of mteb" in text
    assert "mteb:TASK/SPLIT" in text
    assert "mteb:SciFact" not in text
