"""Every metric that lies within bounds is held to them, ours and mteb's, as a mean and for each query."""

import numpy as np
import pytest

from evals.ranking.metric_table import MEASURES
from evals.ranking.ranges import CORRELATION, SHARE, Range, range_of
from evals.records.record import read_run
from evals.regress.sanity import faults
from tests import records


def test_each_share_of_ours_has_bounds_and_a_rank_has_none():
    bounds = {"share": SHARE, "correlation": CORRELATION, "rank": None}
    for measure in MEASURES:
        assert range_of(measure.name) == bounds[measure.unit]
    assert range_of("R@20") == range_of("acc@3") == SHARE


@pytest.mark.parametrize(
    ("names", "bounds"),
    [
        ("ndcg_at_10 map_at_1000 recall_at_1 precision_at_5 mrr_at_3 hit_rate_at_100", SHARE),
        ("accuracy f1 f1_weighted ap ap_weighted precision recall_weighted lrap hamming", SHARE),
        ("cosine_accuracy dot_f1 max_ap manhattan_precision similarity_recall", SHARE),
        ("v_measure nmi cluster_accuracy image_acc text_acc", SHARE),
        ("cosine_spearman spearman euclidean_pearson kendalltau ari ami p-MRR", CORRELATION),
        ("nauc_ndcg_at_10_max nauc_precision_at_1_diff1", Range(-np.inf, 1)),
        ("cosine_accuracy_threshold mae mse r2 v_measure_std whatever R recall_at_", None),
    ],
)
def test_a_name_of_mteb_has_the_range_of_its_family(names, bounds):
    for name in names.split():
        assert range_of(name) == bounds, name


def test_what_is_outside_is_found_to_rounding_and_nan_is_outside():
    values = np.array([0.0, 1.0, 1 + 1e-12, -1e-12, 1.001, -0.001, np.nan, np.inf])
    assert SHARE.outside(values).tolist() == [4, 5, 6, 7]
    assert Range(-np.inf, 1).outside(np.array([-1e9, 1.1])).tolist() == [1]


@pytest.mark.filterwarnings("ignore")
def test_every_metric_of_mtebs_mock_tasks_is_within_its_range():
    pytest.importorskip("mteb")
    from tests.test_mteb_bridge import TASKS, plainly

    bounded = 0
    for name in ("ties", "graded", "sts", "reranking", "classification", "clustering"):
        for scores in plainly(TASKS[name]()).values():
            for key, value in scores.items():
                bounds = range_of(key)
                if bounds is None or not isinstance(value, float) or np.isnan(value):
                    continue
                bounded += 1
                assert not bounds.outside(np.array([value])).size, (name, key, value)
    assert bounded > 100


@pytest.mark.parametrize(
    ("metric", "per_query", "fault"),
    [
        ("ndcg_at_10", [1.0, 1.29, 1.58], "ndcg_at_10 is 1.29, outside of [0, 1]"),
        ("ndcg_at_10", [0.0, 0.5, 1.58], "ndcg_at_10 of query q2 is 1.58, outside of [0, 1]"),
        ("recall_at_1", [0.0, -0.5, 0.5], "recall_at_1 of query q1 is -0.5, outside of [0, 1]"),
        ("ndcg_at_10", [0.0, 0.5, 1.0], None),
    ],
)
def test_the_sanity_gate_holds_a_record_of_mteb_to_them(metric, per_query, fault, tmp_path):
    line = records.line(metric, float(np.mean(per_query)), direction="test", n_queries=3)
    table = records.values(3, value=per_query)
    path = records.write(tmp_path, [line], table, mteb={"query_metric": metric})
    sentences = faults(read_run(path))
    if fault is None:
        assert sentences == []
    else:
        assert any(fault in sentence for sentence in sentences)


def test_the_sanity_gate_holds_a_correlation_to_its_bounds(tmp_path):
    line = records.line("cosine_spearman", 1.5, direction="test", n_queries=3)
    table = records.values(3, score=[0.1, 0.2, 0.3], gold=[0.1, 0.2, 0.3])
    path = records.write(tmp_path, [line], table, mteb={"query_metric": None})
    assert "cosine_spearman is 1.5, outside of [-1, 1]" in faults(read_run(path))[0]
