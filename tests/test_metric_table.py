"""The table of metrics: each row by hand on four queries, and who asks it."""

import numpy as np
import pytest

from evals.config.suites import Average
from evals.ranking.definition import Ranks
from evals.ranking.metric_table import (
    MEASURES,
    RANKS,
    graded_measure,
    is_metric,
    of_queries,
    of_ranks,
    per_query_function,
    primary,
    shown,
    swept,
)

# the best relevant document is first, third, second of two equals, and twelfth
FOUR = Ranks(
    better=np.array([0, 2, 0, 11]),
    tied=np.array([0, 0, 1, 0]),
    tied_relevant=np.ones(4, dtype=np.int64),
    score=np.zeros(4, dtype=np.float32),
    ndcg10=np.array([1.0, 0.5, 0.8, 0.0]),
)


def test_each_row_by_hand():
    values = {name: column.tolist() for name, column in of_queries(FOUR).items()}
    assert values == {
        "R@1": [1, 0, 0.5, 0],
        "R@5": [1, 1, 1, 0],
        "R@10": [1, 1, 1, 0],
        "MRR": [1, pytest.approx(1 / 3), 0.75, pytest.approx(1 / 12)],
        "nDCG@10": [1, 0.5, 0.8, 0],
    }
    assert of_ranks(FOUR) == {"median_rank": 2.25, "mean_rank": (1 + 3 + 1.5 + 12) / 4}
    assert list(of_queries(FOUR, "classification")) == ["acc@1", "acc@5"]


def test_who_shows_what():
    recalls = ("nDCG@10", "MRR", "R@1", "R@5", "R@10", "mean_rank")
    assert primary(recalls) == swept(recalls) == ("R@1", "R@5")
    assert primary(("acc@5", "acc@1")) == ("acc@1",)
    assert swept(("acc@5", "acc@1")) == ("acc@1", "acc@5")
    assert primary(("mAP",)) == () and swept(("mAP",)) == ("mAP",)
    graded = ("Recall@100", "nDCG@10", "MAP", "P@10")
    assert primary(graded) == ("nDCG@10",)
    assert swept(graded) == ("nDCG@10", "MAP", "Recall@100")
    assert primary(("spearman",)) == ("spearman",)
    assert shown("retrieval") == ("R@1", "R@5", "R@10")
    assert shown("graded") == ("nDCG@10", "MAP", "Recall@100", "RR@10")
    assert RANKS == ("median_rank", "mean_rank")


def test_a_name_stands_for_one_row_that_says_how_it_is_computed_or_that_its_task_does():
    names = [(measure.task, measure.name) for measure in MEASURES]
    assert len(set(names)) == len(names)
    for measure in MEASURES:
        assert measure.of_queries is None or measure.of_ranks is None, measure.name


def test_recall_of_any_depth_follows_from_recorded_ranks():
    function = per_query_function("R@12")
    assert function is not None and function(FOUR).tolist() == [1, 1, 1, 1]
    assert per_query_function("R@0") is per_query_function("median_rank") is None
    assert not is_metric("R@12")


def test_a_measure_of_graded_judgements_has_any_cut_off_that_means_something():
    assert graded_measure("nDCG@7").task == graded_measure("MAP").task == "graded"
    for name in ("R@5", "Recall", "P", "nDCG@0", "nDCG@", "bpref"):
        with pytest.raises(ValueError, match="no such measure; there is nDCG"):
            graded_measure(name)


def test_a_suite_may_average_a_metric_of_the_table_and_no_other():
    members = ["scenes/en"]
    assert Average(metric="acc@5", of=members).metric == "acc@5"
    with pytest.raises(ValueError, match=r"no such metric; there is R@1, R@5"):
        Average(metric="R@7", of=members)
