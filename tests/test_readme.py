"""Every command of README.md runs, in the order shown; what needs the Hub or data of the reader's says so."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.commands import ROOT, Done, run

README = (ROOT / "README.md").read_text(encoding="utf-8")
# (language, text) of each fenced block
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
SHELL = [text for language, text in BLOCKS if language == "sh"]
LINES = [line.partition("  #")[0].strip() for text in SHELL for line in text.splitlines()]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# What neither the clone nor this page has: weights and data of the Hub, an API, folders of the reader's.
ELSEWHERE = ("jina-clip-v2", "st:", "open_clip:", "api:")
MOST_WORDS = 1400


def listed_photos(folder: Path) -> None:
    """The folder that README shows: its captions.csv as printed, and the images that it names."""
    (block,) = [text for language, text in BLOCKS if "captions.csv" in text and not language]
    rows = [line.removeprefix("path/to/photos/captions.csv").strip() for line in block.splitlines()]
    folder.mkdir(parents=True)
    (folder / "captions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for number, row in enumerate(rows[1:]):
        Image.new("RGB", (32, 32), (90 * number, 200, 40)).save(folder / row.partition(",")[0])


def typed(line: str, folder: Path) -> Done:
    words = [word for word in shlex.split(line) if "KEY=" not in word]
    if words[0] == "jina-clip-evals":
        return run(*words[2:], cwd=folder, module=f"evals.{words[1]}")
    assert words[:2] == ["python", "-m"], line
    return run(*words[3:], cwd=folder, module=words[2])


@pytest.mark.slow  # minutes on 2 cores
def test_commands_run_in_the_order_shown(tmp_path, monkeypatch):
    listed_photos(tmp_path / "path" / "to" / "photos")
    for checkpoint in ("old", "new"):
        shutil.copytree(ROOT / "configs" / "tiny", tmp_path / "path" / "to" / checkpoint)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for line in LINES:
        if line.startswith("make "):
            subprocess.run(
                ["make", "-n", *line.split()[1:]], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
            )
            continue
        expected = 5 if any(word in line for word in ELSEWHERE) else 0
        result = typed(line, tmp_path)
        assert result.returncode == expected, f"{line}\n{result.stdout}\n{result.stderr}"


def test_the_page_is_short():
    assert len(README.split()) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not heading or heading in anchors(file), target


def anchors(file: Path) -> list[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"(?m)^#+ (.*)", file.read_text(encoding="utf-8"))
    return [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
