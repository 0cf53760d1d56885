"""Names that a terminal, CI, a browser, a spreadsheet or TeX would obey are text in every output of every command."""

import csv
import io
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from evals.escape import visible
from tests.commands import Done, run
from tests.faults import ALL

ROOT = Path(__file__).parents[2]
NAMES = {
    "controls": "\x1b[31mred\x9b0m\x07\x7f",
    "commands": "a\n::error::b\r##[error]c\u2028d",
    "html": "<svg onload=alert(1)>&lt;\"'",
    "markdown": "a|b`c`[d](e)![f](g)**h** #1 @everyone ~i~",
    "formula": "=HYPERLINK(1)",
    "minus": "-1+1",
    "tex": r"\input{x}%$&_#{}~^",
    "directions": "a\u202eb\u2066c\u200fd نموذج",
    "unseen": "a\u200b\ufeff\u2060\U000e0041b",
    "long": "x" * 180,
}
MIXED = "=a\n::error::\x1b[31m|<svg onload=b>\u202e`[c](d)\\input{e}%"
CASES = {"mixed": MIXED} | (NAMES if ALL else {})


@pytest.fixture(params=CASES, ids=str)
def name(request: pytest.FixtureRequest) -> str:
    return CASES[request.param]


@pytest.fixture
def model(name: str, tmp_path: Path) -> Path:
    """The bundled model in a folder of this name."""
    folder = tmp_path / "models" / name
    folder.mkdir(parents=True)
    for file in (ROOT / "configs" / "tiny").iterdir():
        shutil.copy(file, folder)
    return folder


@pytest.fixture
def data(name: str, tmp_path: Path) -> Path:
    """Pictures whose captions, and those of them whose names, are hostile, in a folder of this name."""
    folder = tmp_path / "data" / name
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for number in range(6):
        file = f"{number} {name[:60]}.png"
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / file)
        lines.append(json.dumps({"image": file, "captions": [f"{name} {number}", f"x{number}"]}))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_name_is_text_in_every_output(name, model, data, tmp_path, monkeypatch, record_property):
    for variable in ("RESULTS", "STORE"):
        monkeypatch.setenv(f"EVALS_{variable}", str(tmp_path / variable))
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    out = tmp_path / "out"
    out.mkdir()
    evaluation = ("flickr8k", "--model", model, "--data", data, "--allow-subset")
    harmless(command("evals.run", *evaluation))
    harmless(command("evals.run", *evaluation, "--json"), name)
    sweep = ("--model", model, "--data", data, "--allow-subset", "--dims", "64", "--no-figures")
    benchmarks = ("--benchmarks", "flickr8k")
    harmless(command("evals.mrl_sweep", *benchmarks, *sweep, "--csv", out / "sweep.csv"))
    swept = command("evals.mrl_sweep", *benchmarks, *sweep, "--json")
    harmless(swept, name)
    # not the last by its name: the others may be of the same second
    record = Path(json.loads(swept.stdout)["runs"][0]["path"])
    pages = ("--markdown", out / "mistakes.md", "--html", out / "mistakes.html")
    harmless(command("evals.mistakes", record, *pages, "--thumbnails"))
    harmless(command("evals.mistakes", record, "--json"), name)
    operands = (f"{record}", f"{record}@64")
    harmless(command("evals.compare", *operands, "--markdown", out / "compare.md", "--no-figures"))
    harmless(command("evals.compare", *operands, "--json", "--no-figures"), name)
    gate = ("--baseline", record, "--runs", record)
    files = ("--markdown", out / "gate.md", "--junit", out / "gate.xml", "--badge", out / "b.json")
    harmless(command("evals.regress", *gate, *files, codes=(0, 3)))
    harmless(command("evals.regress", *gate, "--json", codes=(0, 3)), name)
    harmless(command("evals.dashboard", "--out", out / "site"))
    tables = ("--table", "v2-flickr8k", "--format", "md,html,csv,latex", "--out", out)
    harmless(command("evals.report", *tables, codes=(0, 2)))
    checked = [check(path) for path in [*out.rglob("*"), summary] if path.suffix in CHECKS]
    assert len(checked) > 15
    record_property("faults: outputs with a hostile name", 14 + len(checked))


def test_a_folder_whose_name_is_not_utf_8_is_refused_by_a_name_that_can_be_read(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(ROOT / "configs" / "tiny", folder)
    done = command("evals.run", "scenes", "--model", folder, "--limit", 2, codes=(2, 3))
    harmless(done)
    assert "caf\\u{dce9}" in done.stderr


def command(module: str, *arguments: object, codes: tuple[int, ...] = (0,)) -> Done:
    done = run(*arguments, cwd=ROOT, module=module)
    assert done.returncode in codes, done.stderr[-2000:]
    return done


def harmless(done: Done, name: str | None = None) -> None:
    """Nothing on a stream is obeyed; the JSON, where there is some, says the name as it is."""
    for line in (done.stdout + done.stderr).split("\n"):
        assert visible(line) == line, line
    if name is not None:
        strings = list(strings_of(json.loads(done.stdout)))
        assert any(name in text for text in strings), "the JSON lacks the name"


def strings_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from (key, *strings_of(member))
    elif isinstance(value, list):
        for member in value:
            yield from strings_of(member)


def check(path: Path) -> None:
    """The file can be read by its readers, and holds none of what they would obey.

    Cells of a CSV are the names as they are, for programs to look up.
    """
    text = path.read_bytes().decode()
    for character in "" if path.suffix == ".csv" else text:
        unseen = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        assert not unseen or character in "\n\r\u200c\u200d", f"{path.name}: {character!r}"
    CHECKS[path.suffix](text)


def check_markdown(text: str) -> None:
    assert "<svg" not in text and not re.search(r"(?<!\\)\]\([a-z]\)", text)
    columns = 0
    for line in text.split("\n"):
        assert not line.startswith("::")
        pipes = len(re.findall(r"(?<!\\)\|", line))
        if not line.startswith("|"):
            columns = 0
        else:
            assert columns in (0, pipes), line
            columns = pipes


class Tags(HTMLParser):
    """Notes what a browser would run."""

    def __init__(self) -> None:
        super().__init__()
        self.run: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attributes if name.startswith("on")]
        self.run += [f"{tag} {name}" for name in names]


def check_html(text: str) -> None:
    tags = Tags()
    tags.feed(text)
    assert not tags.run


def check_csv(text: str) -> None:
    rows = list(csv.reader(io.StringIO(text), strict=True))
    assert len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows for cell in row):
        is_number = re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", cell)
        assert is_number or not cell.startswith(("=", "+", "-", "@")), cell


def check_tex(text: str) -> None:
    assert "\\input" not in text


CHECKS = {
    ".md": check_markdown,
    ".html": check_html,
    ".csv": check_csv,
    ".tex": check_tex,
    ".xml": ElementTree.fromstring,
    ".json": json.loads,
}
