"""SciFact in every form is one data with one number, which is trec_eval's for every query.

Needs the collection in shared/data, which is not part of the project.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from evals.data.beir import load_beir
from evals.data.trec import load_trec
from evals.evaluation.recording import content_hash
from evals.ranking.metric_table import GRADED
from evals.ranking.places import places
from evals.ranking.relevance import Relevant
from evals.schema import Side, TextRetrieval
from evals.tasks import retrieval
from tests.conftest import SHARED
from tests.test_mteb_official import scifact as mteb_repo

SCIFACT = SHARED / "scifact"
pytestmark = pytest.mark.skipif(not SCIFACT.is_dir(), reason="no shared/data/scifact")
TREC_NAMES = {
    "nDCG": "ndcg_cut",
    "MAP": "map_cut",
    "Recall": "recall",
    "P": "P",
    "Success": "success",
}


def words_of(side: Side) -> np.ndarray:
    """A bag of words in 256 bins: poor, fast, and with ties, since bins are few."""
    rows = np.zeros((len(side), 256), dtype=np.float32)
    for row, text in zip(rows, side.items, strict=True):
        for word in text.lower().split():
            row[sum(word.encode()) % 256] += 1
    return rows


@pytest.fixture(scope="module")
def scifact() -> TextRetrieval:
    return load_beir(SCIFACT, None)


def as_trec(folder: Path) -> Path:
    folder.mkdir()
    with gzip.open(SCIFACT / "corpus.jsonl.gz", "rt", encoding="utf-8") as corpus:
        docs = [json.loads(line) for line in corpus]
    lines = (SCIFACT / "queries_test.jsonl").read_text(encoding="utf-8").split("\n")
    queries = [json.loads(line) for line in lines if line]
    judgements = (SCIFACT / "qrels" / "test.tsv").read_text().splitlines()[1:]
    files = {
        "collection.tsv": [f"{doc['_id']}\t{doc['title']}\t{doc['text']}" for doc in docs],
        "topics.tsv": [f"{query['_id']}\t{query['text']}" for query in queries],
        "qrels.txt": ["{} 0 {} {}".format(*line.split("\t")) for line in judgements],
    }
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_beir_folder_and_trec_files_hold_one_data(scifact: TextRetrieval, tmp_path: Path) -> None:
    assert scifact.counts == {"queries": 300, "documents": 5183, "judgements": 339}
    trec = load_trec(as_trec(tmp_path / "trec"), None)
    assert content_hash(trec) == content_hash(scifact)
    assert trec.queries.ids == scifact.queries.ids and trec.docs.ids == scifact.docs.ids


def test_trec_eval_agrees_on_every_query_but_those_with_ties(scifact: TextRetrieval) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    query_rows, doc_rows = (words_of(side) for side in retrieval.sides(scifact))
    [score] = retrieval.score([query_rows, doc_rows], scifact, dims=[256])
    queries = retrieval.item_vectors(scifact.queries, [query_rows], 256).astype(np.float64)
    docs = retrieval.item_vectors(scifact.docs, [doc_rows], 256).astype(np.float64)
    scores = queries @ docs.T

    relevant = Relevant.from_pairs(scifact.qrels[:, :2], 300)
    placed = places(
        queries.astype(np.float32),
        docs.astype(np.float32),
        relevant,
        scifact.qrels[:, 2].astype(float),
    )
    tied = set(placed.query[placed.equal > 1].tolist())
    assert 0 < len(tied) < 150  # of these queries the order of equal scores decides

    # The place in our order as the score: float32, which trec_eval reads, would tie more of them.
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(5183)[None, :], axis=1)
    doc_ids, qrels = scifact.docs.ids, {}
    for query, doc, grade in scifact.qrels.tolist():
        qrels.setdefault(scifact.queries.ids[query], {})[doc_ids[doc]] = grade
    cut_offs = "1,5,10,100,1000"
    wanted = {"map", "recip_rank"} | {f"{name}.{cut_offs}" for name in TREC_NAMES.values()}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, wanted)
    values = retrieval.of_places(placed, GRADED)
    compared = 0
    for query, name in enumerate(scifact.queries.ids):
        if query in tied:
            continue
        run = {doc: float(-rank) for doc, rank in zip(doc_ids, ranks[query].tolist(), strict=True)}
        theirs = evaluator.evaluate({name: run})[name]
        for measure, column in values.items():
            family, _, k = measure.partition("@")
            their_name = {"MAP": "map", "RR": "recip_rank"}.get(measure, "")
            if k and family in TREC_NAMES:
                their_name = f"{TREC_NAMES[family]}_{k}"
            if their_name:
                assert column[query] == pytest.approx(theirs[their_name], abs=1e-6), measure
                compared += 1
    assert compared == (300 - len(tied)) * (len(GRADED) - 1)  # all but RR@10, which it has not
    assert score.values["nDCG@10"].value == pytest.approx(values["nDCG@10"].mean(), abs=1e-12)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
def test_mteb_has_the_same_number(scifact: TextRetrieval, tmp_path: Path) -> None:
    pytest.importorskip("mteb")
    from evals.mteb_bridge.bridge import evaluate_task
    from evals.records.record import read_run
    from evals.settings import Settings

    mteb_repo(tmp_path)
    # A clone of mteb's repo is a BEIR folder, with its judgements in JSON lines.
    clone = load_beir(tmp_path / "mteb" / "scifact", None)
    assert content_hash(clone) == content_hash(scifact)

    class Words:
        """The same bag of words as an encoder."""

        name, dim = "words", 256

        def __init__(self) -> None:
            self.fingerprint = {"weights": "words", "text.max_length": "none"}

        def encode(self, side: Side) -> np.ndarray:
            return words_of(side)

    settings = Settings(data=tmp_path, results=tmp_path / "runs", store=tmp_path / "store")
    outcome = evaluate_task("SciFact", Words(), [256], settings)
    [theirs] = outcome.scores
    [ours] = retrieval.score([words_of(side) for side in scifact.sides], scifact, dims=[256])
    # mteb breaks ties by id, here they count in expectation: the fourth decimal may differ
    assert theirs.values["ndcg_at_10"] == pytest.approx(ours.values["nDCG@10"].value, abs=2e-3)
    assert theirs.values["recall_at_100"] == pytest.approx(
        ours.values["Recall@100"].value, abs=2e-3
    )
    assert read_run(outcome.path).metrics[0].n_queries == 300
