"""Queries that share relevant documents are drawn together, in every path that has queries."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from evals.stats.clusters import components, query_clusters
from evals.stats.intervals import mean_intervals
from evals.tasks import fusion, image_text
from tests import toys


def test_queries_that_share_documents_by_way_of_others_are_one_cluster():
    #           q0          q1     q2          q3   q4     q5
    relevant = [["a", "b"], ["c"], ["b", "d"], [], ["d"], ["c"]]
    assert query_clusters(relevant).tolist() == [0, 1, 0, 3, 0, 1]


def test_queries_without_common_documents_are_clusters_by_themselves():
    assert query_clusters([["a"], ["b"], ["c", "d"]]).tolist() == [0, 1, 2]
    assert query_clusters([]).tolist() == []


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), edges_among(n))))
def test_components_are_scipys(graph):
    n, pairs = graph
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    matrix = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    labels = connected_components(matrix, directed=False)[1]
    smallest = [int(np.flatnonzero(labels == label)[0]) for label in labels]
    assert components(edges, n).tolist() == smallest


def edges_among(n: int) -> st.SearchStrategy:
    return st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=2 * n)


def shared_captions():
    """Eight captions of six images; captions 1, 6 and 7 describe a second or third image too.

    Of these images 0, 3 and 5 hang together, and 1 and 4.
    """
    data = toys.image_text([0, 0, 1, 2, 3, 4, 4, 5])
    return replace(data, also=np.array([[1, 3], [6, 1], [7, 3]]))


@pytest.fixture
def rows() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((n, 8)).astype(np.float32) for n in (6, 8)]


CLUSTERS = [0, 1, 2, 0, 1, 0]  # of the images


def test_images_that_share_captions_are_drawn_together(rows):
    t2i, i2t = image_text.score(rows, shared_captions(), dims=[8])
    assert list(i2t.group_ids) == [f"i{image}" for image in CLUSTERS]
    assert list(t2i.group_ids) == ["i0", "i0", "i1", "i2", "i0", "i1", "i1", "i0"]
    for scores in (t2i, i2t):
        groups = np.unique(np.array(scores.group_ids), return_inverse=True)[1]
        hits = {"R@1": (scores.columns["better"] == 0).astype(float)}
        assert scores.values["R@1"].interval == mean_intervals(hits, groups)["R@1"]


def test_an_image_is_the_cluster_where_captions_describe_one(rows):
    data = toys.image_text([1, 0, 0, 2, 3, 4, 5, 5])
    t2i, i2t = image_text.score(rows, data, dims=[8])
    assert list(t2i.group_ids) == ["i1", "i0", "i0", "i2", "i3", "i4", "i5", "i5"]
    assert list(i2t.group_ids) == list(data.images.ids)


def test_queries_of_merged_scores_are_drawn_with_those_of_the_same_documents(rows):
    data = replace(toys.image_text([0, 1, 2, 0, 1, 2, 1]), also=np.array([[4, 0], [2, 0]]))
    roles = fusion.roles(data)
    assert roles.queries.tolist() == [3, 4, 5, 6]
    # Caption 4 joins images 0 and 1. Caption 2 is the text of document 2 and no query: it joins none.
    assert roles.group.tolist() == [0, 0, 2, 0]
