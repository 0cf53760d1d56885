"""The console script: every command is a subcommand, of which it imports the one that is called."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evals.__main__ import COMMANDS, app
from tests.test_imports import commands as modules_with_a_command

ROOT = Path(__file__).parents[1]


def console(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """`jina-clip-evals …` in a process, as the installed script starts it."""
    code = (
        "import sys; sys.argv[0] = 'bin/jina-clip-evals'; from evals.__main__ import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_module_with_a_command_is_a_subcommand():
    listed = {command.module.removesuffix(".__main__") for command in COMMANDS.values()}
    assert listed == set(modules_with_a_command()) - {"evals"}
    for name, command in COMMANDS.items():
        assert command.module.split(".")[1] == name.replace("-", "_")


def test_the_list_of_commands_says_what_each_is_for():
    shown = CliRunner().invoke(app, ["--help"]).stdout
    for name, command in COMMANDS.items():
        assert f"\n  {name} " in shown
        assert command.about.split()[0] in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_subcommand_is_that_of_its_module(name):
    module = importlib.import_module(COMMANDS[name].module)
    by_module = CliRunner().invoke(module.app, ["--help"]).stdout
    by_name = CliRunner().invoke(app, [name, "--help"]).stdout
    assert by_name.split("\n", 1)[1] == by_module.split("\n", 1)[1]


def test_only_the_module_of_the_command_is_imported():
    code = (
        "import sys; from evals.__main__ import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: print(sorted(name for name in sys.modules if name.startswith('evals.')))"
    )

    def loaded(*words: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT
        ).stdout.splitlines()[-1]

    assert "evals.run" not in loaded("--help") and "evals.cost" not in loaded("run", "--help")
    assert "'evals.run'" in loaded("run", "--help")


def test_an_underscore_serves_as_well_as_a_dash():
    by_dash = CliRunner().invoke(app, ["mrl-sweep", "--help"]).stdout
    assert by_dash == CliRunner().invoke(app, ["mrl_sweep", "--help"]).stdout


def test_the_version_names_the_commit_of_a_checkout():
    shown = CliRunner().invoke(app, ["--version"])
    assert shown.exit_code == 0 and shown.stdout.startswith("jina-clip-evals ")
    if (ROOT / ".git").exists():
        assert ", commit " in shown.stdout


def test_a_name_that_is_no_command_is_a_usage_error_with_the_nearest():
    done = console("repport", "--all")
    assert done.returncode == 2 and "Did you mean 'report'" in done.stderr


def test_the_exit_code_is_that_of_the_command():
    done = console("regress", "--baseline", "none-of-that-name", "--json")
    assert done.returncode == 2 and json.loads(done.stdout)["exit_code"] == 2


def complete(line: str) -> list[str]:
    """What bash offers for the last word of a command line."""
    words = line.split(" ")
    done = console(
        _JINA_CLIP_EVALS_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
    )
    return done.stdout.split()


def test_a_shell_completes_commands_and_their_options():
    assert complete("jina-clip-evals re") == ["report", "regress", "replay"]
    assert complete("jina-clip-evals mrl_sweep --resc") == ["--rescore"]
    assert complete("jina-clip-evals regress baseline s") == ["set", "show"]


def test_the_completion_script_is_that_of_the_console_script():
    done = console("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0 and "_JINA_CLIP_EVALS_COMPLETE=complete_bash" in done.stdout


def test_a_shell_gets_completion_installed(tmp_path):
    done = console(
        "--install-completion",
        "bash",
        HOME=str(tmp_path),
        _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".bash_completions" / "jina-clip-evals.sh").is_file()
