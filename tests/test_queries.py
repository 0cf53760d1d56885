"""Per-query values equal the record's metrics, and the newest record is the one that is meant."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.records.queries import Cell, cell_name, per_query
from evals.records.record import MetricLine, read_run
from evals.records.selection import newest, newest_run
from evals.schema import InvalidError, MissingError
from tests import records

RANKS = {"better": [0, 1, 5], "tied": [0, 1, 0], "tied_relevant": [1, 1, 1]}


def record(
    root: Path,
    columns: dict[str, Any],
    metrics: list[MetricLine],
    direction: str = "t2i",
    **manifest: Any,
) -> Path:
    ids = {"query_id": ["a", "b", "c"], "group_id": ["1", "1", "2"]}
    table = records.values(3, **{"direction": direction, **ids, **columns})
    return records.write(root, metrics, table, **manifest)


def ranked(root: Path, metrics: list[MetricLine], **more: Any) -> Path:
    return record(root, RANKS | {"score": [0.0] * 3, "ndcg10": [1.0, 0.5, 0.25]}, metrics, **more)


def test_ranks_become_the_metrics_that_the_record_has(tmp_path: Path) -> None:
    run = read_run(
        ranked(
            tmp_path, [records.line(name) for name in ("R@1", "R@2", "MRR", "nDCG@10", "mean_rank")]
        )
    )
    (cell, found), *more = per_query(run).items()
    assert not more and cell == Cell("en", "t2i", 8, "float32")
    assert (found.ids, found.groups) == (["a", "b", "c"], ["1", "1", "2"])
    assert {name: values.tolist() for name, values in found.values.items()} == {
        "R@1": [1, 0, 0],
        "R@2": [1, 0.5, 0],  # second or third with equal chance
        "MRR": pytest.approx([1, (1 / 2 + 1 / 3) / 2, 1 / 6]),
        "nDCG@10": [1, 0.5, 0.25],
    }


def test_accuracy_is_a_hit_among_the_first_k_classes(tmp_path: Path) -> None:
    run = read_run(
        ranked(
            tmp_path,
            [records.line(name, direction="") for name in ("acc@1", "mean_per_class_recall")],
            direction="",
        )
    )
    (found,) = per_query(run).values()
    assert {name: values.tolist() for name, values in found.values.items()} == {"acc@1": [1, 0, 0]}


def test_values_of_mteb_have_the_name_that_the_manifest_gives(tmp_path: Path) -> None:
    path = record(
        tmp_path,
        {"value": [0.25, 0.5, 1.0]},
        [records.line("ndcg_at_10", direction="test")],
        direction="test",
        mteb={"query_metric": "ndcg_at_10"},
    )
    (found,) = per_query(read_run(path)).values()
    assert found.values["ndcg_at_10"].tolist() == [0.25, 0.5, 1.0] and found.pairs is None


def test_pairs_have_scores_and_no_values(tmp_path: Path) -> None:
    path = record(
        tmp_path,
        {"score": [0.1, 0.2, 0.3], "gold": [0.0, 1.0, 0.5]},
        [records.line("cosine_spearman", direction="test")],
        direction="test",
    )
    (found,) = per_query(read_run(path)).values()
    assert found.values == {} and found.pairs is not None
    assert found.pairs.gold.tolist() == [0.0, 1.0, 0.5]


def test_a_record_with_other_columns_or_a_query_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="neither ranks, values nor scores"):
        per_query(read_run(record(tmp_path, {"other": [0.0] * 3}, [records.line()])))
    with pytest.raises(InvalidError, match="en t2i, dim 8 has a query twice"):
        per_query(read_run(_twice(tmp_path)))


def _twice(root: Path) -> Path:
    return record(
        root,
        RANKS | {"score": [0.0] * 3, "ndcg10": [0.0] * 3, "query_id": ["a", "b", "a"]},
        [records.line()],
    )


def test_the_values_of_a_real_record_average_to_its_metrics(scenes_run: Path) -> None:
    run = read_run(scenes_run)
    found = per_query(run)
    for one in run.metrics:
        values = found[Cell(one.subset, one.direction, one.dim, one.precision)].values
        if one.name in values:
            assert np.mean(values[one.name]) == pytest.approx(one.value, abs=1e-12)
    assert {name for part in found.values() for name in part.values} == {
        "R@1",
        "R@5",
        "R@10",
        "MRR",
        "nDCG@10",
    }


def test_a_cell_is_told_in_words() -> None:
    assert cell_name(Cell("en", "t2i", 64, "float32")) == "en t2i, dim 64"
    assert cell_name(Cell("en", "", 64, "int8")) == "en, dim 64 int8"


def test_the_newest_record_is_the_last_written(tmp_path: Path) -> None:
    paths = [ranked(tmp_path, [records.line()]) for _ in range(2)]
    other = ranked(tmp_path, [], model="org/other")
    assert newest(tmp_path) == {("toy", "m"): max(paths), ("toy", "org/other"): other}
    assert newest_run(tmp_path, "toy", "m").path == max(paths)
    (max(paths) / "manifest.json").unlink()
    assert newest_run(tmp_path, "toy", "m").path == min(paths)


def test_a_record_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    ranked(tmp_path, [])
    with pytest.raises(MissingError, match=r"no complete record of toy by n\. There is toy by m\."):
        newest_run(tmp_path, "toy", "n")
    with pytest.raises(MissingError, match=r"toyz by m\..* Did you mean toy\?$"):
        newest_run(tmp_path, "toyz", "m")
    with pytest.raises(MissingError, match="none at all"):
        newest_run(tmp_path / "empty", "toy", "m")
