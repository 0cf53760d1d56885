"""Rankings that a record keeps: trec_eval reads them, and finds the record's numbers."""

import numpy as np
import pytest

from evals.export.forms import export
from evals.export.trec import escape
from evals.records.rankings import BEST, QRELS, read_rankings
from evals.records.record import list_runs, read_run
from evals.schema import InvalidError, MissingError
from tests import records
from tests.commands import run as command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A record of Scenes with rankings, and its files for trec_eval."""
    path = tmp_path_factory.mktemp("kept")
    part = ("scenes", "--model", "tiny", "--subsets", "en", "--limit", "60")
    done = command(*part, "--keep-top", "15", cwd=path)
    assert done.returncode == 0, done.stderr
    done = command("--to", "trec", "--out", "out", cwd=path, module="evals.export")
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def record(folder):
    (path,) = list_runs(folder / "results/runs", model="tiny")
    return read_run(path)


def value(run, direction: str, metric: str, k: int) -> float:
    (line,) = [
        line
        for line in run.metrics
        if (line.direction, line.metric, line.k) == (direction, metric, k)
    ]
    return line.value


def read(path, document: int, number: int) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for line in path.read_text().splitlines():
        cells = line.split()
        table.setdefault(cells[0], {})[cells[document]] = float(cells[number])
    return table


def test_trec_eval_finds_the_numbers_of_the_record(folder, record):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    (run,) = (folder / "out").glob("*t2i*.run")
    (qrels,) = (folder / "out").glob("*t2i*.qrels")
    judged = {q: {d: int(g) for d, g in docs.items()} for q, docs in read(qrels, 2, 3).items()}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "success.1,5"})
    values = evaluator.evaluate(read(run, 2, 4)).values()
    assert len(values) == 120
    # images that are told apart by float32 have no ties in this direction
    for name, metric, k in (
        ("success_1", "R", 1),
        ("success_5", "R", 5),
        ("ndcg_cut_10", "nDCG", 10),
    ):
        mean = np.mean([query[name] for query in values])
        assert mean == pytest.approx(value(record, "t2i", metric, k), abs=1e-9)


def test_what_goes_out_comes_back(folder, record):
    """Both directions, captions that are equal among them: our reader counts ties in expectation."""
    for direction in ("t2i", "i2t"):
        (run,) = (folder / "out").glob(f"*{direction}*.run")
        (qrels,) = (folder / "out").glob(f"*{direction}*.qrels")
        done = command(run, qrels, "--model", direction, cwd=folder, module="evals.score")
        assert done.returncode == 0, done.stderr
        (path,) = list_runs(folder / "results/runs", model=direction)
        scored = read_run(path)
        for k in (1, 5):
            success = value(scored, "", "Success", k)
            assert success == pytest.approx(value(record, direction, "R", k), abs=1e-9)


def test_every_query_has_its_documents_best_first(record):
    best = read_rankings(record, BEST).to_pandas()
    assert set(best.groupby(["direction", "query_id"]).size()) == {15}
    for _, rows in best.groupby(["direction", "query_id"]):
        assert rows["rank"].tolist() == list(range(1, 16))
        assert (rows["score"].diff().dropna() <= 0).all()
    qrels = read_rankings(record, QRELS).to_pandas()
    assert set(qrels["grade"]) == {1}
    assert len(qrels) == 2 * 120


def test_text_retrieval_keeps_its_grades(tmp_path):
    (tmp_path / "mine" / "qrels").mkdir(parents=True)
    corpus = "".join(f'{{"_id": "d {i}", "text": "text {i}"}}\n' for i in range(5))
    (tmp_path / "mine" / "corpus.jsonl").write_text(corpus)
    (tmp_path / "mine" / "queries.jsonl").write_text('{"_id": "q", "text": "text 3"}\n')
    (tmp_path / "mine" / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq\td 3\t2\nq\td 1\t1\n"
    )
    done = command("beir:mine", "--model", "tiny", "--keep-top", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = command("--to", "trec", "--out", "out", cwd=tmp_path, module="evals.export")
    assert done.returncode == 0, done.stderr
    (qrels,) = (tmp_path / "out").glob("*.qrels")
    assert sorted(qrels.read_text().splitlines()) == ["q 0 d%201 1", "q 0 d%203 2"]
    (run,) = (tmp_path / "out").glob("*.run")
    assert len(run.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("scene-0001.jpg#2", "scene-0001.jpg#2"),
        ("a b", "a%20b"),
        ("100%", "100%25"),
        ("a\u2028b", "a%E2%80%A8b"),
        ("é", "%C3%A9"),
    ],
)
def test_an_id_is_one_word(name, word):
    assert escape(name) == word


def test_a_record_without_rankings_says_how_to_get_them(tmp_path):
    run = read_run(records.write(tmp_path, [records.line()]))
    with pytest.raises(MissingError, match="again with --keep-top"):
        export([run], "trec")


def test_rankings_that_were_changed_are_refused(folder, record, tmp_path):
    import shutil

    copy = tmp_path / record.path.name
    shutil.copytree(record.path, copy)
    data = bytearray((copy / BEST).read_bytes())
    data[100] ^= 1
    (copy / BEST).write_bytes(data)
    with pytest.raises(InvalidError, match=r"best\.parquet: checksum mismatch"):
        export([read_run(copy)], "trec")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mteb:SciFact", "--model", "tiny"), "--keep-top keeps what queries rank"),
        (("scenes", "--model", "tiny", "--keep-top", "0"), "greater than or equal to 1"),
    ],
)
def test_what_has_no_rankings_is_refused_before_anything_is_loaded(arguments, message, tmp_path):
    done = command("--keep-top", "5", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_fusion_keeps_no_rankings_and_says_so_before_it_encodes(tmp_path):
    part = ("scenes", "--model", "tiny", "--subsets", "en", "--limit", "20")
    done = command(*part, "--keep-top", "5", cwd=tmp_path, module="evals.fusion")
    assert done.returncode == 2
    assert "--keep-top means nothing to it" in done.stderr
    assert not (tmp_path / "results/store").exists()
