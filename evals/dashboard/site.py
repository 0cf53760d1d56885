"""The site as files: pages through templates, runs with a page each, the script and the styles."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evals.analysis.stated_files import Results
from evals.dashboard import audit, details, foreign, judged, pages, pairs, speed, summary, watched
from evals.dashboard.history import History
from evals.dashboard.parts import Page, Row
from evals.dashboard.shown import Words
from evals.dashboard.timings import Timing
from evals.escape import visible_page
from evals.files import named, replacement
from evals.records.seal import SEAL, as_seal, sha256
from evals.schema import ConfigError

HERE = Path(__file__).parent
# A folder with this file is a site, and may be replaced. The file lists what belongs to the site.
MARK = ".evals-dashboard"


class Verdicts(NamedTuple):
    """What other commands judge, as rows of their pages: see evals.dashboard.judged."""

    gates: Sequence[Row] = ()
    reproduction: Sequence[Row] = ()


def build(
    history: History,
    verdicts: Verdicts,
    out: Path,
    *,
    imported: Results = foreign.NONE,
    timings: Sequence[Timing] = (),
    words: Words | None = None,
) -> int:
    """Write the site to `out`, whole or not at all, and return its number of pages.

    `imported` is what result files of other tools state, `timings` what the benchmarks of speed
    measured, `words` finds what queries say.

    A site that is there is replaced, and what else lies in its folder stays there. ConfigError for
    a folder that is no site and holds anything, and for a file that is not of the site and would
    be overwritten. Of two processes the second waits.
    """
    out = out.resolve()  # a link stays one
    with replacement(out) as folder:
        if out.exists() and not (out / MARK).exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(
                f"--out {out}: holds something that is no site. Give a new or an empty folder."
            )
        count = _write(
            [*_pages(history, verdicts, imported, words), *speed.speed_pages(timings)],
            history,
            folder,
        )
        for path, photo in (words.photos if words else {}).items():
            _save(folder / path, photo)
        belongings = sorted([SEAL, *(file.as_posix() for file in _files(folder))])
        _save(folder / MARK, "".join(f"{name}\n" for name in belongings).encode())
        # Before what is not of the site comes along: evals.verify holds the site to this.
        hashes = {file.as_posix(): sha256((folder / file).read_bytes()) for file in _files(folder)}
        _save(folder / SEAL, as_seal(hashes))
        if (out / MARK).exists():
            _take_along(out, folder)
    return count


def _take_along(old: Path, new: Path) -> None:
    """Bring what somebody laid into the old site into the new one, such as a CNAME or a .git."""
    listed = (old / MARK).read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    # Earlier versions listed nothing: all that bears the name of a page was theirs.
    belongings = {MARK, *(listed or (file.as_posix() for file in _files(new)))}
    for file in _files(old):
        if file.as_posix() in belongings or file.match("runs/*.html"):
            continue
        if (new / file).exists():
            raise ConfigError(
                f"--out {old}: {file} is not of the site that is there, and the new site has such "
                "a file. Move it away, or name another folder."
            )
        (new / file).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(old / file, new / file, follow_symlinks=False)
        except OSError:  # a file system without links
            shutil.copy2(old / file, new / file, follow_symlinks=False)


def _files(folder: Path) -> Iterator[Path]:
    """The paths of all files and links below a folder, seen from it."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in [*names, *links]:
            yield Path(place, name).relative_to(folder)


def _write(main: Sequence[Page], history: History, folder: Path) -> int:
    for file in _files(HERE / "static"):
        _save(folder / "static" / file, (HERE / "static" / file).read_bytes())
    menu = [(page.name, page.title) for page in main]
    about = _about(history)
    template = _template()

    def save(path: Path, page: Page, root: str) -> None:
        text = template(
            page=page, data=_data(page), menu=menu, titles=dict(menu), root=root, about=about
        )
        # The data in the page is ASCII, and so this changes none of it.
        _save(path, visible_page(text).encode())

    for page in main:
        save(folder / f"{page.name}.html", page, root="")
    count = len(main)
    for name, page in details.of_runs(history):
        save(folder / "runs" / name, page, root="../")
        count += 1
    for name, page in watched.of_trainings(history):
        save(folder / watched.FOLDER / name, page, root="../")
        count += 1
    return count


def _pages(
    history: History, verdicts: Verdicts, imported: Results, words: Words | None
) -> list[Page]:
    compared = pairs.compare(history)
    said = summary.sentences(
        history, verdicts.gates, verdicts.reproduction, compared.sentences, imported
    )
    return [
        pages.overview(history, judged.worst(verdicts.gates), imported, said),
        judged.reproduction(verdicts.reproduction),
        pages.trends(history),
        *watched.watched_pages(history),
        compared,
        pages.matryoshka(history),
        pages.languages(history),
        audit.mistakes(history, words),
        pages.runs(history),
        foreign.results(imported, history),
        judged.gates(verdicts.gates, list(summary.of_gates(verdicts.gates))),
        audit.quality(history, imported.unread),
    ]


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("page.html.j2").render


def _data(page: Page) -> dict[str, Any]:
    return {
        "name": page.name,
        "single": page.single,
        "matrix": page.matrix,
        "tables": [table.data() for table in page.tables],
        "charts": [chart._asdict() for chart in page.charts],
    }


def _about(history: History) -> str:
    if not history.runs:
        return "No records."
    count = len(history.runs)
    moment = history.runs[-1].manifest.written.replace("T", " ")[:16]
    return f"{count} record{'s' if count > 1 else ''}, the newest of {moment} UTC."


def _save(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with named(path):
        path.write_bytes(data)
