"""A published table can be part of the gate: both ways off, deviating cells block, and nothing measured is never a pass."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from evals.regress.__main__ import app
from evals.regress.outputs import as_json, as_junit, as_markdown
from evals.regress.published import held_against
from evals.regress.verdict import Verdict
from evals.report.names import Place
from evals.schema import ConfigError
from tests.published_toys import write_record

TABLE = "v2post-coco"


def coco(root: Path, r5: float, model: str = "jina-clip-v2") -> Path:
    return write_record(root, "coco", model, {Place("coco", None, "en", "i2t", "R@5", None): r5})


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [(0.8153, "exact"), (0.8175, "reproduced"), (0.8100, "deviates"), (0.8200, "deviates")],
)
def test_a_cell_is_judged_on_both_sides(tmp_path, measured, verdict):
    coco(tmp_path, measured)
    [cell], problems = held_against([TABLE], tmp_path)
    assert (cell.table, cell.published, cell.verdict, problems) == (TABLE, 81.5, verdict, [])
    assert cell.difference == pytest.approx(100 * measured - 81.5)
    whole = Verdict("b", published=[cell])
    assert (whole.outcome, whole.exit_code) == (
        ("deviates", 1) if verdict == "deviates" else ("passed", 0)
    )


def test_a_table_of_which_nothing_was_measured_is_no_pass(tmp_path):
    cells, [problem] = held_against([TABLE], tmp_path)
    assert (cells, problem.kind, problem.benchmark) == ([], "missing", TABLE)
    assert Verdict("b", problems=[problem]).exit_code == 3


def test_another_model_can_stand_in(tmp_path):
    coco(tmp_path, 0.815, "mine")
    assert held_against([TABLE], tmp_path)[0] == []
    assert held_against([TABLE], tmp_path, {"jina-clip-v2": "mine"})[0][0].verdict == "exact"


def test_a_table_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No table 'v9'"):
        held_against(["v9"], tmp_path)


def test_every_output_names_a_deviating_cell(tmp_path):
    coco(tmp_path, 0.81)
    verdict = Verdict("b", published=held_against([TABLE], tmp_path)[0])
    [told] = as_json(verdict)["published"]
    assert (told["published"], told["measured"], told["verdict"]) == (81.5, 81.0, "deviates")
    assert "| 81.50 | 81.00 | -0.50 | 🔴 deviates |" in as_markdown(verdict)
    suite = ElementTree.fromstring(as_junit(verdict))  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "81 of" not in replace(verdict, published=[]).sentence()
    assert verdict.sentence().endswith("0 of 1 published cells reproduced")


def test_the_command_holds_both_against_the_runs(tmp_path):
    coco(tmp_path / "runs", 0.81)
    coco(tmp_path / "base", 0.81)
    options = [
        "--baseline",
        str(tmp_path / "base"),
        "--results",
        str(tmp_path / "runs"),
        "--published",
        TABLE,
        "--json",
    ]
    done = CliRunner().invoke(app, options)
    verdict = json.loads(done.stdout)
    assert [cell["verdict"] for cell in verdict["published"]] == ["deviates"]
    assert done.exit_code == verdict["exit_code"] != 0


def test_a_broken_record_leaves_the_baseline_its_verdict(tmp_path):
    (coco(tmp_path, 0.815) / "metrics.jsonl").write_text("changed\n")
    cells, [problem] = held_against([TABLE], tmp_path)
    assert (cells, problem.kind) == ([], "invalid")
    assert "metrics.jsonl" in problem.message


def test_runs_that_were_named_are_not_held_against_tables_of_others(tmp_path):
    run = coco(tmp_path, 0.815)
    options = ["--baseline", str(tmp_path), "--runs", str(run), "--published", TABLE]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 2
    assert "newest records below --results" in done.stderr
