"""The site as files: pages through templates, runs with a page each, the script and the styles."""

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evals.dashboard import audit, details, judged, pages, pairs
from evals.dashboard.model import History
from evals.dashboard.parts import Page, Row
from evals.schema import ConfigError

HERE = Path(__file__).parent
MARK = ".evals-dashboard"  # a folder with this file is a site, and may be replaced


class Verdicts(NamedTuple):
    """What other commands judge, as rows of their pages: see evals.dashboard.judged."""

    gates: Sequence[Row] = ()
    reproduction: Sequence[Row] = ()


def build(history: History, verdicts: Verdicts, out: Path) -> int:
    """Write the site to `out`, whole or not at all, and return its number of pages.

    A site that is there is replaced; ConfigError for a folder that holds anything else.
    """
    if out.exists() and not (out / MARK).exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"--out {out}: holds something that is no site. Give a new or an empty folder."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        count = _write(history, verdicts, part)
        if out.exists():
            shutil.rmtree(out)
        part.rename(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return count


def _write(history: History, verdicts: Verdicts, folder: Path) -> int:
    shutil.copytree(HERE / "static", folder / "static")
    (folder / "runs").mkdir()
    (folder / MARK).touch()
    main = _pages(history, verdicts)
    menu = [(page.name, page.title) for page in main]
    about = _about(history)
    render = _template()
    for page in main:
        _save(
            folder / f"{page.name}.html",
            render(page=page, data=_data(page), menu=menu, root="", about=about),
        )
    count = len(main)
    for name, page in details.of_runs(history):
        _save(
            folder / "runs" / name,
            render(page=page, data=_data(page), menu=menu, root="../", about=about),
        )
        count += 1
    return count


def _pages(history: History, verdicts: Verdicts) -> list[Page]:
    return [
        pages.overview(history, judged.worst(verdicts.gates)),
        judged.reproduction(verdicts.reproduction),
        pages.trends(history),
        pairs.compare(history),
        pages.matryoshka(history),
        pages.languages(history),
        audit.mistakes(history),
        pages.runs(history),
        judged.gates(verdicts.gates),
        audit.quality(history),
    ]


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
    )
    return found.get_template("page.html.j2").render


def _data(page: Page) -> dict[str, Any]:
    return {
        "name": page.name,
        "single": page.single,
        "tables": [table.data() for table in page.tables],
        "charts": [chart._asdict() for chart in page.charts],
    }


def _about(history: History) -> str:
    if not history.runs:
        return "No records."
    count = len(history.runs)
    return f"{count} record{'s' if count > 1 else ''}, the newest of {history.runs[-1].manifest['written']}."


def _save(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace")
