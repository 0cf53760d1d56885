"""What every command promises whatever it does: an exit code that survives its output, and messages that stay text."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.markup import escape
from typer.testing import CliRunner, Result

from evals.__main__ import COMMANDS
from evals.cli.app import Log, new_app, reported
from evals.cli.figures import draw_figures
from evals.escape import visible, visible_json
from evals.os_errors import REMEDIES, as_eval_error
from evals.schema import ConfigError, MissingError
from evals.views.style import console, empty_table
from tests.commands import PATIENCE
from tests.faults import ALL
from tests.regress_records import lost, record, scores

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
ENVIRONMENT["PYTHONPATH"] = str(ROOT)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records `good` and `bad`, of which the gate says 0 and 1 against `base`."""
    root = tmp_path_factory.mktemp("records")
    for name, misses in (("base", 0), ("good", 0), ("bad", 20)):
        written = record(root / name, {"en": [scores(lost(misses))]})
        written.rename(root / f"{name}-record")
    return root


ENDINGS = [
    "",
    "| head -n 1",
    "| true",
    "| exec true",
    ">&-",
    ">/dev/full",
    "2>&-",
    ">/dev/full 2>&1",
    "<&- >&- 2>&-",
]


@pytest.mark.parametrize(
    ("form", "which", "code"),
    # the other two by `make faults`
    [("", "bad", 1), ("--json", "good", 0), ("", "good", 0), ("--json", "bad", 1)][
        : 4 if ALL else 2
    ],
)
def test_a_verdict_survives_its_output(records, tmp_path, which, code, form):
    gate = (
        f"{sys.executable} -m evals.regress --baseline {records}/base-record"
        f" --runs {records}/{which}-record {form}"
    )
    calls = [f"{gate} {ending}; echo ${{PIPESTATUS[0]}} >> codes" for ending in ENDINGS]
    done = subprocess.run(
        ["bash", "-c", "\n".join(calls)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    codes = (tmp_path / "codes").read_text().split()
    assert dict(zip(ENDINGS, codes, strict=True)) == dict.fromkeys(ENDINGS, str(code))
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert done.stderr.count("output is lost from here on: No space left on device\n") == 1


def test_nothing_that_was_opened_takes_the_place_of_a_closed_stdout(tmp_path):
    code = (
        "import sys; from evals.cli.streams import hold_streams; hold_streams()\n"
        "file = open('data', 'w'); print('shown'); sys.stdout.flush(); file.close()"
    )
    subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "$0" <&- >&-', code],
        check=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert (tmp_path / "data").read_bytes() == b""


def test_a_slow_reader_gets_everything_from_a_pipe_that_does_not_block(tmp_path):
    code = (
        "import os; os.set_blocking(1, False)\n"
        "from evals.cli.streams import hold_streams; hold_streams()\n"
        "print('x' * 300_000)"
    )
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "$0" | (sleep 0.5; wc -c)', code],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert (done.stdout.strip(), done.stderr) == ("300001", "")


def run(body: Callable[[Log], None], *, json: bool = False) -> Result:
    """The result of a command with this body."""
    app = new_app()

    @app.command()
    def command() -> None:
        with reported(json=json) as log:
            body(log)

    return CliRunner().invoke(app, [])


def broken(log: Log) -> None:
    raise KeyError("dim\n::error::x")


def test_a_fault_of_ours_is_a_report_to_send_and_no_regression():
    done = run(broken)
    assert (done.exit_code, done.stdout) == (70, "")
    for part in ("Traceback", "in broken", "error: KeyError: ", "report it", "numpy ", "command: "):
        assert part in done.stderr
    assert not any(line.startswith("::") for line in done.stderr.splitlines())
    assert json.loads(run(broken, json=True).stdout)["exit_code"] == 70


def test_a_fault_outside_of_a_command_ends_with_70_too():
    code = (
        "from evals.cli.app import exit_with, new_app\n"
        "app = new_app()\n"
        "@app.command()\n"
        "def command(): raise ValueError('outside')\n"
        "exit_with(app)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert (done.returncode, "error: ValueError: outside" in done.stderr) == (70, True)


@pytest.mark.parametrize(
    ("settled", "error", "code"),
    [
        (1, KeyError("a view"), 1),
        (1, OSError(28, "No space left on device", "page.md"), 1),
        (1, ConfigError("late"), 1),
        (0, KeyError("a view"), 70),
        (0, ConfigError("late"), 2),
    ],
)
def test_a_verdict_outranks_what_fails_after_it(settled, error, code):
    def body(log: Log) -> None:
        log.settle(settled)
        log.output({"verdict": settled})
        raise error

    done = run(body, json=True)
    assert done.exit_code == code
    assert json.loads(done.stdout) == {"verdict": settled}
    assert "error: " in done.stderr


@pytest.mark.parametrize("number", REMEDIES)
def test_an_error_of_the_operating_system_names_place_and_remedy(number):
    error = as_eval_error(OSError(number, os.strerror(number), "some/file"))
    assert isinstance(error, MissingError)
    assert str(error).startswith(f"some/file: {os.strerror(number)}. {REMEDIES[number]}, then ")


def test_a_failed_rename_names_where_it_led():
    error = OSError(13, "Permission denied", ".manifest.json.part", None, "manifest.json")
    assert str(as_eval_error(error)).startswith("manifest.json: Permission denied. Change its")


WAITING = """
import sys, time
from evals.cli.app import exit_with, new_app, reported
app = new_app()
@app.command()
def command():
    with reported() as log:
        log.info("started")
        {work}
exit_with(app)
"""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
@pytest.mark.parametrize(
    ("work", "unbuffered"), [("time.sleep(60)", ""), ("import slow_library", "1")]
)
def test_an_interrupted_command_says_that_it_goes_on(tmp_path, work, unbuffered, number, code):
    (tmp_path / "slow_library.py").write_text("import time\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING.format(work=work)],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | {"PYTHONPATH": f"{ROOT}:{tmp_path}", "PYTHONUNBUFFERED": unbuffered},
        # the tests themselves may run under nohup, which their children inherit
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert process.stderr is not None and process.stderr.readline() == "started\n"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert stderr.splitlines() == [
        "interrupted: what was finished is kept, and the same command goes on from there"
    ]


def test_nohup_holds_off_a_closed_terminal():
    """SIGHUP is ignored when the command starts, and stays so."""
    work = "import os; os.kill(os.getpid(), 1); log.info('goes on')"
    start = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    command = [sys.executable, "-c", start + WAITING.format(work=work)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert (done.returncode, done.stderr.splitlines()) == (0, ["started", "goes on"])


# What each command imports first, and what happens while it does.
BROKEN_TYPER = {
    "SIGINT": ("import os, time; os.kill(os.getpid(), 2); time.sleep(9)", 130, "interrupted: "),
    "SIGTERM": ("import os, time; os.kill(os.getpid(), 15); time.sleep(9)", 143, "interrupted: "),
    "broken": ("import no_such_library", 70, "error: jina-clip-evals cannot start"),
}


@pytest.mark.parametrize("event", BROKEN_TYPER)
def test_no_code_of_a_command_that_cannot_start_means_regressed(tmp_path, event):
    code, exit_code, message = BROKEN_TYPER[event]
    (tmp_path / "typer.py").write_text(code)
    modules = [command.module.removesuffix(".__main__") for command in COMMANDS.values()]
    environment = ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    starts = [[sys.executable, "-m", module] for module in ["evals", *modules]]
    script = tmp_path / "jina-clip-evals"
    script.write_text("import sys\nfrom evals.__main__ import main\nsys.exit(main())\n")
    starts.append([sys.executable, str(script)])
    processes = [
        subprocess.Popen(start, stderr=subprocess.PIPE, text=True, env=environment)
        for start in starts
    ]
    for start, process in zip(starts, processes, strict=True):
        _, stderr = process.communicate(timeout=PATIENCE)
        assert process.returncode == exit_code, (start, stderr)
        assert stderr.splitlines()[-1].startswith(message)
        assert ("Traceback" in stderr) == (exit_code == 70)


def test_a_program_that_imports_us_keeps_its_own_signals_and_exit_codes(tmp_path):
    (tmp_path / "theirs.py").write_text(
        "import signal, sys\nimport evals\n"
        "assert signal.getsignal(2) is signal.default_int_handler\n"
        "assert sys.excepthook is sys.__excepthook__\n"
    )
    environment = ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    for start in (["-m", "theirs"], [str(tmp_path / "theirs.py")]):
        subprocess.run([sys.executable, *start], check=True, env=environment)


HOSTILE = {
    "a\n::error::b": r"a\n\u{3a}:error\u{3a}:b",
    "::stop-commands::x": r"\u{3a}:stop-commands\u{3a}:x",
    "##[error]x": r"\u{23}#[error]x",
    "\x1b[31mred\x9b0m\x7f": r"\u{1b}[31mred\u{9b}0m\u{7f}",
    "a\u202eb\u2066c\u200fd": r"a\u{202e}b\u{2066}c\u{200f}d",
    "tab\tcr\r\u2028\u2029\ufeff": r"tab\tcr\r\u{2028}\u{2029}\u{feff}",
    "\ud800\U000e0041": r"\u{d800}\u{e0041}",
}
PLAIN = [
    "Zwölf Köche",
    "日本語",
    "می\u200cخواهم",
    "👩\u200d👧",
    "http://[::1]:80/",
    r"back\slash",
    "",
]


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_what_a_terminal_or_ci_would_obey_is_written_out(text, shown):
    assert visible(text) == shown == visible(shown)


@pytest.mark.parametrize("text", PLAIN)
def test_text_of_any_script_stays_as_it_is(text):
    assert visible(text) == text


@pytest.mark.parametrize("text", [*HOSTILE, *PLAIN])
def test_json_says_the_same_and_is_as_harmless(text):
    plain = json.dumps({text: [text]}, ensure_ascii=False, indent=1)
    shown = visible_json(plain)
    assert json.loads(shown) == {text: [text]}
    assert all(visible(line) == line for line in shown.split("\n"))


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_a_hostile_name_takes_one_line_of_a_message_a_result_and_a_table(text, shown, capsys):
    log = Log()
    log.info(text)
    log.error(text)
    log.result(text)
    captured = capsys.readouterr()
    assert captured.err == f"{shown}\nerror: {shown}\n" and captured.out == f"{shown}\n"
    table = empty_table(text, escape(text))
    table.add_column(escape(text))
    table.add_row(escape(text))
    console().print(table)
    console().print(escape(text))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [shown] * 5


def test_a_folder_with_a_hostile_name_reaches_no_stream_as_it_is(tmp_path):
    folder = tmp_path / "model\n::error::\x1b[31m\u202e"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "evals.run", "scenes", "--model", folder, "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert done.returncode != 0 and "\\n" in done.stderr
    for line in (done.stderr + done.stdout).splitlines():
        assert visible(line) == line and not line.startswith("::")


def test_what_libraries_warn_of_is_text_too():
    code = (
        "from evals.cli.app import exit_with, new_app\n"
        "import logging\n"
        "app = new_app()\n"
        "@app.command()\n"
        "def command(): logging.getLogger('evals.x').warning('%s', 'a\\n::error::b')\n"
        "exit_with(app)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert done.stderr == "a\\n\\u{3a}:error\\u{3a}:b\n"


# figures


def test_a_figure_that_cannot_be_drawn_costs_a_warning_and_no_table(capsys):
    def no_font() -> list[Path]:
        raise RuntimeError("no font")

    assert draw_figures(Log(), no_font) == []
    assert "warning: no figures: RuntimeError: no font." in capsys.readouterr().err
    assert draw_figures(Log(), lambda: [Path("a.png")]) == [Path("a.png")]
