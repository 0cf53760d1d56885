"""mteb's tasks in the command, the sweep, the suites and their averages, with a toy in the place of the bridge to mteb."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from evals import jobs, mrl_sweep
from evals import run as run_module
from evals.config.choice import choose
from evals.config.suites import Suite, TaskRef, find_suite, suites, task_ref
from evals.evaluation.averages import averages
from evals.evaluation.outcome import TaskOutcome, TaskScore
from evals.progress import Reporter
from evals.schema import InvalidError, MissingError
from evals.settings import Settings
from evals.stats.bootstrap import Interval
from evals.views import tables
from tests.toys import HashEncoder

SUITE = """
"toy":
  title: "Toy"
  benchmarks: &all ["scenes", "mteb:A/test", "mteb:B/dev"]
  subsets: {"mteb:B": ["en", "de"]}
  averages: {"both": {of: ["mteb:A", "mteb:B/dev"]}}
  about: "This list is believed [not known]."
"""
OFFICIAL = {
    "vidore": "ViDoRe(v1)",
    "vidore-v2": "ViDoRe(v2)",
    "vidore-v3": "ViDoRe(v3)",
    "mieb-lite": "MIEB(lite)",
    "mieb-eng": "MIEB(eng)",
    "mieb-multilingual": "MIEB(Multilingual)",
}
OF_A = {"default": 0.5}
OF_B = {"en": 0.5, "de": 0.25}


class Asked(NamedTuple):
    """What the bridge was asked for."""

    name: str
    dims: list[int]
    subsets: str | None
    instruction: bool


def outcome(
    task: str,
    split: str,
    partial: dict[str, Any] | None = None,
    *,
    dims: Sequence[int] = (8,),
    **values: float,
) -> TaskOutcome:
    """An outcome of a task with this main score in each subset, a tenth of it for each dimension less than eight."""
    scores = [
        TaskScore(
            subset,
            split,
            dim,
            value * dim / 8,
            Interval(0.125, 0.625),
            1234,
            {"cos": value * dim / 8, "nauc": float("nan")},
        )
        for subset, value in values.items()
        for dim in dims
    ]
    return TaskOutcome(
        Path("runs") / task,
        task,
        "toy",
        partial,
        {"image": 0, "text": 12},
        "cos",
        scores,
        f"mteb.{task}" + (".partial" if partial else ""),
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """The toy bridge: the task `Broken` is broken, all others have the subset `default`, or those asked for."""
    asked: list[Asked] = []

    def evaluate_task(
        name: str,
        encoder: Any,
        dims: Sequence[int],
        settings: Settings,
        *,
        reporter: Reporter,
    ) -> TaskOutcome:
        asked.append(Asked(name, list(dims), settings.subsets, settings.instruction))
        task, _, split = name.partition("/")
        if task == "Broken":
            raise InvalidError("Broken: its data is damaged. Fetch it again.")
        if task == "Absent":
            raise MissingError("Absent: not on this machine. Fetch it.")
        partial = {"subsets": list(settings.subsets)} if settings.subsets else None
        return outcome(
            task,
            split or "test",
            partial,
            dims=dims,
            **dict.fromkeys(settings.subsets or ["default"], 0.5),
        )

    bridge = ModuleType("evals.mteb_bridge.bridge")
    bridge.evaluate_task = evaluate_task  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "evals.mteb_bridge.bridge", bridge)
    monkeypatch.setattr(jobs, "build_encoder", lambda ref, settings: HashEncoder(name=ref.name))
    monkeypatch.setattr(tables, "console", lambda: Console(width=120))
    return asked


@pytest.fixture
def command(tmp_path: Path, asked: list[Asked], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command in a folder of its own: records, store, and the figures beside the toy's paths."""
    monkeypatch.chdir(tmp_path)
    places = ["--results", str(tmp_path / "runs"), "--store", str(tmp_path / "store")]

    def run(*arguments: str, app: Any = run_module.app) -> Result:
        return CliRunner().invoke(app, [*arguments, "--model", "tiny", *places])

    return run


@pytest.fixture
def toy_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """The suite `toy`, the only one there is."""
    (tmp_path / "suites.yaml").write_text(SUITE)
    rows = suites(tmp_path / "suites.yaml")
    monkeypatch.setattr("evals.config.choice.suites", lambda: rows)
    return rows["toy"]


def test_tasks_run_in_the_order_given_each_once(command: Any, asked: list[Asked]) -> None:
    done = command(
        "mteb:B/dev",
        "mteb:A",
        "mteb:B/dev",
        "--dims",
        "4,8",
        "--subsets",
        "en",
        "--instruction",
        "--json",
    )
    assert done.exit_code == 0, done.output
    assert asked == [Asked("B/dev", [8, 4], ("en",), True), Asked("A", [8, 4], ("en",), True)]
    first, second = json.loads(done.stdout)["runs"]
    assert (first["task"], second["task"]) == ("B", "A")


def test_a_run_in_json_has_every_metric_of_every_subset(command: Any) -> None:
    done = command("mteb:A", "--subsets", "en,de", "--dims", "8,4", "--json")
    [run] = json.loads(done.stdout)["runs"]
    assert (run["task"], run["benchmark"], run["partial"]) == (
        "A",
        "mteb.A.partial",
        {"subsets": ["en", "de"]},
    )
    assert len(run["metrics"]) == 2 * 2 * 2
    main, other = run["metrics"][:2]
    assert (main["subset"], main["split"], main["dim"], main["metric"], main["main"]) == (
        "en",
        "test",
        8,
        "cos",
        True,
    )
    assert (main["value"], main["ci_low"], main["ci_high"], main["n_queries"]) == (
        0.5,
        0.125,
        0.625,
        1234,
    )
    assert (other["metric"], other["value"], other["ci_low"]) == (
        "nauc",
        None,
        None,
    )  # JSON has no NaN


def test_the_table_of_a_task_has_its_main_score_in_per_cent_with_its_interval(command: Any) -> None:
    done = command("mteb:A/dev", "--subsets", "en,de")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["subset", "split", "dim", "cos", "n"] in lines
    assert ["en", "dev", "8", "50.00", "[12.50,62.50]", "1,234"] in lines
    assert ["mean", "dev", "8", "50.00"] in lines
    assert "A · toy · partial: not all of the task" in done.stdout
    assert "record: runs/A" in done.stdout


def test_a_failing_task_leaves_the_others_and_ends_with_the_code_of_the_first(command: Any) -> None:
    done = command("mteb:Broken", "mteb:A", "mteb:Absent", "--json")
    assert done.exit_code == 3
    assert "error: mteb:Broken by tiny: Broken: its data is damaged" in done.stderr
    told = json.loads(done.stdout)
    assert [run["task"] for run in told["runs"]] == ["A"]
    assert [(f["benchmark"], f["exit_code"]) for f in told["failures"]] == [
        ("mteb:Broken", 3),
        ("mteb:Absent", 5),
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mteb:"], "'mteb:' names no mteb task. Write mteb:TASK or mteb:TASK/SPLIT"),
        (["mteb:A/b/c"], "names no mteb task"),
        (["mteb:A b"], "names no mteb task"),
        (["mteb:A", "scnes"], "No benchmark 'scnes'. Did you mean scenes"),
        (["mteb-eng-st"], "Did you mean mteb-eng-sts"),
        (["mteb:A", "--limit", "3"], "--limit means nothing to mteb:A"),
        (["mteb:A", "--allow-subset"], "--allow-subset means nothing to mteb:A"),
        (["scenes", "--instruction"], "--instruction means nothing without a task of mteb"),
        (["mteb:A", "--dims", "9"], "--dims 9: tiny has 8 dimensions"),
        (["mteb-eng-sts", "--subsets", "en"], "--subsets en: the suite mteb-eng-sts has its own"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_run(
    command: Any, asked: list[Asked], arguments: list[str], says: str
) -> None:
    done = command(*arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert asked == []


def test_tasks_without_mteb_say_what_to_install(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = command("mteb:A")
    assert done.exit_code == 5
    assert "mteb:A needs mteb. Run: pip install 'jina-clip-evals[mteb]'" in done.stderr


def test_a_suite_runs_rows_and_tasks_and_prints_its_averages_and_caveat(
    command: Any, asked: list[Asked], toy_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise InvalidError("scenes: left out here")

    monkeypatch.setattr(jobs, "load_item", broken)
    done = command("toy")
    assert done.exit_code == 3
    assert asked == [Asked("A/test", [8], None, False), Asked("B/dev", [8], ("en", "de"), False)]
    assert "toy: both · toy · cos, dim 8: 50.00 (2 of 2)" in done.stdout
    assert "toy: This list is believed [not known]." in done.stdout
    told = json.loads(command("--suite", "toy", "--json").stdout)
    assert told["suites"] == [
        {"name": "toy", "title": "Toy", "about": "This list is believed [not known]."}
    ]
    assert told["averages"][0]["value"] == 0.5


def test_a_sweep_takes_tasks_and_suites(command: Any, asked: list[Asked], toy_suite: Suite) -> None:
    done = command("--benchmarks", "mteb:A", "--dims", "2,4", app=mrl_sweep.app)
    assert done.exit_code == 0, done.output
    assert asked == [Asked("A", [8, 4, 2], None, False)]
    rows = [
        line.split() for line in done.stdout.splitlines() if " float32 " in line and "%" in line
    ]
    kept = {
        row[row.index("float32") - 1]: next(cell for cell in row if cell.endswith("%"))
        for row in rows
    }
    assert kept == {"8": "100.0%", "4": "50.0%", "2": "25.0%"}
    refused = command("--suite", "toi", app=mrl_sweep.app)
    assert (refused.exit_code, "Did you mean toy" in refused.stderr) == (2, True)


def test_a_name_is_a_row_before_it_is_a_suite(
    toy_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "evals.config.choice.suites",
        lambda: {"scenes": toy_suite.model_copy(update={"name": "scenes"})},
    )
    assert [part.name for part in choose(["scenes"]).work] == ["scenes"]
    assert [part.name for part in choose([], ["scenes"]).work] == [
        "scenes",
        "mteb:A/test",
        "mteb:B/dev",
    ]


def test_one_task_with_other_subsets_is_another_piece_of_work(toy_suite: Suite) -> None:
    work, named = choose(["mteb:B/dev", "toy", "toy"])
    assert [(part.name, part.subsets) for part in work if isinstance(part, TaskRef)] == [
        ("mteb:B/dev", None),
        ("mteb:A/test", None),
        ("mteb:B/dev", ("en", "de")),
    ]
    assert named == [toy_suite]


def test_a_task_is_written_as_it_is_read() -> None:
    for name in ("mteb:SICK-R-PL", "mteb:STS22.v2/test", "mteb:VisualSTS-b-Multilingual/test"):
        assert task_ref(name).name == name
    assert task_ref("mteb:MSMARCO/dev") == TaskRef("MSMARCO", "dev", None)


def test_an_average_of_tasks_is_the_mean_of_their_means_over_subsets(toy_suite: Suite) -> None:
    [mean] = averages(toy_suite, [outcome("A", "test", **OF_A), outcome("B", "dev", **OF_B)])
    assert (mean.value, mean.metric, mean.direction, mean.dim) == (0.4375, "cos", "", 8)


def test_a_suite_takes_its_subsets_and_split_from_a_run_of_more(toy_suite: Suite) -> None:
    more = outcome("B", "dev", en=0.5, de=0.25, fr=1.0)
    more = more._replace(scores=[*more.scores, *outcome("B", "test", en=1.0, de=1.0).scores])
    [mean] = averages(toy_suite, [outcome("A", "test", **OF_A), more])
    assert mean.value == 0.4375


@pytest.mark.parametrize(
    ("of_a", "of_b", "missing"),
    [
        (outcome("A", "test", **OF_A), outcome("B", "dev", en=0.5), "mteb:B/dev"),
        (outcome("A", "test", **OF_A), outcome("B", "test", **OF_B), "mteb:B/dev"),
        (outcome("A", "test", **OF_A), outcome("B", "dev", {"limit": 5}, **OF_B), "mteb:B/dev"),
        (
            outcome("A", "test", {"subsets": ["default"]}, **OF_A),
            outcome("B", "dev", {"subsets": ["en", "de"]}, **OF_B),
            "mteb:A/test",
        ),
    ],
)
def test_an_average_with_a_task_that_was_not_measured_whole_has_no_value(
    toy_suite: Suite, of_a: TaskOutcome, of_b: TaskOutcome, missing: str
) -> None:
    [mean] = averages(toy_suite, [of_a, of_b])
    assert (mean.value, mean.missing) == (None, [missing])


def test_main_scores_of_several_kinds_are_called_so(toy_suite: Suite) -> None:
    [mean] = averages(
        toy_suite,
        [outcome("A", "test", **OF_A)._replace(metric="accuracy"), outcome("B", "dev", **OF_B)],
    )
    assert mean.metric == "main score"


def test_the_shipped_suites_are_what_mteb_has() -> None:
    mteb = pytest.importorskip("mteb")
    shipped = {name: suite.tasks for name, suite in suites().items()}
    for name, official in OFFICIAL.items():
        tasks = mteb.get_benchmark(official).tasks
        assert {(task.metadata.name, task.eval_splits[0]) for task in tasks} == {
            (ref.task, ref.split) for ref in shipped[name]
        }
    for ref in {ref for name, refs in shipped.items() if name.startswith("mteb-") for ref in refs}:
        task = mteb.get_task(ref.task)
        assert ref.split in task.metadata.eval_splits, ref
        assert set(ref.subsets or ()) <= set(task.hf_subsets), ref


def test_averages_by_type_of_the_shipped_suites_are_those_of_mteb() -> None:
    mteb = pytest.importorskip("mteb")
    for name in ("mieb-lite", "mieb-eng", "mieb-multilingual"):
        suite = find_suite(name)
        whole, *by_type = suite.averages.items()
        assert [ref.name for ref in map(suite.task, whole[1].of) if ref] == list(suite.benchmarks)
        for title, average in by_type:
            kind, _, count = title.rpartition(" ")
            tasks = [task.metadata for task in mteb.get_benchmark(OFFICIAL[name]).tasks]
            of_kind = {f"mteb:{task.name}" for task in tasks if task.type == kind}
            assert (set(average.of), count) == (of_kind, f"({len(of_kind)})")


def test_the_instruction_is_off_unless_asked_for(command: Any, asked: list[Asked]) -> None:
    for arguments in ([], ["--instruction"], ["--no-instruction"]):
        assert command("mteb:A", *arguments).exit_code == 0
    assert [one.instruction for one in asked] == [False, True, False]
    assert vars(Settings(instruction=True))["instruction"] is True  # a record holds all options
