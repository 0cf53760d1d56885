"""Notebooks equal the .py beside them, run by the front door, and their committed outputs tell of no machine."""

import ast
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pandas
import pytest

from evals.records.record import Run, read_run
from tests.published_toys import write_singles

ROOT = Path(__file__).parents[1]
NAMES = ("quickstart", "training_loop", "vector_size", "reproduce_tables")
# The report has no place in `import evals`.
BY_THE_FRONT_DOOR = NAMES[:3]
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


def tables(notebook: Any) -> list[pandas.DataFrame]:
    """The frames that the cells show."""
    frames = []
    for html in outputs(notebook, "text/html"):
        (frame,) = pandas.read_html(io.StringIO(html), index_col=0)
        # the names of columns and of the index stand in two rows
        frame.columns = frame.columns.get_level_values(0)
        frames.append(frame)
    return frames


def run(name: str, folder: Path, records: Path, store: Path | None = None) -> Any:
    """The notebook executed from its .py alone, as `python -m notebooks` does."""
    shutil.copy(ROOT / "notebooks" / f"{name}.py", folder)
    code = f"from pathlib import Path; from notebooks.__main__ import main; main([{name!r}], Path({str(folder)!r}))"
    where = {
        "EVALS_RESULTS": str(records),
        "EVALS_STORE": str(store or folder / "store"),
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


@pytest.mark.parametrize("name", BY_THE_FRONT_DOOR)
def test_notebooks_use_the_front_door(name):
    tree = ast.parse((ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8"))
    imports = [
        ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    ours = {line for line in imports if "evals" in line}
    assert ours == {"import evals", "from evals.paths import checkout"}


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


def test_the_quickstart_shows_the_record_that_it_made(scenes_run, tmp_path):
    made = run("quickstart", tmp_path, tmp_path / "runs", scenes_run.parents[3] / "store")
    (path,) = (tmp_path / "runs" / "scenes" / "tiny").iterdir()
    html = " ".join(outputs(made, "text/html"))
    assert str(path / "queries.parquet") in html
    value = {
        (line.subset, line.direction, line.k): line.value
        for line in read_run(path).metrics
        if (line.metric, line.dim) == ("R", 256)
    }
    row = re.search(r"<th>fr</th>\s*" + r"<td>([\d.]+)</td>\s*" * 6, html)
    expected = [
        round(100 * value["fr", direction, k], 1)
        for direction in ("t2i", "i2t")
        for k in (1, 5, 10)
    ]
    assert row and list(map(float, row.groups())) == expected
    assert len(outputs(made, "image/png")) == 1


def test_the_training_loop_measures_every_tenth_step_and_sees_the_model_learn(tmp_path):
    made = run("training_loop", tmp_path, tmp_path / "runs")
    records = [read_run(path) for path in (tmp_path / "runs" / "drawings" / "drawings").iterdir()]
    # each step has other weights, so none is scored with the rows of another
    assert len({record.manifest.model_identity.weights for record in records}) == 4
    curve, changes = tables(made)[1:]
    assert list(curve.index) == [0, 10, 20, 30]
    assert set(curve.value) == {round(100 * _recall(record), 1) for record in records}
    assert curve.value[30] > curve.value[0] + 20
    assert changes.wins[0] > changes.losses[0]
    assert "the model fell: False" in " ".join(outputs(made, "text/plain"))


def _recall(record: Run) -> float:
    (line,) = (m for m in record.metrics if (m.direction, m.name) == ("t2i", "R@1"))
    return line.value


def test_the_vector_size_is_the_smallest_of_those_shown_in_order(scenes_run, tmp_path):
    made = run("vector_size", tmp_path, tmp_path / "runs", scenes_run.parents[3] / "store")
    scores, losses, decision = tables(made)
    assert list(scores.columns) == ["binary", "float32", "int8"] and len(scores) == 5
    assert len(losses) == 3 * 5 - 1
    for _, vectors in losses.groupby("precision"):
        vectors = vectors.sort_values("dim", ascending=False)
        enough = list(vectors.kept_low > 0.95)
        until = enough.index(False) if False in enough else len(enough)
        # after the first that is not shown, none is
        assert list(vectors.shown) == [place < until for place in range(len(vectors))]
    assert decision.bytes.item() == losses[losses.shown].bytes.min()
    assert decision.gigabytes.item() == pytest.approx(decision.bytes.item() / 100)


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
