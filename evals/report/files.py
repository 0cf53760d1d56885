"""Writes a report as files: one per format, and one PNG per table."""

from collections.abc import Callable, Sequence
from pathlib import Path

from evals.files import write_atomically
from evals.report.verdicts import Judged

# what a reader of a file must know before the tables, one text per line
Head = Sequence[str]


def write(
    judged: Sequence[Judged], formats: Sequence[str], *, out: Path, stem: str, head: Head
) -> list[Path]:
    """Write the tables in each format into the folder `out` and return the paths.

    `formats` are keys of PAGES, or "png". A file is called `stem`, a PNG as its table.
    """
    # a report for the terminal leaves no empty folder behind
    if formats:
        out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in formats:
        if name == "png":
            paths += [_write_png(table, out) for table in judged]
        else:
            path = out / f"{stem}.{SUFFIXES.get(name, name)}"
            write_atomically(path, PAGES[name](judged, head))
            paths.append(path)
    return paths


def _write_png(judged: Judged, out: Path) -> Path:
    from evals.report.as_png import png

    path = out / f"{judged.table.row.name}.png"
    write_atomically(path, png(judged))
    return path


# Each format imports its own module: the HTML needs jinja2, which the others do not.


def _markdown(judged: Sequence[Judged], head: Head) -> bytes:
    from evals.report.as_markdown import page

    return page(judged, head).encode()


def _html(judged: Sequence[Judged], head: Head) -> bytes:
    from evals.report.as_html import page

    return page(judged, head).encode()


def _csv(judged: Sequence[Judged], head: Head) -> bytes:
    from evals.report.as_csv import page

    return page(judged).encode()


def _latex(judged: Sequence[Judged], head: Head) -> bytes:
    from evals.report.as_latex import page

    return page(judged, head).encode()


PAGES: dict[str, Callable[[Sequence[Judged], Head], bytes]] = {
    "md": _markdown,
    "html": _html,
    "csv": _csv,
    "latex": _latex,
}
FORMATS = (*PAGES, "png")
SUFFIXES = {"latex": "tex"}  # where it is not the format's name
