"""Tasks of mteb give mteb's own numbers through our store and search, and leave records with every query and pair."""

import gzip
import heapq
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("mteb")

import mteb
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.aggregate_task_metadata import AggregateTaskMetadata
from mteb.abstasks.aggregated_task import AbsTaskAggregate
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.mocks import mock_tasks
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.similarity_functions import cos_sim, pairwise_cos_sim
from PIL import Image

from evals.embeddings.store import Store
from evals.embeddings.truncation import truncate
from evals.evaluation.recording import Costs
from evals.mteb_bridge import adapter as mteb_adapter
from evals.mteb_bridge.adapter import search_blocks
from evals.mteb_bridge.bridge import adapter, evaluate_task, run_task, scorers
from evals.mteb_bridge.methods import retrieval_scores
from evals.progress import SILENT, Silent
from evals.ranking.best_docs import Hits
from evals.records.record import read_queries, read_run
from evals.schema import ConfigError, InvalidError, MissingError, Side
from evals.settings import Settings
from evals.stats.correlation import spearman_interval
from evals.stats.intervals import mean_intervals

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
WORDS = "red blue cat dog sits runs on under mat tree sun moon river stone bird song".split()
ABOUT = dict(
    dataset={"path": "toy/data", "revision": "1"},
    description="a toy",
    reference=None,
    category="t2t",
    modalities=["text"],
    eval_splits=["test"],
    eval_langs=["eng-Latn"],
    date=("2026-01-01", "2026-01-02"),
    domains=["Written"],
    task_subtypes=[],
    license="cc0-1.0",
    annotations_creators="derived",
    dialect=[],
    sample_creation="created",
    bibtex_citation="",
)


class BagEncoder:
    """Counts of words, or of pixels, in 64 bins: equal for equal words in any order, so that scores tie; it counts its work."""

    name, dim, fingerprint = (
        "bag",
        64,
        {"weights": "bag", "text.max_length": "64", "image.size": "4"},
    )

    def __init__(self) -> None:
        self.encoded, self.roles = 0, []

    def encode(self, side: Side) -> np.ndarray:
        self.encoded += len(side)
        self.roles.append((side.kind, side.role))
        return rows_of(side.kind, list(side.items))


def rows_of(kind: str, items: list) -> np.ndarray:
    rows = np.zeros((len(items), 64), np.float32)
    for row, item in zip(rows, items, strict=True):
        if kind == "text":
            for word in item.lower().split():
                row[(WORDS.index(word) if word in WORDS else 20 + sum(word.encode()) % 40)] += 1
            row[63] = 0.5
        else:
            row[:48] = np.asarray(item.convert("RGB").resize((4, 4)), np.float32).ravel()
    return rows


class Plain:
    """The same encoder as the smallest model that mteb takes: only `encode`, so that mteb searches and scores."""

    def __init__(self, dim: int = 64) -> None:
        self.dim = dim
        names = {"name": "toy/plain", "revision": "1", "modalities": ["text", "image"]}
        self.mteb_model_meta = ModelMeta.create_empty(
            {**names, "similarity_fn_name": ScoringFunction.COSINE}
        )

    def encode(self, inputs, **kwargs):
        parts: dict[str, list] = {}
        for batch in inputs:
            for kind in {"text", "image"} & batch.keys():
                parts.setdefault(kind, []).extend(batch[kind])
        rows = [rows_of(kind, items) for kind, items in parts.items()]
        if len(rows) == 1 and self.dim == 64:
            return rows[0]
        return np.sum([truncate(r, self.dim) for r in rows], axis=0, dtype=np.float32)

    def similarity(self, a, b):
        return cos_sim(a, b)

    def similarity_pairwise(self, a, b):
        return pairwise_cos_sim(a, b)


def sentence(rng: np.random.Generator, n: int) -> str:
    return " ".join(rng.choice(WORDS, n))


def retrieval(
    name: str,
    *,
    docs: int = 60,
    grades: int = 1,
    judged: int = 6,
    shared_ids: bool = False,
    ranked: bool = False,
    **attributes,
):
    """A task with many equal documents, so that scores tie; `shared_ids`: some queries have the id of a document.

    Each query has a relevant document and so many others that are `judged`.
    """
    rng = np.random.default_rng(docs)
    texts = [sentence(rng, 3) for _ in range(docs // 2)]
    texts += [" ".join(reversed(text.split())) for text in texts]
    corpus = [
        {"id": f"d{i * 7919 % 10007}", "text": text, "title": "red" if i % 3 else ""}
        for i, text in enumerate(texts)
    ]
    queries = [
        {"id": corpus[i]["id"] if shared_ids and i % 2 else f"q{i}", "text": sentence(rng, 2)}
        for i in range(25)
    ]
    relevant = {
        q["id"]: {
            corpus[int(d)]["id"]: int(rng.integers(0, grades + 1))
            for d in rng.choice(docs, judged, replace=False)
        }
        | {corpus[int(rng.integers(docs))]["id"]: grades}
        for q in queries
    }
    top = (
        {
            q["id"]: [corpus[int(d)]["id"] for d in rng.choice(docs, 12, replace=False)]
            for q in queries
        }
        if ranked
        else None
    )
    return toy_task(name, corpus, queries, relevant, top, **attributes)


def toy_task(name: str, corpus: list, queries: list, relevant: dict, top=None, **attributes):
    """A retrieval task, or with candidates `top` a reranking task, of mteb with this data."""
    about = TaskMetadata(
        type="Reranking" if top else "Retrieval", name=name, main_score="ndcg_at_10", **ABOUT
    )

    def load_data(self, num_proc=None, **kwargs):
        split = {"corpus": Dataset.from_list(corpus), "queries": Dataset.from_list(queries)}
        self.dataset = {
            "default": {"test": split | {"relevant_docs": dict(relevant), "top_ranked": top}}
        }
        self.data_loaded = True

    return type(
        name, (AbsTaskRetrieval,), {"metadata": about, "load_data": load_data, **attributes}
    )()


def sts(name: str = "ToySTS"):
    rng = np.random.default_rng(3)
    pairs = {key: [sentence(rng, 4) for _ in range(40)] for key in ("sentence1", "sentence2")}
    data = Dataset.from_dict(pairs | {"score": rng.integers(0, 6, 40).astype(float).tolist()})

    def load_data(self, num_proc=None, **kwargs):
        self.dataset, self.data_loaded = DatasetDict({"test": data}), True

    about = TaskMetadata(type="STS", name=name, main_score="cosine_spearman", **ABOUT)
    return type(name, (AbsTaskSTS,), {"metadata": about, "load_data": load_data})()


def visual_sts():
    rng = np.random.default_rng(4)
    images = [
        Image.fromarray(rng.integers(0, 255, (6, 5, 4), dtype=np.uint8), "RGBA") for _ in range(24)
    ]
    data = Dataset.from_dict(
        {
            "sentence1": images[:12],
            "sentence2": images[12:],
            "score": [float(i % 5) for i in range(12)],
        }
    )

    def load_data(self, num_proc=None, **kwargs):
        self.dataset, self.data_loaded = DatasetDict({"test": data}), True

    category = dict(category="i2i", modalities=["image"])
    about = TaskMetadata(
        type="VisualSTS(eng)", name="Visual", main_score="cosine_spearman", **ABOUT | category
    )
    return type("Visual", (AbsTaskSTS,), {"metadata": about, "load_data": load_data})()


def text_and_image():
    """Documents of a text and an image, of which neither alone decides."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 255, (20, 6, 5, 3), dtype=np.uint8)
    corpus = [
        {"id": f"d{i}", "text": sentence(rng, 3), "image": Image.fromarray(pixels[i])}
        for i in range(20)
    ]
    queries = [{"id": f"q{i}", "text": sentence(rng, 2)} for i in range(12)]
    relevant = {f"q{i}": {f"d{i}": 1} for i in range(12)}
    task = toy_task("Both", corpus, queries, relevant)
    changes = {"category": "t2it", "modalities": ["text", "image"]}
    task.metadata = task.metadata.model_copy(update=changes)
    return task


def best_pair_scores(self, scores, qrels, results, hf_split, hf_subset):
    return {"mean_best": sum(max(hits.values()) for hits in results.values()) / len(results)}


TASKS = {
    "sts": sts,
    "ties": lambda: retrieval("Ties"),
    "more_documents_than_hits": lambda: retrieval("More", docs=1200),
    "graded": lambda: retrieval("Graded", grades=3),
    "identical_ids": lambda: retrieval("Identical", shared_ids=True, ignore_identical_ids=True),
    "reranking": lambda: retrieval("Reranking", ranked=True),
    "own_scores": lambda: retrieval("Own", grades=2, task_specific_scores=best_pair_scores),
    "multilingual_reranking": mock_tasks.reranking.MockMultilingualRerankingTask,
    "instructions": mock_tasks.retrieval.MockInstructionRetrieval,
    "image_to_text": mock_tasks.retrieval.MockAny2AnyRetrievalI2TTask,
    "text_to_image": mock_tasks.retrieval.MockAny2AnyRetrievalT2ITask,
    "visual_sts": visual_sts,
    "text_and_image": text_and_image,
    "classification": mock_tasks.classification.MockClassificationTask,
    "clustering": mock_tasks.clustering.MockClusteringTask,
}


def settings(folder: Path, **given) -> Settings:
    return Settings(results=folder / "runs", store=folder / "store", **given)


def measure(task, folder: Path, dims=(64,), encoder=None, instruction=False, **given):
    return run_task(
        task,
        encoder or BagEncoder(),
        dims,
        settings(folder, instruction=instruction, **given),
    )


def plainly(task, dim: int = 64) -> dict[str, dict]:
    """mteb's own numbers, by split and subset."""
    result = mteb.evaluate(
        Plain(dim), task, cache=None, co2_tracker=False, show_progress_bar=False
    ).task_results[0]
    return {(e["hf_subset"], split): e for split, entries in result.scores.items() for e in entries}


def assert_equal_scores(ours: dict, theirs: dict) -> None:
    numbers = {
        k: v
        for k, v in theirs.items()
        if isinstance(v, int | float) and k != "main_score" and np.isfinite(v)
    }
    assert ours.keys() == numbers.keys()
    for key, value in numbers.items():
        assert ours[key] == pytest.approx(value, abs=1e-6), key


@pytest.mark.parametrize("name", TASKS)
def test_every_metric_is_mtebs(name, tmp_path):
    outcome = measure(TASKS[name](), tmp_path)
    theirs = plainly(TASKS[name]())
    assert {(s.subset, s.split) for s in outcome.scores} == theirs.keys()
    for score in outcome.scores:
        assert_equal_scores(score.values, theirs[score.subset, score.split])
        assert score.value == score.values[outcome.metric]


def test_a_newer_version_of_a_task_is_told_once_and_by_us(tmp_path):
    """mteb would warn at each dimension; warnings are errors here."""

    class Messages(Silent):
        def info(self, message: str) -> None:
            told.append(message)

    told: list[str] = []
    task = sts()
    task.metadata = task.metadata.model_copy(update={"superseded_by": "ToySTS.v2"})
    run_task(task, BagEncoder(), (64, 8), settings(tmp_path), reporter=Messages())
    newer = "mteb:ToySTS: mteb has a newer version of it, mteb:ToySTS.v2"
    assert told.count(newer) == 1


def test_texts_that_cannot_be_counted_are_null_and_a_line_says_why(tmp_path):
    class WithoutTokenizer(BagEncoder):
        def truncated(self, side: Side) -> int:
            raise MissingError("its tokenizer is not here.")

    class Messages(Silent):
        def info(self, message: str) -> None:
            lines.append(message)

    lines: list[str] = []
    task, encoder = retrieval("Ties"), WithoutTokenizer()
    outcome = run_task(task, encoder, (64,), settings(tmp_path), reporter=Messages())
    lengths = read_run(outcome.path).manifest.raw["mteb"]["lengths"]
    assert lengths["truncated"] is None
    assert lengths["texts"] > 60
    line = "bag: texts longer than its maximum could not be counted: its tokenizer is not here"
    assert lines.count(line) == 1


def test_the_mock_run_of_mteb_passes(tmp_path):
    model = adapter(BagEncoder(), Store(tmp_path), SILENT, Costs(), instruction=False)
    results = mteb.mock_run(model)
    assert results.all_passed, results.to_markdown()
    assert sum(result is not None for _, result in results.items()) > 35


def test_a_second_run_encodes_nothing_and_tasks_share_texts(tmp_path):
    first = measure(retrieval("Ties"), tmp_path)
    again, other = BagEncoder(), BagEncoder()
    second = measure(retrieval("Ties"), tmp_path, encoder=again)
    measure(retrieval("Reranking", ranked=True), tmp_path, encoder=other)
    assert first.encoded["text"] > 0
    assert again.encoded == other.encoded == 0
    assert second.encoded == {"image": 0, "text": 0}
    assert second.scores == first.scores


def test_dimensions_come_from_one_encode(tmp_path):
    encoder = BagEncoder()
    outcome = measure(retrieval("Ties"), tmp_path, dims=(8, 64, 16), encoder=encoder)
    assert [score.dim for score in outcome.scores] == [64, 16, 8]
    assert encoder.encoded == outcome.encoded["text"] <= 60 + 25
    for score in outcome.scores:
        assert_equal_scores(score.values, plainly(retrieval("Ties"), score.dim)["default", "test"])


def test_a_large_search_finds_what_a_small_one_finds(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    queries, docs = (rng.standard_normal((n, 16)).astype(np.float32) for n in (300, 2000))
    small = list(search_blocks(queries, docs, 11, cos_sim=cos_sim))
    monkeypatch.setattr(mteb_adapter, "AT_ONCE", 0)
    large = list(search_blocks(queries, docs, 11, cos_sim=cos_sim))
    for field in ("docs", "scores"):
        one, two = (
            np.concatenate([getattr(block, field) for block in found]) for found in (small, large)
        )
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("identical", [False, True])
def test_scores_of_blocks_are_those_of_mtebs_evaluator(identical, skip):
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, make_score_dict

    rng = np.random.default_rng(5)
    names = [f"d{i}" for i in range(50)]
    ids = [f"d{i}" if i % 2 else f"q{i}" for i in range(30)]
    docs = np.stack([rng.permutation(50)[:20] for _ in ids])
    scores = rng.integers(0, 5, docs.shape) / np.float32(4)
    docs[3, 10:] = -1
    qrels = {
        q: {names[d]: int(rng.integers(-1, 4)) for d in rng.choice(50, 8, replace=False)}
        | {"gone": 1}
        for q in ids
    }
    blocks = [
        Hits(first, docs[first : first + 7], scores[first : first + 7]) for first in range(0, 30, 7)
    ]
    ours = retrieval_scores(
        blocks,
        ids,
        names,
        qrels,
        (1, 3, 10, 100),
        scorers=scorers(),
        ignore_identical_ids=identical,
        skip_first_result=skip,
    )
    results = {}
    for query, own, found in zip(ids, docs.tolist(), scores.tolist(), strict=True):
        heap: list[tuple[float, str]] = []  # as mteb collects hits
        for doc, score in zip(own, found, strict=True):
            if doc >= 0:
                heapq.heappush(heap, (score, names[doc]))
        results[query] = {doc: score for score, doc in heap}
    if identical:
        results = {q: {d: s for d, s in hits.items() if d != q} for q, hits in results.items()}
    _, ndcg, found_map, recall, precision, naucs, mrr, naucs_mrr, hit_rate = (
        calculate_retrieval_scores(results, qrels, [1, 3, 10, 100], skip)
    )
    theirs = make_score_dict(
        ndcg=ndcg, _map=found_map, recall=recall, precision=precision, mrr=mrr, naucs=naucs, naucs_mrr=naucs_mrr,
        hit_rate=hit_rate, task_scores={},
    )  # fmt: skip
    assert ours.values == pytest.approx(theirs, abs=1e-9, nan_ok=True)


def test_a_query_without_hits_scores_zero():
    blocks = [Hits(0, np.array([[0, 1], [-1, -1]]), np.array([[1.0, 0.5], [0, 0]], np.float32))]
    qrels = {"a": {"x": 1}, "b": {"y": 1}}
    found = retrieval_scores(blocks, ["a", "b"], ["x", "y"], qrels, (1, 3), scorers=scorers())
    assert found.values["ndcg_at_3"] == 0.5
    assert found.per_query["NDCG@3"].tolist() == [1, 0]


def test_the_interval_of_spearman_is_that_of_resampled_pairs():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    x = rng.standard_normal(200)
    y = np.round(x + rng.standard_normal(200))
    found = spearman_interval(x, y, resamples=300)
    resampled = np.random.Generator(np.random.PCG64(0))
    picks = [resampled.integers(200, size=200) for _ in range(300)]
    low, high = np.quantile([spearmanr(x[pick], y[pick])[0] for pick in picks], [0.025, 0.975])
    assert found == pytest.approx((low, high), abs=1e-12)
    assert spearman_interval(x, np.zeros(200)) is None


def test_a_record_keeps_every_query(tmp_path):
    task = retrieval("Graded", grades=3, judged=0)
    outcome = measure(task, tmp_path, dims=(64, 16), instruction=True)
    run = read_run(outcome.path)
    assert run.manifest.raw["benchmark"] == "mteb.Graded"
    assert run.manifest.raw["mteb"]["instruction"] is True
    assert len(run.manifest.raw["data"]["default"]["content"]) == 64
    first = run.metrics[0]
    assert (first.metric, first.k, first.direction, first.subset) == (
        "ndcg_at_10",
        None,
        "test",
        "default",
    )
    assert first.ci_low < first.value < first.ci_high
    assert (first.n_queries, first.n_gallery) == (25, 60)
    queries = read_queries(run).to_pydict()
    assert list(queries) == [
        "subset",
        "direction",
        "dim",
        "precision",
        "query_id",
        "group_id",
        "value",
    ]
    full = [value for value, dim in zip(queries["value"], queries["dim"], strict=True) if dim == 64]
    assert np.mean(full) == pytest.approx(first.value, abs=1e-5)


CAPTIONS = [[0], [0], [0], [1], [2], [2, 3], [3], [4], [5], [5]]  # the images of each caption


@pytest.mark.parametrize("own_scores", [False, True])
def test_captions_of_one_image_are_drawn_together(own_scores, tmp_path):
    """Of the last two only one is judged relevant: a grade of 0 joins nothing."""
    rng = np.random.default_rng(7)
    corpus = [{"id": f"image {i}", "text": sentence(rng, 4), "title": ""} for i in range(6)]
    queries = [{"id": f"c{i}", "text": sentence(rng, 3)} for i in range(len(CAPTIONS))]
    relevant = {f"c{i}": {f"image {d}": 1 for d in docs} for i, docs in enumerate(CAPTIONS)}
    relevant["c9"] = {"image 5": 0, "image 1": 0}
    scores = {"task_specific_scores": best_pair_scores} if own_scores else {}
    outcome = measure(toy_task("Captions", corpus, queries, relevant, **scores), tmp_path)
    table = read_queries(read_run(outcome.path)).to_pydict()
    group_of = dict(zip(table["query_id"], table["group_id"], strict=True))
    assert [group_of[f"c{i}"] for i in range(10)] == [
        *("c0", "c0", "c0", "c3", "c4", "c4", "c4", "c7", "c8", "c9"),
    ]
    first = {query: list(table["query_id"]).index(query) for query in table["group_id"]}
    groups = np.array([first[group] for group in table["group_id"]])
    expected = mean_intervals({"main": np.array(table["value"])}, groups)["main"]
    assert outcome.scores[0].interval == expected


def test_queries_that_all_hang_together_have_no_interval(tmp_path):
    score = measure(retrieval("Graded", grades=3), tmp_path).scores[0]
    assert (score.interval, score.n) == (None, 25)


def test_tasks_with_scores_of_their_own_keep_every_query_too(tmp_path):
    outcome = measure(TASKS["own_scores"](), tmp_path)
    values = read_queries(read_run(outcome.path))["value"].to_pylist()
    assert np.mean(values) == pytest.approx(outcome.scores[0].value, abs=1e-5)
    assert outcome.scores[0].values["mean_best"] > 0


def test_a_record_keeps_every_pair(tmp_path):
    from scipy.stats import spearmanr

    outcome = measure(sts(), tmp_path)
    score = outcome.scores[0]
    pairs = read_queries(read_run(outcome.path)).to_pydict()
    assert spearmanr(pairs["score"], pairs["gold"])[0] == pytest.approx(score.value, abs=1e-9)
    assert score.interval.low < score.value < score.interval.high
    assert (outcome.metric, score.n) == ("cosine_spearman", 40)


def test_mteb_loads_the_exported_result(tmp_path):
    outcome = measure(retrieval("Ties"), tmp_path, dims=(64, 16))
    for name, score in zip(
        ("task_result.json", "task_result-16.json"), outcome.scores, strict=True
    ):
        loaded = mteb.results.TaskResult.from_disk(outcome.path / name)
        assert loaded.task_name == "Ties"
        assert loaded.scores["test"][0]["main_score"] == pytest.approx(score.value, abs=1e-6)
    entries = yaml.safe_load((outcome.path / "eval_results.yaml").read_text())
    assert [entry["dataset"]["task_id"] for entry in entries] == ["Ties_default_test", "Ties"]
    assert entries[0]["value"] == pytest.approx(outcome.scores[0].value * 100, abs=1e-5)


@pytest.mark.parametrize(("instruction", "roles"), [(False, {None}), (True, {"query", "document"})])
def test_the_instruction_is_a_setting(instruction, roles, tmp_path):
    encoder = BagEncoder()
    measure(retrieval("Ties"), tmp_path, encoder=encoder, instruction=instruction)
    assert {role for _, role in encoder.roles} == roles


def test_an_aggregate_is_the_mean_of_its_tasks(tmp_path):
    members = [retrieval("Ties"), retrieval("Graded", grades=3)]
    about = AggregateTaskMetadata(
        type="Retrieval",
        name="Both",
        main_score="ndcg_at_10",
        tasks=members,
        eval_splits=["test"],
        description="two",
    )
    outcome = measure(type("Both", (AbsTaskAggregate,), {"metadata": about})(), tmp_path)
    singles = [
        measure(task, tmp_path).scores[0].value
        for task in (retrieval("Ties"), retrieval("Graded", grades=3))
    ]
    assert [(s.subset, s.split) for s in outcome.scores] == [("default", "test")]
    assert outcome.scores[0].value == pytest.approx(np.mean(singles), abs=1e-9)
    run = read_run(outcome.path)
    assert {line.subset for line in run.metrics} == {"default", "Ties", "Graded"}
    assert set(read_queries(run)["subset"].to_pylist()) == {"Ties", "Graded"}
    assert mteb.results.TaskResult.from_disk(outcome.path / "task_result.json").task_name == "Both"


@pytest.fixture
def hub_folder(tmp_path, monkeypatch) -> Path:
    """STSBenchmark and SciFact in miniature, in the layouts of their Hub repos."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rng = np.random.default_rng(1)
    folder = tmp_path / "data" / "mteb"
    (folder / "stsbenchmark-sts").mkdir(parents=True)
    (folder / "scifact" / "qrels").mkdir(parents=True)
    pairs = [
        {"sentence1": sentence(rng, 4), "sentence2": sentence(rng, 4), "score": float(i % 6)}
        for i in range(20)
    ]
    with gzip.open(folder / "stsbenchmark-sts" / "test.jsonl.gz", "wt") as file:
        file.write(lines(pairs))
    files = {
        "corpus.jsonl": [
            {"_id": str(i), "title": "red", "text": sentence(rng, 5)} for i in range(12)
        ],
        "queries.jsonl": [{"_id": f"{i}", "text": sentence(rng, 2)} for i in range(100, 106)],
        "qrels/test.jsonl": [
            {"query-id": str(100 + i), "corpus-id": str(i), "score": 1} for i in range(5)
        ],
    }
    for name, rows in files.items():
        (folder / "scifact" / name).write_text(lines(rows))
    configs = [
        {"config_name": "default", "data_files": [{"split": "test", "path": "qrels/test.jsonl"}]},
        {"config_name": "corpus", "data_files": [{"split": "corpus", "path": "corpus.jsonl"}]},
        {"config_name": "queries", "data_files": [{"split": "queries", "path": "queries.jsonl"}]},
    ]
    (folder / "scifact" / "README.md").write_text(
        f"---\n{yaml.safe_dump({'configs': configs})}---\n"
    )
    return tmp_path / "data"


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def by_name(name: str, folder: Path, **given):
    return evaluate_task(name, BagEncoder(), (64,), settings(folder, **given))


def test_local_copies_of_hub_repos_are_measured(hub_folder, tmp_path):
    pairs = by_name("STSBenchmark", tmp_path, data=hub_folder)
    queries = by_name("SciFact/test", tmp_path, data=hub_folder)
    assert (pairs.task, pairs.scores[0].n, pairs.partial) == ("STSBenchmark", 20, None)
    assert (queries.task, queries.scores[0].n) == ("SciFact", 5)
    manifest = read_run(queries.path).manifest.raw
    assert manifest["benchmark"] == "mteb.SciFact"
    assert manifest["mteb"]["dataset"] == "mteb/scifact"
    assert manifest["data"]["default"]["origin"]["path"] == str(hub_folder / "mteb" / "scifact")
    assert mteb.get_task("SciFact").metadata.dataset["path"] == "mteb/scifact"


def test_other_texts_or_judgements_change_the_content_hash(hub_folder, tmp_path):
    def content():
        return read_run(by_name("SciFact", tmp_path, data=hub_folder).path).manifest.raw["data"][
            "default"
        ]["content"]

    found = [content(), content()]
    for name, old, new in (
        ("corpus.jsonl", "cat", "moon"),
        ("qrels/test.jsonl", '"score": 1', '"score": 2'),
    ):
        path = hub_folder / "mteb" / "scifact" / name
        path.write_text(path.read_text().replace(old, new))
        found.append(content())
    assert found[0] == found[1]
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("name", "given", "error", "message"),
    [
        ("NoSuchTask", {}, ConfigError, "mteb:NoSuchTask: no such task"),
        ("STSBenchmark", {"subsets": ("xx",)}, ConfigError, "has no subset xx"),
        ("STSBenchmark/", {}, ConfigError, "names no task"),
        ("NFCorpus", {}, MissingError, "mteb/nfcorpus: no such folder"),
        ("STSBenchmark/nowhere", {}, InvalidError, "mteb:STSBenchmark/nowhere: .*nowhere"),
    ],
)
def test_a_task_that_cannot_be_measured_is_named(name, given, error, message, hub_folder, tmp_path):
    with pytest.raises(error, match=message):
        by_name(name, tmp_path, data=hub_folder, **given)


def test_some_subsets_are_a_part(tmp_path):
    task = mock_tasks.reranking.MockMultilingualRerankingTask()
    task.hf_subsets = ["eng"]
    outcome = measure(task, tmp_path)
    assert outcome.partial == {"subsets": ["eng"]}
    assert read_run(outcome.path).manifest.raw["benchmark"].endswith(".partial")
    assert [score.subset for score in outcome.scores] == ["eng"]
