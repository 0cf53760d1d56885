"""Runs of other programs: the numbers of trec_eval, with intervals and comparisons."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.analysis.run_files import places, read_qrels_file, read_run_file, score_run
from evals.ranking.metric_table import of_places
from evals.records.queries import per_query
from evals.records.record import list_runs, read_run
from evals.schema import InvalidError
from tests.commands import run as command

RUN = """q1 Q0 a 1 3.0 bm25
q1 Q0 b 2 2.0 bm25
q1 Q0 c 3 1.0 bm25
q2 Q0 a 1 1.0 bm25
q2 Q0 d 2 1.0 bm25
q9 Q0 d 2 1.0 bm25
"""
QRELS = "q1 0 b 2\nq1 0 c 1\nq2 0 a 1\nq3 0 a 1\nq4 0 a 0\n"
# trec_eval's names of the measures whose definitions have no tie in them here
NAMES = {
    "nDCG@10": "ndcg_cut_10",
    "MAP": "map",
    "Recall@10": "recall_10",
    "P@10": "P_10",
    "RR": "recip_rank",
    "Success@5": "success_5",
}


@pytest.fixture
def files(tmp_path):
    run, qrels = tmp_path / "run.txt", tmp_path / "toy.qrels"
    run.write_text(RUN)
    qrels.write_text(QRELS)
    return run, qrels


def test_a_run_is_scored_as_by_hand(files, tmp_path):
    scored = score_run(*files, model=None, benchmark=None, results=tmp_path / "runs")
    (part,) = scored.outcome.scores["all"]
    # q1: b second and c third; q2: a first or second, each in half of the orders; q3 has nothing
    assert part.values["MAP"].value == pytest.approx(np.mean([(1 / 2 + 2 / 3) / 2, 0.75, 0]))
    assert part.values["Success@1"].value == pytest.approx(np.mean([0, 0.5, 0]))
    assert part.values["Recall@10"].value == pytest.approx(2 / 3)
    assert scored.missing == ["q3"]
    assert (scored.not_judged, scored.not_relevant) == (1, 1)


def test_a_record_of_a_run_is_read_like_every_other(files, tmp_path):
    path = score_run(*files, model=None, benchmark=None, results=tmp_path / "runs").outcome.path
    run = read_run(path)
    assert (run.manifest.benchmark, run.manifest.model) == ("toy", "bm25")
    ((cell, queries),) = per_query(run).items()
    assert queries.ids == ["q1", "q2", "q3"]
    assert queries.values["MAP"].tolist() == pytest.approx([(1 / 2 + 2 / 3) / 2, 0.75, 0])
    assert cell.subset == "all"
    # q2 and q3 share their relevant document: they are drawn together
    assert queries.groups == ["q1", "q2", "q2"]


@st.composite
def runs_and_judgements(draw):
    """A run without equal scores, and judgements that it may lack."""
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    run, qrels = {}, {}
    for query in range(draw(st.integers(1, 5))):
        docs = rng.permutation(30)[: rng.integers(1, 25)]
        scores = rng.permutation(1000)[: len(docs)] / 8
        run[f"q{query}"] = {f"d{doc}": float(s) for doc, s in zip(docs, scores, strict=True)}
        judged = rng.permutation(30)[: rng.integers(1, 12)]
        qrels[f"q{query}"] = {f"d{doc}": int(rng.integers(0, 4)) for doc in judged}
    qrels["q0"]["d0"] = 1
    return run, qrels


@settings(max_examples=60, deadline=None)
@given(both=runs_and_judgements())
def test_every_query_has_the_value_of_trec_eval(both, tmp_path_factory):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    run, qrels = both
    folder = tmp_path_factory.mktemp("trec")
    lines = [f"{q} Q0 {d} 0 {s} t\n" for q, docs in run.items() for d, s in docs.items()]
    (folder / "run").write_text("".join(lines))
    judgements = [f"{q} 0 {d} {g}\n" for q, docs in qrels.items() for d, g in docs.items()]
    (folder / "qrels").write_text("".join(judgements))
    judged = read_qrels_file(folder / "qrels")
    ours = of_places(places(read_run_file(folder / "run"), judged), NAMES)
    theirs = pytrec_eval.RelevanceEvaluator(
        qrels, {"ndcg_cut.10", "map", "recall.10", "P.10", "recip_rank", "success.5"}
    ).evaluate(run)
    for place, query in enumerate(judged.data.queries.ids):
        for name, measure in NAMES.items():
            assert ours[name][place] == pytest.approx(theirs[query][measure], abs=1e-6)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 a 1 3.0", "line 7: 5 columns, where 6"),
        ("q1 Q0 z 1 nan bm25", "line 7: the score is 'nan'"),
        ("q1 Q0 z 1 x bm25", "line 7: the score is 'x'"),
        ("q1 Q0 z 1 1.0 bm26", "line 7: the tag is bm26, and before it was bm25"),
        ("q1 Q0 a 9 1.0 bm25", "line 7: query q1 has document a twice"),
    ],
)
def test_a_line_that_is_wrong_is_named(line, message, files):
    run, _ = files
    run.write_text(RUN + line + "\n")
    with pytest.raises(InvalidError, match=message):
        read_run_file(run)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 0 b 1", "line 6: document b has grade 1 for query q1, and before it had 2"),
        ("q1 0 b", "line 6: 3 columns"),
        ("q1 0 e high", "line 6: the grade is 'high'"),
    ],
)
def test_a_judgement_that_is_wrong_is_named(line, message, files):
    _, qrels = files
    qrels.write_text(QRELS + line + "\n")
    with pytest.raises(InvalidError, match=message):
        read_qrels_file(qrels)


def test_a_run_of_other_queries_is_no_zero(files, tmp_path):
    run, qrels = files
    run.write_text("7 Q0 a 1 1.0 t\n")
    with pytest.raises(InvalidError, match=r"has no query of .*'q1'; it has '7'"):
        score_run(run, qrels, model=None, benchmark=None, results=tmp_path / "runs")
    run.write_text("")
    with pytest.raises(InvalidError, match="no line of a run"):
        read_run_file(run)


def test_two_runs_are_compared_query_by_query(files, tmp_path):
    run, _ = files
    done = command("run.txt", "toy.qrels", "--json", cwd=tmp_path, module="evals.score")
    assert done.returncode == 0, done.stderr
    assert "1 judged query is not in the run, and scored as 0: q3" in done.stderr
    assert json.loads(done.stdout)["schema_version"] == 1
    # the second system puts b first
    run.write_text(RUN.replace("q1 Q0 b 2 2.0", "q1 Q0 b 2 9.0").replace("bm25", "mine"))
    assert command("run.txt", "toy.qrels", cwd=tmp_path, module="evals.score").returncode == 0
    done = command(
        "bm25", "mine", "--metric", "MAP", "--json", cwd=tmp_path, module="evals.compare"
    )
    assert done.returncode == 0, done.stderr
    (change,) = json.loads(done.stdout)["changes"]
    assert change["difference"] == pytest.approx(((1 + 2 / 3) / 2 - (1 / 2 + 2 / 3) / 2) / 3)


def test_the_hash_of_a_run_is_its_identity(files, tmp_path):
    run, qrels = files
    for text in (RUN, RUN, RUN.replace("3.0", "4.0")):
        run.write_text(text)
        score_run(run, qrels, model="m", benchmark="b", results=tmp_path / "runs")
    weights = {
        read_run(path).manifest.model_identity.weights for path in list_runs(tmp_path / "runs")
    }
    assert len(weights) == 2
