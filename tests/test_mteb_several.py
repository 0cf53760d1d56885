"""Retrieval tasks of mteb by multi-vector models have the numbers of mteb's own wrapper, and other tasks refuse them."""

import json

import numpy as np
import pytest

pytest.importorskip("mteb")
pytest.importorskip("sentence_transformers")

import mteb
from mteb.mocks import mock_tasks
from mteb.models import MultiVectorWrapper
from mteb.similarity_functions import max_sim

from evals.encoders.sentence_transformers import SentenceTransformersEncoder
from evals.mteb_bridge.bridge import run_task
from evals.ranking.maxsim import maxsim
from evals.schema import ConfigError, Vectors
from evals.settings import Settings
from tests.test_mteb_bridge import BagEncoder, pytestmark, retrieval, sts, text_and_image
from tests.toys import MultiHashEncoder

__all__ = ["pytestmark"]

TEXTS = {
    "plain": lambda: retrieval("Several"),
    "graded": lambda: retrieval("SeveralGraded", docs=120, grades=3),
    "reranking": lambda: retrieval("SeveralReranked", ranked=True),
}


def settings(tmp_path) -> Settings:
    return Settings(store=tmp_path / "store", results=tmp_path / "runs")


def by_mteb(task, folder) -> dict:
    """The scores of the library's model in mteb's own wrapper."""
    from sentence_transformers import MultiVectorEncoder

    library = MultiVectorEncoder(str(folder), device="cpu")
    wrapper = MultiVectorWrapper(library)
    wrapper.mteb_model_meta.modalities = list(library.modalities)
    result = mteb.evaluate(wrapper, task, cache=None, co2_tracker=False, show_progress_bar=False)
    return result.task_results[0].scores


def by_us(task, folder, tmp_path) -> tuple[dict, dict]:
    """mteb's JSON beside our record, and the manifest."""
    encoder = SentenceTransformersEncoder(name="toy", spec=str(folder), device="cpu")
    outcome = run_task(task, encoder, [encoder.dim], settings(tmp_path))
    result = json.loads(next(outcome.path.rglob("task_result.json")).read_text())
    return result["scores"], json.loads((outcome.path / "manifest.json").read_text())


def assert_same(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for split, entries in theirs.items():
        for our_entry, entry in zip(ours[split], entries, strict=True):
            for name, value in entry.items():
                # The file has six digits; nAUC is made of scores, which are float32 in mteb.
                within = 1e-4 if "nauc" in name else 5.1e-7
                if isinstance(value, float):
                    assert our_entry[name] == pytest.approx(value, abs=within, nan_ok=True), name
                else:
                    assert our_entry[name] == value, name


@pytest.mark.parametrize("name", list(TEXTS))
def test_every_metric_is_that_of_mtebs_wrapper(name, several_model, tmp_path):
    ours, manifest = by_us(TEXTS[name](), several_model, tmp_path)
    assert_same(ours, by_mteb(TEXTS[name](), several_model))
    assert manifest["encoder"]["fingerprint"]["layout"] == "multi-vector"


def test_pages_of_a_mock_task_have_mtebs_numbers(pali_model, tmp_path):
    mock = mock_tasks.retrieval.MockAny2AnyRetrievalT2ITask
    ours, manifest = by_us(mock(), pali_model, tmp_path)
    assert_same(ours, by_mteb(mock(), pali_model))
    assert manifest["encoded"]["image"] > 0
    _, again = by_us(mock(), pali_model, tmp_path)
    assert again["encoded"] == {"image": 0, "text": 0}


def test_scores_are_mtebs_own_max_sim():
    rng = np.random.default_rng(0)
    # Not negative: mteb pads shorter documents with zeros, and a maximum below 0 becomes 0 there.
    queries, docs = (
        [rng.random((size, 16), dtype=np.float32) for size in sizes]
        for sizes in ((3, 1, 7), (9, 2, 30, 4))
    )
    expected = max_sim(queries, docs).numpy()
    scores = maxsim(Vectors.of(queries, 16), Vectors.of(docs, 16))
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_tasks_that_need_one_row_refuse_before_anything_is_embedded(tmp_path):
    encoder = MultiHashEncoder()
    for task in (sts(), mock_tasks.MockClassificationTask()):
        with pytest.raises(ConfigError, match="multi gives several vectors per item"):
            run_task(task, encoder, [8], settings(tmp_path))
    with pytest.raises(ConfigError, match="not cut to fewer"):
        run_task(retrieval("Cut"), encoder, [4], settings(tmp_path))
    assert encoder.calls == []


@pytest.mark.parametrize(
    "task", [text_and_image, mock_tasks.retrieval.MockMultiChoiceTask], ids=["documents", "queries"]
)
def test_a_text_and_an_image_in_one_have_mtebs_numbers(task, reader_model, tmp_path):
    ours, manifest = by_us(task(), reader_model, tmp_path)
    assert_same(ours, by_mteb(task(), reader_model))
    assert manifest["encoded"]["text+image"] > 0
    _, again = by_us(task(), reader_model, tmp_path)
    assert set(again["encoded"].values()) == {0}


def test_a_text_and_an_image_in_one_are_refused_by_models_that_read_either(pali_model, tmp_path):
    with pytest.raises(ConfigError, match="no item that has both"):
        by_us(text_and_image(), pali_model, tmp_path)


def test_one_row_per_item_goes_another_way(tmp_path):
    outcome = run_task(retrieval("Rows"), BagEncoder(), [64], settings(tmp_path))
    assert outcome.scores
