"""Two models under one name are never one line or one pair; a record counts only in its own place and time."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import evals
from evals.dashboard.history import read_history
from evals.dashboard.pages import overview, trends
from evals.dashboard.pairs import compare as compare_page
from evals.export.forms import export
from evals.records.identity import ModelIdentity, labels
from evals.records.record import read_run
from evals.records.selection import matched, newest_of_each, newest_run, operand
from evals.schema import ConfigError, InvalidError, NotComparableError
from tests import records
from tests.commands import run as command

OLD, NEW = "a" * 64, "b" * 64


def written(root: Path, weights: str, day: int, *, dims=(8,), **fields: Any) -> Path:
    """A record of `mine` with these weights."""
    columns: dict[str, list[Any]] = {}
    for dim in dims:
        for name, column in records.queries(20, dim=dim).items():
            columns.setdefault(name, []).extend(column)
    lines = [records.line("R@1", 1.0, dim=dim) for dim in dims]
    about = {"model": "mine", "encoder": records.encoder("mine", weights=weights)} | fields
    return records.write(root, lines, columns, day=day, **about)


def rows(page: Any, table: str) -> list[dict[str, Any]]:
    (rows,) = [each.rows for each in page.tables if each.id == table]
    return list(rows)


def test_a_name_of_two_models_is_followed_by_their_weights():
    one, two = ModelIdentity("m", weights=OLD), ModelIdentity("m", weights=NEW)
    server = ModelIdentity("m", url="http://x#1")
    names = labels([one, two, server, ModelIdentity("n", weights=OLD)])
    assert names["m", one.key] == "m (aaaaaaaa)" and names["m", two.key] == "m (bbbbbbbb)"
    assert names["m", server.key] == "m (http://x#1)"
    assert names["n", one.key] == "n"


def test_two_models_of_one_name_are_two_lines_of_the_site_and_a_pair(tmp_path):
    written(tmp_path, OLD, 1)
    written(tmp_path, OLD, 2)
    written(tmp_path, NEW, 3)
    history = read_history(tmp_path)
    newest = rows(overview(history, {("toy", "mine"): "passed"}), "newest")
    assert {(row["model"], len(row["past"])) for row in newest} == {
        ("mine (aaaaaaaa)", 2),
        ("mine (bbbbbbbb)", 1),
    }
    # the gate judged the newest run of the name, and not the older model
    judged = {row["model"]: row["verdict"] for row in newest}
    assert judged == {"mine (aaaaaaaa)": "no baseline", "mine (bbbbbbbb)": "passed"}
    assert len({row["model"] for row in rows(trends(history), "points")}) == 2
    (pair,) = {(row["a"], row["b"]) for row in rows(compare_page(history), "differences")}
    assert pair == ("mine (aaaaaaaa)", "mine (bbbbbbbb)")


def test_checkpoints_of_one_name_are_one_trend_that_marks_each_change(tmp_path):
    for day, weights in enumerate([OLD, OLD, NEW, "c" * 64], start=1):
        written(tmp_path, weights, day)
    page = trends(read_history(tmp_path))
    assert {row["name"] for row in rows(page, "points")} == {"mine"}
    marks = [(row["model"], row["date"][:10], row["change"]) for row in rows(page, "changes")]
    assert marks == [
        ("mine (bbbbbbbb)", "2026-01-03", "checkpoint aaaaaaaa → bbbbbbbb"),
        ("mine (cccccccc)", "2026-01-04", "checkpoint bbbbbbbb → cccccccc"),
    ]
    # The full line is the model's; that of the name is dashed, so that none looks like another.
    lines = [layer for layer in page.charts[0].spec["layer"] if layer["mark"]["type"] == "line"]
    details = {
        "strokeDash" in line["mark"]: [
            field["field"] for field in listed(line["encoding"]["detail"])
        ]
        for line in lines
    }
    assert details == {True: ["data"], False: ["data", "model"]}
    assert all(line["encoding"]["color"]["field"] == "name" for line in lines)


def listed(detail: Any) -> list[Any]:
    return detail if isinstance(detail, list) else [detail]


def test_a_dimension_of_older_weights_is_not_that_of_the_model(tmp_path):
    written(tmp_path, OLD, 1, dims=(8, 4))
    assert matched(operand("mine"), operand("mine@4"), tmp_path)
    written(tmp_path, NEW, 2)
    with pytest.raises(
        ConfigError, match=r"mine@4: no record of toy was scored at that; there is @8"
    ):
        matched(operand("mine"), operand("mine@4"), tmp_path)


def test_a_side_that_is_two_models_is_not_compared(tmp_path):
    written(tmp_path, OLD, 1, benchmark="one")
    written(tmp_path, NEW, 2, benchmark="two")
    for benchmark in ("one", "two"):
        written(tmp_path, "c" * 64, 3, benchmark=benchmark, model="rival")
    with pytest.raises(NotComparableError, match=r"mine is two models: .*aaaa.* and .*bbbb"):
        matched(operand("mine"), operand("rival"), tmp_path)
    assert matched(operand("mine"), operand("rival"), tmp_path, ["two"])


def test_an_export_for_one_repository_refuses_two_models_of_one_name(tmp_path):
    runs = [read_run(written(tmp_path, weights, 1)) for weights in (OLD, NEW)]
    with pytest.raises(NotComparableError, match=r"weights aaaa.*weights bbbb"):
        export(runs, "hf")


def elsewhere(root: Path) -> str:
    path = written(root, OLD, 1)
    shutil.copytree(path, root / "toy" / "other" / path.name)
    return "by its manifest this record is toy/mine/"


def renamed(root: Path) -> str:
    path = written(root, OLD, 1)
    path.rename(path.with_name(f"2099{path.name[4:]}"))
    return "by its manifest this record is toy/mine/"


def from_the_future(root: Path) -> str:
    records.resigned(written(root, OLD, 1), written="2999-01-01T00:00:00Z")
    return "in the future"


READERS = {
    "newest of each": newest_of_each,
    "compare": lambda root: matched(operand("mine"), operand("other"), root),
    "front door": evals.list_runs,
}


@pytest.mark.parametrize("misplaced", [elsewhere, renamed, from_the_future])
@pytest.mark.parametrize("reader", READERS)
def test_a_record_out_of_place_or_time_is_refused_by_all_who_look_for_records(
    reader, misplaced, tmp_path
):
    message = misplaced(tmp_path)
    with pytest.raises(InvalidError, match=message):
        READERS[reader](tmp_path)


@pytest.mark.parametrize("misplaced", [renamed, from_the_future])
def test_it_is_no_newest_record_of_its_model_and_is_named_on_the_site(misplaced, tmp_path):
    message = misplaced(tmp_path)
    with pytest.raises(InvalidError, match=message):
        newest_run(tmp_path, "toy", "mine")
    history = read_history(tmp_path)
    assert not history.runs and message in history.broken[0].message


def test_json_names_a_part_as_the_manifest_does(tmp_path):
    done = command(
        "scenes", "--model", "tiny", "--limit", 4, "--subsets", "en", "--json", cwd=tmp_path
    )
    (run,) = json.loads(done.stdout)["runs"]
    manifest = json.loads((tmp_path / run["path"] / "manifest.json").read_text())
    assert run["benchmark"] == manifest["benchmark"] == "scenes.partial"
