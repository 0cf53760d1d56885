"""Texts of one's own on the command line: run, sweep, compared and gated as a row is."""

import json
from pathlib import Path

import pytest

from tests.commands import Done, run
from tests.test_data_judged import beir, trec
from tests.test_data_pairs import tsv
from tests.test_own_data import manifest, measured


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BEIR folder of 40 queries and 60 documents, some of which no query looks for."""
    folder = beir(tmp_path_factory.mktemp("texts") / "toy set")
    words = "red blue cat dog sits runs mat tree sun moon river stone bird song".split()
    docs = [
        f"{words[place % 14]} {words[(place * 5 + 3) % 14]} document {place}" for place in range(60)
    ]
    corpus = [json.dumps({"_id": f"d{place}", "text": text}) for place, text in enumerate(docs)]
    queries = [
        json.dumps({"_id": f"q{place}", "text": f"{docs[place]} asked"}) for place in range(40)
    ]
    qrels = ["query-id\tcorpus-id\tscore"]
    for place in range(40):
        qrels += [f"q{place}\td{place}\t2", f"q{place}\td{(place * 7 + 1) % 60}\t1"]
    for name, lines in (
        ("corpus.jsonl", corpus),
        ("queries.jsonl", queries),
        ("qrels/test.tsv", qrels),
    ):
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def values(done: Done) -> dict[str, float]:
    lines = measured(done)["metrics"]
    return {
        f"{line['metric']}@{line['k']}" if line["k"] else line["metric"]: line["value"]
        for line in lines
    }


def test_text_retrieval_is_measured_and_recorded(
    folder: Path, tmp_path: Path, checkpoint: Path
) -> None:
    done = run(f"beir:{folder}", "--model", checkpoint, "--json", cwd=tmp_path)
    record = manifest(done, tmp_path)
    assert record["benchmark"] == "toy-set" and record["partial"] is None
    assert record["config"]["row"]["size"] == {"queries": 40, "documents": 60}
    data = record["data"]["all"]
    assert (data["queries"], data["documents"], data["judgements"]) == (40, 60, 80)
    assert record["lengths"]["documents"] == {"texts": 60, "truncated": 0}
    assert set(values(done)) >= {"nDCG@10", "MAP", "Recall@100", "P@10", "RR@10", "Success@5"}
    assert values(done)["Recall@100"] == 1.0  # of 60 documents
    shown = run(f"beir:{folder}", "--model", checkpoint, cwd=tmp_path)
    assert "nDCG@10" in shown.stdout and "40/60" in shown.stdout
    assert "40 queries and 60 documents" in shown.stderr


def test_metric_table_are_taken_at_any_cut_off(
    folder: Path, tmp_path: Path, checkpoint: Path
) -> None:
    chosen = ("--measures", "nDCG@3,P@7,MAP", "--model", checkpoint)
    done = run(f"beir:{folder}", *chosen, "--json", cwd=tmp_path)
    measures = values(done)
    assert {"nDCG@3", "P@7"} <= measures.keys() and next(iter(measures)) == "nDCG@10"
    assert manifest(done, tmp_path)["config"]["measures"] == ["nDCG@3", "P@7", "MAP"]
    assert "nDCG@3" in run(f"beir:{folder}", *chosen, cwd=tmp_path).stdout
    faults = {
        (f"beir:{folder}", "R@5"): "--measures R@5: no such measure; there is nDCG",
        ("scenes", "P@5"): "--measures are those of text retrieval",
    }
    for (name, measure), message in faults.items():
        refused = run(name, "--measures", measure, "--model", checkpoint, cwd=tmp_path)
        assert refused.returncode == 2 and message in refused.stderr


def test_a_limit_draws_queries(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    done = run(f"beir:{folder}", "--limit", 7, "--model", checkpoint, "--json", cwd=tmp_path)
    record = manifest(done, tmp_path)
    assert record["benchmark"] == "toy-set.partial"
    assert record["data"]["all"]["queries"] == 7 and record["data"]["all"]["documents"] == 60


def test_runs_are_swept_compared_and_gated(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    sweep = ("--benchmarks", f"beir:{folder}", "--model", checkpoint, "--dims", "8")
    options = ("--precisions", "float32,int8", "--no-figures", "--json")
    done = run(*sweep, *options, cwd=tmp_path, module="evals.mrl_sweep")
    assert done.returncode == 0, done.stderr
    points = json.loads(done.stdout)["sweep"]
    assert {point["metric"] for point in points} == {"nDCG@10", "MAP", "Recall@100"}
    assert {(point["dim"], point["precision"]) for point in points} >= {(8, "float32"), (8, "int8")}

    first = measured(run(f"beir:{folder}", "--model", checkpoint, "--json", cwd=tmp_path))["path"]
    record = Path(measured(done)["path"])
    compared = run(f"{record}@8", first, "--json", cwd=tmp_path, module="evals.compare")
    assert compared.returncode == 0, compared.stderr
    [change] = json.loads(compared.stdout)["changes"]
    assert (change["metric"], change["primary"], change["n"]) == ("nDCG@10", True, 40)

    verdict = run("--baseline", first, "--json", cwd=tmp_path, module="evals.regress")
    assert verdict.returncode == 0, verdict.stderr
    rows = {row["metric"]: row for row in json.loads(verdict.stdout)["metrics"]}
    assert rows["nDCG@10"]["primary"] and not rows["MAP"]["primary"]
    assert rows["Recall@100"]["judgement"] == "unchanged"


def test_rescoring_is_refused_before_anything_is_encoded(
    folder: Path, tmp_path: Path, checkpoint: Path
) -> None:
    sweep = ("--benchmarks", f"beir:{folder}", "--model", checkpoint)
    done = run(
        *sweep, "--precisions", "int8", "--rescore", 10, cwd=tmp_path, module="evals.mrl_sweep"
    )
    assert done.returncode == 2
    assert "graded judgements are not scored in two stages" in done.stderr


def test_trec_files_give_the_same_record_as_the_beir_folder(
    tmp_path: Path, checkpoint: Path
) -> None:
    ways = (f"beir:{beir(tmp_path / 'one')}", f"trec:{trec(tmp_path / 'two')}")
    done = [run(way, "--model", checkpoint, "--json", cwd=tmp_path) for way in ways]
    contents = {manifest(one, tmp_path)["data"]["all"]["content"] for one in done}
    assert len(contents) == 1 and values(done[0]) == values(done[1])
    assert "queries without a judgement, left out: 1" in done[0].stderr


def test_sentence_pairs_are_measured(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "pairs.tsv").write_text(tsv())
    done = run("sts:pairs.tsv", "--model", checkpoint, "--json", cwd=tmp_path)
    record = manifest(done, tmp_path)
    assert record["benchmark"] == "pairs"
    assert record["config"]["row"]["task"] == "text_pairs" and record["data"]["all"]["pairs"] == 3
    assert list(values(done)) == ["spearman"]
    assert "Spearman" in run("sts:pairs.tsv", "--model", checkpoint, cwd=tmp_path).stdout


def test_mistakes_are_shown_with_what_was_preferred(
    folder: Path, tmp_path: Path, checkpoint: Path
) -> None:
    record = measured(run(f"beir:{folder}", "--model", checkpoint, "--json", cwd=tmp_path))["path"]
    page = tmp_path / "page.html"
    done = run(record, "--top", 3, "--html", page, "--json", cwd=tmp_path, module="evals.mistakes")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["queries"] == 40 and len(shown["mistakes"]) == 3
    worst = shown["mistakes"][0]
    assert worst["query"]["text"].endswith("asked") and worst["gold"]["id"].startswith("d")
    # float32 beside float64: the tiny model gives near equals
    assert worst["preferred"][0]["score"] >= worst["gold"]["score"] - 1e-6
    assert worst["query"]["text"] in page.read_text()
