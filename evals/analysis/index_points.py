"""What is measured of an index, and the arithmetic of it: hits, losses that add up, the Pareto front.

Shapes: q queries.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from evals.analysis.index_engines import Places
from evals.records.record import Run
from evals.stats.bootstrap import Interval


class Point(NamedTuple):
    """An index at one width and search parameter, measured.

    `recall` is the task's, `neighbours` the share of the exact k nearest documents that it finds.
    The three losses add up to 1 - `recall`; `loss_interval` is of the index's. Bytes are those of
    the whole index, centroids and graph included, per document `bytes_per_doc`.
    """

    name: str
    dim: int
    parameter: str | None
    value: int | None
    recall: float
    neighbours: float
    lost_to_embedding: float
    lost_to_dims: float
    lost_to_index: float
    loss_interval: Interval | None
    bytes: int
    bytes_per_doc: float
    build_seconds: float
    queries_per_second: float
    front: bool = False

    @property
    def label(self) -> str:
        """`hnsw@256 efSearch 64`."""
        varied = "" if self.value is None else f" {self.parameter} {self.value}"
        return f"{self.name}@{self.dim}{varied}"


class Quality(NamedTuple):
    """All points of a record's subset and direction, and in how many queries search and record differ.

    `unlike` counts queries whose exact search finds another hit than the record has, ties left
    out: none, where rows and record belong together. `left_out` has, by `name@width`, why this machine
    cannot build an index.
    """

    run: Run
    subset: str
    direction: str
    metric: str
    k: int
    queries: int
    docs: int
    threads: int
    unlike: int
    points: list[Point]
    left_out: Mapping[str, str]


def names_left_out(quality: Quality) -> dict[str, list[str]]:
    """The indexes that were left out for each reason, with their width where another was measured."""
    measured = {point.name for point in quality.points}
    by_reason: dict[str, list[str]] = {}
    for label, reason in quality.left_out.items():
        name = label.rpartition("@")[0]
        shown = label if name in measured else name
        names = by_reason.setdefault(reason, [])
        if shown not in names:
            names.append(shown)
    return by_reason


def smallest(quality: Quality, share: float) -> Point | None:
    """The index of fewest bytes that keeps this share of exact search's recall at full width; of two the faster.

    The worst end of the interval of the index's loss counts. What fewer dimensions lose counts as it
    was measured, and each interval is by itself: of many indexes, the one named may be a lucky one.
    """
    keeping = [point for point in quality.points if _worst(point) >= share * exact_recall(point)]
    order = sorted(keeping, key=lambda point: (point.bytes, -point.queries_per_second))
    return order[0] if order else None


def exact_recall(point: Point) -> float:
    """What exact search at full width finds."""
    return 1 - point.lost_to_embedding


def _worst(point: Point) -> float:
    """The recall at the worst end of the interval of its loss; 0 without an interval, which shows nothing."""
    if point.loss_interval is None:
        return 0.0
    return exact_recall(point) - point.lost_to_dims - point.loss_interval.high


def with_losses(point: Point, full: np.ndarray, exact: np.ndarray) -> Point:
    at_full, at_dim = float(full.mean()), float(exact.mean())
    return point._replace(
        lost_to_embedding=1 - at_full,
        lost_to_dims=at_full - at_dim,
        lost_to_index=at_dim - point.recall,
    )


def hits_of(places: Places, relevant: Sequence[np.ndarray]) -> Float64[np.ndarray, "q"]:
    """1 for each query with a relevant document among those found, else 0."""
    n_queries = len(relevant)
    # An image may have five captions: each pair is looked for, and one is enough.
    query_of_pair = np.repeat(np.arange(n_queries), [len(docs) for docs in relevant])
    pairs = np.concatenate(relevant)
    is_there = (places[query_of_pair] == pairs[:, None]).any(axis=1)
    hits = np.zeros(n_queries)
    np.maximum.at(hits, query_of_pair, is_there.astype(np.float64))
    return hits


def overlap(places: Places, nearest: Places) -> float:
    """The share of the exact nearest documents that were found."""
    shared = (places[:, :, None] == nearest[:, None, :]).any(axis=1)
    return float(shared.mean())


def with_front(points: Sequence[Point]) -> list[Point]:
    """Marks the Pareto front: no other point has as much recall and speed in as few bytes."""
    marked = []
    for point in points:
        beaten = any(_dominates(rival, point) for rival in points)
        marked.append(point._replace(front=not beaten))
    return marked


def _dominates(rival: Point, point: Point) -> bool:
    """Whether a rival is nowhere worse and somewhere better."""
    a = (rival.recall, rival.queries_per_second, -rival.bytes)
    b = (point.recall, point.queries_per_second, -point.bytes)
    return all(x >= y for x, y in zip(a, b, strict=True)) and a != b
