"""What makes a site of README, docs/ and the pages beside them: mkdocs calls these functions by their names.

In the repository pages link to files where they lie, and so they read on GitHub, too. In the site README
is the first page, CONTRIBUTING and its like are pages, and a config that a page links to is a file of the site.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File
from mkdocs.structure.nav import Section

ROOT = Path(__file__).parents[1]
# By the place of a page in the repository, that in the site
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "notebooks/README.md": "notebooks.md",
}
_LINK = re.compile(r"(?P<before>\]\(|(?:src|href)=\")(?P<target>[^)\s\"]+)")
_ELSEWHERE = re.compile(r"[a-z]+:|#")
_FOLDER_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^)\s:#]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and files of the repository that lie outside docs/."""
    for name, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    linked = set()
    for source in [*PAGES, *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]:
        for target in targets((ROOT / source).read_text(encoding="utf-8")):
            linked.add(place_of(source, target))
    for name in sorted(linked - PAGES.keys()):
        if not name.startswith("docs/") and (ROOT / name).is_file():
            files.append(File.generated(config, file_place(name), abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **unused: Any) -> str:
    """The page with each link led to where its target lies in the site."""
    by_place = {place: name for name, place in PAGES.items()}
    source = by_place.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def without_folders(match: re.Match[str]) -> str:
        # a folder has no page; its name is still worth reading
        is_folder = (ROOT / place_of(source, match["target"])).is_dir()
        return match["text"] if is_folder else match[0]

    def moved(match: re.Match[str]) -> str:
        return match["before"] + moved_target(source, page.file.src_uri, match["target"])

    return _LINK.sub(moved, _FOLDER_LINK.sub(without_folders, markdown))


def on_nav(nav: Any, config: Any, files: Any) -> Any:
    """Put pages that mkdocs.yml does not name last: a new page is never lost."""
    listed = {page.file.src_uri for page in nav.pages}
    pages = [file.page for file in files.documentation_pages() if file.src_uri not in listed]
    if pages:
        nav.items.append(Section("Also here", pages))
        nav.pages.extend(pages)
    return nav


def targets(markdown: str) -> list[str]:
    """What a page links to within the repository."""
    found = (match["target"] for match in _LINK.finditer(markdown))
    return [target for target in found if not _ELSEWHERE.match(target)]


def place_of(source: str, target: str) -> str:
    """The place in the repository that a link of a page there leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target.partition("#")[0]))


def file_place(name: str) -> str:
    """Where a file of the repository lies in the site; mkdocs leaves out names that begin with a dot."""
    return f"files/{name.removeprefix('.')}"


def moved_target(source: str, page: str, target: str) -> str:
    """The link of a page of the site: `target` as it stands in the page's source."""
    if _ELSEWHERE.match(target):
        return target
    name, anchor = place_of(source, target), target.partition("#")[1:]
    place = PAGES.get(name)
    if place is None:
        place = name.removeprefix("docs/") if name.startswith("docs/") else file_place(name)
    return posixpath.relpath(place, posixpath.dirname(page) or ".") + "".join(anchor)
