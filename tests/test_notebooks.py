"""Notebooks equal the .py beside them, run on records alone, and their committed outputs tell of no machine."""

import ast
import base64
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

from evals.records.record import read_run
from tests.published_toys import write_singles

ROOT = Path(__file__).parents[1]
NAMES = ("quickstart", "reproduce_tables", "mrl_tradeoffs")
LOCAL = re.compile(
    r"(?<![\w.<:/])(?:/[A-Za-z_][\w.+-]*){2}|[A-Za-z]:\\|file:|0x[0-9a-f]{6}"
)  # paths and addresses of a machine


def notebook(name: str, folder: Path = ROOT / "notebooks") -> Any:
    return nbformat.read(folder / f"{name}.ipynb", as_version=4)


def outputs(notebook: Any, kind: str) -> list[str]:
    """What the cells show as this MIME type, printed text too for text/plain."""
    every = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = [
        output.text for output in every if output.output_type == "stream" and kind == "text/plain"
    ]
    return printed + [output.data[kind] for output in every if kind in output.get("data", {})]


def run(name: str, folder: Path, records: Path) -> Any:
    """The notebook executed from its .py alone, as `python -m notebooks` does."""
    shutil.copy(ROOT / "notebooks" / f"{name}.py", folder)
    code = f"from pathlib import Path; from notebooks.__main__ import main; main([{name!r}], Path({str(folder)!r}))"
    where = {
        "EVALS_RESULTS": str(records),
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    env = {**os.environ, **where, "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found = notebook(name, folder)
    assert not [
        o for c in found.cells for o in c.get("outputs", ()) if o.get("name") == "stderr"
    ], "a cell warns"
    return found


@pytest.fixture(scope="module")
def demo(scenes_run, tmp_path_factory) -> Path:
    """Where the records of `make demo` lie: Scenes in all languages, and a sweep in English."""
    from evals.config.choice import choose
    from evals.jobs import evaluate_all
    from evals.settings import Settings

    root = tmp_path_factory.mktemp("demo")
    for subsets, dims in ((None, lambda width: (width,)), (("en",), lambda width: (16, 64, width))):
        settings = Settings(subsets=subsets, results=root, store=scenes_run.parents[3] / "store")
        work, _ = choose(["scenes"], [], subsets=subsets)
        assert not evaluate_all(work, ["tiny"], dims, settings, precisions=("float32", "binary"))[1]
    return root


# what is committed


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_and_its_py_are_a_pair(name):
    source, made = jupytext.read(ROOT / "notebooks" / f"{name}.py"), notebook(name)
    assert [(cell.cell_type, cell.source) for cell in made.cells] == [
        (cell.cell_type, cell.source) for cell in source.cells
    ]
    assert made.metadata.jupytext.formats == source.metadata.jupytext.formats == "ipynb,py:percent"


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_define_no_functions(name):
    tree = ast.parse((ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, kinds)]


def test_notebooks_load_neither_model_nor_benchmark():
    every = [
        node
        for name in NAMES
        for node in ast.parse((ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")).body
    ]
    imports = "\n".join(
        ast.unparse(node) for node in every if isinstance(node, ast.Import | ast.ImportFrom)
    )
    code = f"import sys\n{imports}\nprint(sorted({{'torch', 'transformers', 'mteb', 'jina_clip'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "evals.records.selection" in imports and done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_committed_outputs_are_whole_small_and_of_no_machine(name):
    made = notebook(name)
    cells = [cell for cell in made.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {o.output_type for cell in cells for o in cell.outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    for kind in ("text/plain", "text/html", "text/markdown"):
        assert not [found[0] for text in outputs(made, kind) if (found := LOCAL.search(text))]
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 200_000
    assert (
        "say nothing about jina-clip" in made.cells[0].source
        or "nothing of these tables is measured" in made.cells[0].source
    )


def test_paths_of_a_machine_are_seen():
    for text in (
        "/home/me/runs",
        "at '/tmp/x'",
        r"C:\runs",
        "<Legend at 0x7f1d30909dd0>",
        "(/Users/me)",
    ):
        assert LOCAL.search(text), text
    for text in (
        "results/runs/a",
        "mteb:ATEC/test",
        "</td>",
        "https://a.org/b/c",
        "../docs/x.md",
        "1/2",
        "and/or",
    ):
        assert not LOCAL.search(text), text


# what they show


def test_the_quickstart_shows_the_newest_record(demo, tmp_path):
    found = run("quickstart", tmp_path, demo)
    (path,) = (demo / "scenes" / "tiny").iterdir()
    html = " ".join(outputs(found, "text/html"))
    assert str(path / "queries.parquet") in html
    value = {
        (m.subset, m.direction, m.k): m.value
        for m in read_run(path).metrics
        if (m.metric, m.precision) == ("R", "float32")
    }
    row = re.search(r"<th>fr</th>\s*" + r"<td>([\d.]+)</td>\s*" * 6, html)
    want = [
        round(100 * value["fr", direction, k], 1)
        for direction in ("t2i", "i2t")
        for k in (1, 5, 10)
    ]
    assert row and list(map(float, row.groups())) == want
    assert len(outputs(found, "image/png")) == 3


def test_the_tradeoffs_are_those_of_the_sweep(demo, tmp_path):
    found = run("mrl_tradeoffs", tmp_path, demo)
    (path,) = (demo / "scenes.partial" / "tiny").iterdir()
    scores = {
        (m.dim, m.precision): m.value
        for m in read_run(path).metrics
        if (m.metric, m.k, m.direction) == ("R", 1, "t2i")
    }
    html = outputs(found, "text/html")[0]
    for dim in (256, 64, 16):
        row = re.search(rf"<th>{dim}</th>\s*<td>([\d.]+)</td>\s*<td>([\d.]+)</td>", html)
        want = [round(100 * scores[dim, kind], 1) for kind in ("float32", "binary")]
        assert row and list(map(float, row.groups())) == want
    figures = outputs(found, "image/png")
    assert len(figures) == 3 and all(
        base64.b64decode(png).startswith(b"\x89PNG") for png in figures
    )


def test_the_tables_show_what_records_measured_and_nothing_else(tmp_path):
    write_singles(tmp_path / "runs", ["v2post-flickr30k"])
    found = run("reproduce_tables", tmp_path, tmp_path / "runs")
    html = outputs(found, "text/html")[0]
    counts = {
        name: [int(n) for n in numbers]
        for name, *numbers in re.findall(
            r"<th>([\w-]+)</th>\s*<td>[^<]*</td>\s*" + r"<td>(\d+)</td>\s*" * 4, html
        )
    }
    assert counts["v2post-flickr30k"] == [
        6,
        0,
        0,
        6,
    ]  # scores of v1 and v2 and their ratio, in both directions; not NLLB's
    assert counts["v2post-multilingual-t2i"][:3] == [0, 0, 0]
    assert counts["all"] == [
        sum(n) for n in zip(*(row for name, row in counts.items() if name != "all"), strict=True)
    ]
    (table,) = outputs(
        found, "text/markdown"
    )  # of what no record holds: published numbers stand in brackets only
    scores = [
        cell
        for line in table.split("\n\n")[0].splitlines()[2:]
        for cell in line.split("|")[2:-1]
        if cell.strip()
    ]
    assert scores and all(re.fullmatch(r" – \([^)]*\).* ", cell) for cell in scores)


def test_without_records_the_first_cell_says_how_to_make_some(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"MissingError\S*: .* There is none at all: make demo leaves some"
    ):
        run("quickstart", tmp_path, tmp_path / "none")
    assert not (tmp_path / "quickstart.ipynb").exists()
