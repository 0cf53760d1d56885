"""What libraries say while a command runs: lines of ours for what matters, and nothing else."""

import io
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from evals.quiet import between_words

ROOT = Path(__file__).parents[1]

SCRIPT = r"""
import logging, os, sys, warnings
from evals.quiet import quiet_libraries
quiet_libraries()
logging.getLogger("evals.embeddings").warning("set aside: %s", "a\x1b[2J")
logging.getLogger("jina_clip.budget").warning("halved")
logging.getLogger("evals.embeddings").info("not asked for")
logging.getLogger("library").warning("advice")
logging.getLogger("library").error("broken")
logging.warning("as open_clip does it")
logging.getLogger("evals.embeddings").warning("still in our form")
warnings.warn("no driver,\n  so no GPU", stacklevel=1)
warnings.warn("will change", FutureWarning, stacklevel=1)
print(os.environ["TRANSFORMERS_VERBOSITY"], os.environ["HF_HUB_VERBOSITY"])
"""


def test_libraries_are_silent_and_warnings_are_a_line() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_VERBOSITY"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env={**environment, "TRANSFORMERS_VERBOSITY": "info"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "set aside: a\\u{1b}[2J",
        "halved",
        "broken",
        "still in our form",
        "warning: no driver, so no GPU (<string>:12)",
    ]
    # What the user has set stands.
    assert done.stdout.split() == ["info", "error"]


@pytest.mark.slow
def test_real_models_of_other_libraries_print_no_line_of_theirs(
    vit: str, clip_model: Path, tmp_path: Path
) -> None:
    """On a terminal, where bars would show: what stays on it are our lines alone."""
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, 400))
    words = ["scenes", "--subsets", "en", "--limit", "20"]
    models = ["--model", f"clip=open_clip:{vit}", "--model", f"st=st:{clip_model}"]
    done = subprocess.run(
        [sys.executable, "-m", "evals.run", *words, *models],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        timeout=300,
    )
    os.close(theirs)
    text = os.read(terminal, 1 << 20).decode()
    os.close(terminal)
    assert done.returncode == 0, text
    for line in text.replace("\r\n", "\n").split("\n"):
        # A line that is rewritten in place is what follows its last return.
        shown = line.rpartition("\r")[2].strip().removeprefix("\x1b[A")
        assert not shown or shown.startswith("scenes en: 20 images and 40 texts, by "), text


def test_a_terminal_breaks_messages_between_words_and_leaves_paths_whole() -> None:
    text = "error: no such folder. Name another: /a/path/that/is/wider/than/the-terminal"
    assert between_words(text, io.StringIO()) == text
    terminal, ours = pty.openpty()
    termios.tcsetwinsize(ours, (24, 20))
    with os.fdopen(ours, "w") as stream:
        lines = between_words(text, stream).split("\n")
    os.close(terminal)
    assert lines == [
        "error: no such",
        "folder. Name",
        "another:",
        "/a/path/that/is/wider/than/the-terminal",
    ]
