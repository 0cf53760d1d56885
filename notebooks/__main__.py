"""Runs the notebooks and keeps their outputs: python -m notebooks [NAME …]

The .py is the source; its .ipynb is made from it. They measure the bundled model themselves, but for
reproduce_tables, which reads the records that are there.
"""

import base64
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).resolve().parent


def main(names: Sequence[str], folder: Path = HERE) -> None:
    """Run these notebooks of a folder, or all; what a cell raises ends it, and its .ipynb stays as it was."""
    for source in [folder / f"{name}.py" for name in names] or sorted(folder.glob("[!_]*.py")):
        notebook = jupytext.read(source)
        for place, cell in enumerate(notebook.cells):
            cell.id = f"cell-{place}"  # the same in every run
        NotebookClient(
            notebook,
            timeout=300,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        ).execute()
        del notebook.metadata["language_info"]  # the version of this machine's Python
        for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = small(output.data["image/png"])
        nbformat.write(notebook, source.with_suffix(".ipynb"))
        print(f"wrote {source.with_suffix('.ipynb')}", file=sys.stderr)


def small(png: str) -> str:
    """A PNG in base64 with a palette of 256 colours: half the size or less, for figures of few colours."""
    out = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(256).save(
        out, "png", optimize=True
    )
    return base64.b64encode(out.getvalue()).decode()


if __name__ == "__main__":
    main(sys.argv[1:])
