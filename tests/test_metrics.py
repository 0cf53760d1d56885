"""The metrics of each query, in which ties count in expectation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.ranking import metrics
from evals.ranking.definition import ranks
from evals.ranking.metric_table import of_queries
from evals.ranking.metrics import expected_rank, hit_at, mean, reciprocal_rank
from evals.ranking.relevance import Relevant
from tests.ranking import ndcg_of, ranks_of, rows

# ties in expectation


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_metric_is_its_mean_over_all_orders_of_the_ties(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    scores = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    own = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1)))
    out = ranks(
        rows([1]), rows(*[[s] for s in scores]), Relevant(np.array([0, len(own)]), np.array(own))
    )
    orders = [
        [doc in own for doc in order]
        for order in itertools.permutations(range(n))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    first = np.array([order.index(True) + 1 for order in orders])
    for k in range(1, n + 2):
        assert hit_at(out, k)[0] == pytest.approx(np.mean(first <= k), abs=1e-12)
    assert expected_rank(out)[0] == pytest.approx(first.mean(), abs=1e-12)
    assert reciprocal_rank(out)[0] == pytest.approx((1 / first).mean(), abs=1e-12)
    assert out.ndcg10[0] == pytest.approx(np.mean([ndcg_of(order) for order in orders]), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 6)), min_size=1, max_size=5
    )
)
def test_recall_grows_with_k_to_one(cases: list[tuple[int, int, int]]) -> None:
    out = ranks_of(*map(list, zip(*cases, strict=True)))
    curve = np.array([hit_at(out, k) for k in range(1, 62)])
    assert (np.diff(curve, axis=0) >= -1e-15).all()
    assert (curve >= 0).all() and (curve[-1] == 1).all()


def test_huge_tie_groups_neither_overflow_nor_lose_precision() -> None:
    out = ranks_of([0, 3, 0], [24_999, 5_000_000, 10**6], [1, 5, 100])
    assert hit_at(out, 10) == pytest.approx(
        [10 / 25_000, 1 - (1 - 5 / 5_000_005) ** 7, 1 - (1 - 1e-4) ** 10], rel=1e-3
    )
    assert reciprocal_rank(out)[0] == pytest.approx(
        sum(1 / i for i in range(1, 25_001)) / 25_000, rel=1e-12
    )


def test_the_random_order_of_ties_is_the_one_that_hypergeometry_has() -> None:
    out = ranks_of([2], [7], [3])  # P(hit@4) = 1 - C(7,2)/C(10,2) = 1 - 21/45
    assert hit_at(out, 4)[0] == pytest.approx(24 / 45, abs=1e-15)
    assert hit_at(out, 2)[0] == 0.0


# summaries


def test_summaries_of_ranks_by_hand() -> None:
    out = ranks_of([0, 4, 1, 0], [0, 0, 1, 2], [1, 1, 1, 1])  # ranks 1, 5, 2.5, 2
    assert metrics.median_rank(out) == 2.25
    assert metrics.mean_rank(out) == 2.625
    assert metrics.tie_rate(out) == 0.5
    assert list(of_queries(out)) == ["R@1", "R@5", "R@10", "MRR", "nDCG@10"]
    assert hit_at(out, 3).tolist() == [1.0, 0.0, 1.0, 1.0]


def test_the_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no queries"):
        mean(np.zeros(0))


def test_importing_metrics_loads_no_torch() -> None:
    import subprocess
    import sys

    modules = "evals.ranking.metrics, evals.stats.bootstrap, evals.records.record"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
