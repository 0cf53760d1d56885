"""One vocabulary over all commands, held by a table; earlier spellings work, with a hint."""

import csv
import importlib
import json
from pathlib import Path
from typing import Annotated, NamedTuple

import click
import pyarrow.parquet as pq
import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from evals.__main__ import COMMANDS
from evals.cli.app import new_app, reported
from evals.cli.options import Json
from evals.cli.results import table_outputs, write_outputs
from evals.cli.vocabulary import Benchmarks, Figures, TableFiles, one_benchmark, shared_words
from evals.views.table_files import contents
from tests.commands import process

TABLES = ["--csv", "--markdown", "--html", "--parquet"]
FIGURES = ["--figures", "--no-figures"]
WORDS = ["--benchmarks", *TABLES, *FIGURES, "--json"]


class Words(NamedTuple):
    """What a command speaks of: `arguments` are whether benchmarks are arguments, too."""

    benchmarks: bool
    arguments: bool
    tables: bool
    figures: bool


# Where the arguments are any number of models or records, benchmarks are an option alone; the gate
# and the site read all benchmarks that there are.
SPOKEN = {
    #                      benchmarks arguments tables figures
    "run":           Words(True,      True,     True,  False),
    "encode":        Words(True,      True,     False, False),
    "probe":         Words(True,      True,     True,  False),
    "fusion":        Words(True,      True,     True,  True),
    "mrl-sweep":     Words(True,      True,     True,  True),
    "compare":       Words(True,      True,     True,  True),
    "rank":          Words(True,      False,    True,  True),
    "plan":          Words(True,      False,    True,  False),
    "parity":        Words(True,      False,    True,  False),
    "index":         Words(True,      True,     True,  True),
    "watch":         Words(True,      True,     False, True),
    "mistakes":      Words(True,      True,     True,  False),
    "cost":          Words(True,      True,     True,  False),
    "report":        Words(False,     False,    True,  False),
    "regress":       Words(True,      False,    True,  False),
    "export":        Words(True,      False,    False, False),
    "track":         Words(True,      False,    False, False),
    "dashboard":     Words(False,     False,    False, False),
    "verify":        Words(False,     False,    False, False),
    "replay":        Words(True,      True,     False, False),
    "score":         Words(False,     False,    True,  False),
    "items":         Words(True,      True,     False, False),
    "data prepare":  Words(True,      True,     False, False),
    "data verify":   Words(False,     False,    False, False),
}  # fmt: skip


def commands() -> dict[str, click.Command]:
    """All commands and those below them, by how they are called."""
    found: dict[str, click.Command] = {}
    modules = {name: listed.module for name, listed in COMMANDS.items()}
    for name, module in (modules | {"track": "evals.track"}).items():
        command = get_command(importlib.import_module(module).app)
        below = getattr(command, "commands", {})
        # `data` alone does nothing, and a baseline is no measurement
        if name != "data":
            found[name] = command
        else:
            found |= {f"{name} {word}": part for word, part in below.items()}
    return found


def spellings(command: click.Command) -> dict[str, bool]:
    """Each option that is spelled `--WORD`, and whether help shows it."""
    shown = {}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            names = [*parameter.opts, *parameter.secondary_opts]
            shown |= {name: not parameter.hidden for name in names if name.startswith("--")}
    return shown


@pytest.mark.parametrize("name", SPOKEN)
def test_a_command_speaks_the_words_of_the_table_and_no_others(name: str) -> None:
    command, words = commands()[name], SPOKEN[name]
    shown = [option for option, visible in spellings(command).items() if visible]
    expected = ["--benchmarks"] * words.benchmarks
    expected += TABLES * words.tables + FIGURES * words.figures + ["--json"]
    assert [word for word in WORDS if word in shown] == expected
    assert not {"--benchmark", "--plot"} & set(shown)
    arguments = [part.name for part in command.params if part.param_type_name == "argument"]
    assert ("benchmark_arguments" in arguments) == words.arguments


def test_the_table_has_every_command() -> None:
    assert set(commands()) == set(SPOKEN)


app = new_app()
SEEN: list[tuple[list[str], Figures]] = []


@app.command()
@shared_words
def toy(
    model: Annotated[str, typer.Argument()],
    benchmarks: Annotated[list[str], Benchmarks("Toys.")],
    tables: TableFiles,
    figures: Figures,
    json: Json = False,
) -> None:
    """A command."""
    with reported():
        SEEN.append((benchmarks, figures))
        rows = [
            {"name": "=1|2", "score": {"value": 0.1 + 0.2, "n": 3}},
            {"name": "b", "tags": ["x"]},
        ]
        write_outputs(*table_outputs(tables, contents(lambda: rows, "A <b>title</b>")))


def said(*words: str) -> tuple[list[str], Figures, str]:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return (*SEEN.pop(), done.stderr)


def test_benchmarks_are_arguments_or_an_option_or_both_each_once() -> None:
    assert said("m")[0] == []
    assert said("m", "a", "b")[0] == ["a", "b"]
    assert said("m", "--benchmarks", "a, b", "--benchmarks", "c")[0] == ["a", "b", "c"]
    assert said("m", "a", "--benchmarks", "b,a")[0] == ["a", "b"]


def test_a_list_of_nothing_is_a_usage_error_in_words_and_in_json() -> None:
    done = CliRunner().invoke(app, ["m", "--benchmarks", ",", "--json"])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 2


def test_earlier_spellings_work_with_a_hint_on_stderr() -> None:
    names, figures, hints = said("m", "--benchmark", "a", "--plot", "f.png")
    assert (names, figures.path) == (["a"], Path("f.png"))
    # --plot FILE was a file, whatever it was called
    assert said("m", "--plot", "f.plot")[1].file("x.png") == Path("f.plot")
    assert said("m", "--figures", "f.plot")[1].file("x.png") == Path("f.plot/x.png")
    assert "hint: --benchmark is called --benchmarks now. Both work." in hints
    assert "hint: --plot is called --figures now. Both work." in hints
    assert said("m", "--benchmarks", "a", "--figures", "f.png")[2] == ""


def test_figures_go_to_a_png_or_a_folder_or_nowhere() -> None:
    assert said("m")[1] == Figures()
    assert said("m", "--no-figures")[1].none
    assert Figures(Path("a.PNG")).file("x.png") == Path("a.PNG")
    assert Figures(Path("folder")).file("x.png") == Path("folder/x.png")
    assert (Figures().file("x.png"), Figures(Path("folder")).folder) == (None, Path("folder"))
    with pytest.raises(Exception, match="name a folder"):
        _ = Figures(Path("a.png")).folder
    assert CliRunner().invoke(app, ["m", "--figures", "a", "--no-figures"]).exit_code == 2


def test_a_command_of_one_benchmark_refuses_none_and_several() -> None:
    assert (one_benchmark(["a"]), one_benchmark([], "b")) == ("a", "b")
    for names in ([], ["a", "b"]):
        with pytest.raises(Exception, match="takes one benchmark"):
            one_benchmark(names)


def test_a_table_is_the_same_in_each_format_and_text_in_it_stays_text(tmp_path: Path) -> None:
    files = {name: tmp_path / f"new/t.{name}" for name in ("csv", "markdown", "html", "parquet")}
    said("m", *(word for name, path in files.items() for word in (f"--{name}", str(path))))
    with files["csv"].open(newline="") as lines:
        first, second = csv.DictReader(lines)
    assert first == {"name": "'=1|2", "score_value": repr(0.1 + 0.2), "score_n": "3", "tags": ""}
    assert (second["score_value"], second["tags"]) == ("", '["x"]')
    table = pq.read_table(files["parquet"]).to_pylist()
    assert table[0] == {"name": "=1|2", "score_value": 0.1 + 0.2, "score_n": 3, "tags": None}
    assert "| =1\\|2 | 0.3 | 3 |" in files["markdown"].read_text()
    page = files["html"].read_text()
    assert "A &lt;b&gt;title&lt;/b&gt;" in page and "<img" not in page and "=1|2" in page


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("regress baseline set ci --suite ci", "--why"),
        ("export --benchmarks scenes", "--to"),
        ("items scenes", "--to"),
        ("data prepare flickr8k", "--to"),
    ],
)
def test_an_option_that_is_missing_is_named_with_the_whole_command(words, option, tmp_path):
    module, *arguments = words.split()
    done = process(*arguments, cwd=tmp_path, module=f"evals.{module}")
    assert done.returncode == 2
    start = f"error: {option} is missing. Type: python -m evals.{words} {option} "
    assert done.stderr.startswith(start) and len(done.stderr) > len(start) + 1
