"""The official mteb and MIEB records as tables of the report."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evals.report.__main__ import app
from evals.report.measured import Records
from evals.report.official import find_table, official_names, official_records
from evals.report.tables import table_names
from evals.report.verdicts import judge
from evals.schema import ConfigError
from tests.conftest import SHARED
from tests.published_toys import write_record

SOURCE = SHARED.parent / "published/mteb_official_results.csv"
# Official records have these, and mteb 2.26 evaluates other splits of the tasks.
OTHER_SPLITS = {
    ("SciFact", "train"),
    ("FiQA2018", "dev"),
    ("FiQA2018", "train"),
    ("MSMARCO", "test"),
    ("MSMARCO", "train"),
    ("QuoraRetrieval", "dev"),
}


def cell(name: str, label: str):
    return dict(find_table(name).cells)[label]


def test_every_official_record_is_one_cell_with_its_own_number():
    if not SOURCE.is_file():
        pytest.skip("the source is not on this machine")
    with SOURCE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    source = {
        (row["task"], row["split"], row["subset"], row["model"], row["model_revision"][:8]): row[
            "main_score"
        ]
        for row in rows
    }
    ours = {
        (line.task, line.split, line.subset, score.repo, score.commit): score.printed
        for lines in official_records().tables.values()
        for line in lines
        for score in line.scores.values()
    }
    assert len(rows) == 3592 and ours == source
    assert sum(len(list(find_table(name).cells)) for name in official_names()) == 3592


def test_the_jina_models_have_the_tasks_that_the_records_have():
    tasks: dict[str, set[str]] = {}
    for lines in official_records().tables.values():
        for line in lines:
            for model in line.scores:
                tasks.setdefault(model, set()).add(line.task)
    assert len(tasks["jina-clip-v1"]) == 139
    assert {task[:7] for task in tasks["jina-clip-v2"]} == {"Vidore2"}
    assert len(tasks["jina-embeddings-v5-omni-small"]) == 187


def test_every_task_split_and_subset_is_one_of_the_installed_mteb():
    mteb = pytest.importorskip("mteb")
    lines_by_table = official_records().tables
    names = {line.task for lines in lines_by_table.values() for line in lines}
    tasks = {task.metadata.name: task for task in mteb.get_tasks(tasks=sorted(names))}
    missing = set()
    for lines in lines_by_table.values():
        for line in lines:
            task = tasks[line.task]
            assert line.subset in task.hf_subsets, line
            if line.split not in task.metadata.eval_splits:
                missing.add((line.task, line.split))
    assert missing == OTHER_SPLITS


def test_a_score_keeps_its_digits_and_says_whose_it_is():
    printed = cell("mteb-compositionality", "AROCocoOrder / jina-clip-v1").published
    assert (printed.printed, printed.score, printed.digits) == ("0.528309", "52.8309", 4)
    assert printed.note == "jinaai/jina-clip-v1 at 06150c7c"
    other = cell("mteb-sts", "STS12 / jina-clip-v1").published
    assert other.note == "jinaai/jina-clip-v1 at 1cbe5e8b"
    assert "embeddings-benchmark/results" in printed.source


def test_a_cell_is_measured_by_the_main_score_of_its_subset(tmp_path: Path):
    label = "Vidore2ESGReportsRetrieval / french / jina-clip-v2"
    place = cell("mteb-vidore-v2", label).selector.groups[0][0]
    published = cell("mteb-vidore-v2", label).published.value
    write_record(tmp_path, "mteb.Vidore2ESGReportsRetrieval", "jina-clip-v2", {place: 0.5})
    judged = judge(find_table("mteb-vidore-v2"), Records(tmp_path))
    measured = [placed for placed in judged.results if placed.result.measured is not None]
    assert [f"{each.row} / {each.column}" for each in measured] == [label]
    assert measured[0].result.difference == pytest.approx(50 - published)


def test_official_tables_are_shown_when_asked_for_and_are_none_of_all(tmp_path: Path):
    def run(*args: str) -> dict:
        places = ["--results", str(tmp_path), "--out", str(tmp_path / "out"), "--json"]
        done = CliRunner().invoke(app, [*args, *places])
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    assert [table["name"] for table in run("--official")["tables"]] == official_names()
    assert not set(official_names()) & set(table_names())
    [vidore] = run("--table", "mteb-vidore-v2")["tables"]
    assert {cell["measured"] for cell in vidore["cells"]} == {None}
    needed = run("--needs", "jina-clip-v2", "--official")["calls"]
    assert {part for call in needed for part in call if part.startswith("mteb:")} == {
        "mteb:Vidore2BioMedicalLecturesRetrieval/test",
        "mteb:Vidore2ESGReportsRetrieval/test",
        "mteb:Vidore2ESGReportsHLRetrieval/test",
        "mteb:Vidore2EconomicsReportsRetrieval/test",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("table,task,split\n", "the columns must be table,task,split,subset and ORG/MODEL@COMMIT"),
        ("table,task,split,subset,a/b\n", "the columns must be"),
        ("{head}mteb-sts,STS12,test,default\n", "line 2: 4 fields, not 5"),
        ("{head}mteb-xyz,STS12,test,default,0.5\n", "line 2, table: configs/tables/mteb.yaml has"),
        ("{head}mteb-sts,STS12,test,default,50.1\n", "line 2, a/b@01234567: '50.1' is no score"),
    ],
)
def test_a_file_that_is_not_as_described_is_refused_by_line_and_column(tmp_path, text, says):
    path = tmp_path / "records.csv"
    path.write_text(text.format(head="table,task,split,subset,a/b@01234567\n"))
    with pytest.raises(ConfigError) as error:
        official_records(path)
    assert says in str(error.value) and str(path) in str(error.value)


def test_an_unknown_table_names_the_nearest_of_both_kinds():
    with pytest.raises(ConfigError, match="Did you mean mteb-vidore-v"):
        find_table("mteb-vidore-v4")
