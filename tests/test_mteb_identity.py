"""What a record of an mteb task is called, and which of its numbers have an interval."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("mteb")


from evals.mteb_bridge.tasks import benchmark_key, choose
from tests.test_mteb_bridge import (
    best_pair_scores,
    measure,
    pytestmark,  # noqa: F401 - mteb's warnings
    retrieval,
    sts,
)


def judged_by(task: Any, main_score: str) -> Any:
    task.metadata = task.metadata.model_copy(update={"main_score": main_score})
    return task


def test_a_task_judged_by_pearsons_correlation_has_no_interval_of_spearmans(tmp_path):
    score = measure(judged_by(sts(), "cosine_pearson"), tmp_path).scores[0]
    assert score.interval is None
    assert measure(sts(), tmp_path).scores[0].interval is not None


def test_a_main_score_that_is_no_mean_over_queries_has_no_interval(tmp_path):
    task = retrieval("Own", judged=0, task_specific_scores=best_pair_scores)
    assert measure(judged_by(task, "mean_best"), tmp_path).scores[0].interval is None
    assert measure(retrieval("Own", judged=0), tmp_path).scores[0].interval is not None


def toy(*, splits: list[str], subsets: list[str]) -> Any:
    """A task of two splits and three subsets, limited to these."""
    about = SimpleNamespace(name="Toy", eval_splits=["dev", "test"], hf_subsets=["en", "de", "fr"])
    return SimpleNamespace(
        metadata=about, is_aggregate=False, eval_splits=splits, hf_subsets=subsets
    )


@pytest.mark.parametrize(
    ("splits", "subsets", "key"),
    [
        (["dev", "test"], ["en", "de", "fr"], "mteb.Toy"),
        (["test", "dev"], ["fr", "de", "en"], "mteb.Toy"),
        (["dev"], ["en", "de", "fr"], "mteb.Toy.dev"),
        (["train"], ["en", "de", "fr"], "mteb.Toy.train"),
        (["dev"], ["de"], "mteb.Toy.dev.partial"),
    ],
)
def test_a_part_of_a_task_is_not_called_the_whole(splits, subsets, key):
    assert benchmark_key(toy(splits=splits, subsets=subsets)) == key


def test_the_order_of_subsets_is_the_tasks():
    task = toy(splits=["dev", "test"], subsets=["en", "de", "fr"])
    choose(task, None, ["fr", "en"])
    assert task.hf_subsets == ["en", "fr"]
