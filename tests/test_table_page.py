"""Tables as pages for people: what all rows share stands once, scores have units and intervals, and nothing is blank."""

import re
from html import unescape
from typing import Any

from evals.views.table_page import table_page

LINE = {"benchmark": "toy", "record": "results/runs/toy/tiny/20261129", "direction": "t2i"}


def metric(name: str, value: float, **fields: Any) -> dict[str, Any]:
    low, high = (value - 0.1, value + 0.1) if name != "mean_rank" else (None, None)
    scores = {"metric": name, "k": None, "value": value, "ci_low": low, "ci_high": high}
    return LINE | scores | {"n_queries": 1000, "tie_rate": 0.0} | fields


def read(html: str) -> tuple[str, list[list[list[str]]]]:
    """What stands above the tables, and the cells of each table, heads first."""
    body = html.partition("<main>")[2]
    above = body.partition("<table>")[0]
    tables = []
    for table in re.findall(r"<table>(.*?)</table>", body, re.DOTALL):
        rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        tables.append([[_text(cell) for cell in re.split(r"</t[hd]>", row)[:-1]] for row in rows])
    return _text(above), tables


def _text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def test_a_result_is_a_line_with_a_column_per_metric_in_its_unit() -> None:
    rows = [
        metric(name, value, k=k, dim=dim)
        for dim in (256, 64)
        for name, k, value in (("R", 1, 0.5), ("R", 10, 0.75), ("mean_rank", None, 2.25))
    ]
    above, [[heads, *lines]] = read(table_page(rows, "Results"))
    assert heads == ["R@1, %", "R@10, %", "mean rank", "queries with ties, %", "dimensions"]
    assert lines[0] == ["50.00 [40.00, 60.00]", "75.00 [65.00, 85.00]", "2.25", "0.00", "256"]
    assert [line[-1] for line in lines] == ["256", "64"]
    # What is the same in all lines stands once, the long path of the record too.
    assert "toy" in above and LINE["record"] in above and "1,000" in above


def test_what_has_more_values_of_a_metric_keeps_a_line_per_metric() -> None:
    rows = [metric("R@1", 0.5, kept=1.0), metric("R@5", 0.9, kept=1.0)]
    _, [[heads, *lines]] = read(table_page(rows, "Sweep"))
    assert heads == ["metric", "value, %", "queries with ties, %", "kept, %"]
    assert [line[0] for line in lines] == ["R@1", "R@5"]


def test_the_interval_is_the_differences_where_there_is_one() -> None:
    change = {"metric": "R@1", "old": 0.5, "new": 0.48, "difference": -0.02, "p": 0.0004}
    ends = {"ci_low": -0.031, "ci_high": -0.009}
    _, [[heads, line]] = read(table_page([change | ends], "Gate"))
    assert heads == ["metric", "baseline, %", "this run, %", "difference, points", "p"]
    assert line == ["R@1", "50.00", "48.00", "-2.00 [-3.10, -0.90]", "<0.001"]


def test_a_column_of_scores_and_ranks_names_no_unit() -> None:
    rows = [
        {"metric": "R@1", "old": 0.5, "new": 0.5},
        {"metric": "mean_rank", "old": 2.065, "new": 2.1},
    ]
    _, [[heads, recall, rank]] = read(table_page(rows, "Gate"))
    assert heads == ["metric", "baseline", "this run"]
    assert (recall[1:], rank[1:]) == (["50.00", "50.00"], ["2.065", "2.1"])


def test_rows_of_several_tables_leave_no_cell_blank() -> None:
    rows: list[dict[str, Any]] = [
        {"table": "images", "benchmark": "toy", "tiles": 1500},
        {"table": "storage", "dim": 1024, "bytes_per_vector": 4096, "rule": None},
    ]
    html = table_page(rows, "Costs", ["A note."])
    _, [images, storage] = read(html)
    assert images == [["benchmark", "tiles"], ["toy", "1,500"]]
    assert storage == [["dimensions", "bytes per vector"], ["1024", "4,096"]]
    assert re.findall(r"<h2>(.*?)</h2>", html) == ["images", "storage"]
    assert "A note." in html


def test_boxes_that_scroll_are_reached_by_the_keyboard_and_have_a_name() -> None:
    html = table_page([{"a": "b"}], "Title")
    assert '<div class="wide" tabindex="0" role="region" aria-label="Table: Title">' in html
