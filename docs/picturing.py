"""How docs/pictures.py makes a picture: of a page, of what a command prints on a terminal, or of Markdown as GitHub shows it."""

import io
import os
import pty
import shutil
import subprocess
import sys
import termios
from pathlib import Path

MOST_BYTES = 100_000
COLOURS = (256, 64)  # the first that is small enough
ARGUMENTS = ["--no-sandbox", "--disable-gpu"]
GITHUB = """
body { font: 14px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; color: #1f2328; }
main { padding: 16px; }
h3 { margin: 0 0 12px; } table { border-collapse: collapse; margin: 12px 0; }
td, th { border: 1px solid #d1d9e0; padding: 4px 10px; } tr:nth-child(2n) td { background: #f6f8fa; }
"""
TERMINAL = """
body { margin: 0; } pre { margin: 0; padding: 14px 18px; color: #1f2328; background: #f6f8fa;
font: 14px/1.4 "DejaVu Sans Mono", monospace; border: 1px solid #d1d9e0; border-radius: 8px; width: max-content; }
"""


def run(folder: Path, module: str, *words: str, check: bool = True) -> None:
    """`python -m MODULE WORDS` in a folder; CalledProcessError where it fails, if that is checked."""
    subprocess.run([sys.executable, "-m", module, *words], cwd=folder, check=check)


def screenshot(page: Path, picture: Path, width: int, height: int | None) -> None:
    """The upper part of a page, as a window of so many pixels shows it; all of its `pre` without a height."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        window = browser.new_page(viewport={"width": width, "height": height or 800})
        window.goto(page.as_uri())
        # Charts are drawn by a script after the page is there.
        window.wait_for_load_state("networkidle")
        if height is None:
            window.locator("main").screenshot(path=picture)
        else:
            window.screenshot(path=picture)
        browser.close()


def printed(folder: Path, *words: str, columns: int = 92) -> str:
    """What a command prints on a terminal of so many columns, colours included, without what it rewrites in place."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (200, columns))
    # Messages and the line of progress go to stderr: the picture shows what stays.
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm-256color"},
    ) as process:
        os.close(theirs)
        _, errors = process.communicate()
    # What was printed waits in the terminal.
    output = b""
    while part := _read(ours):
        output += part
    os.close(ours)
    text = output.decode().replace("\r\n", "\n")
    return errors.decode() + text


def terminal(folder: Path, picture: Path, *commands: tuple[str, str]) -> None:
    """A picture of a terminal: each command, shortened to `$ COMMAND`, and what it printed."""
    from rich.console import Console
    from rich.text import Text

    # Its own output goes nowhere.
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    for place, (command, text) in enumerate(commands):
        if place:
            console.print()
        console.print(Text(f"$ {command}", style="bold"), soft_wrap=True)
        shown = Text.from_ansi(text)
        shown.rstrip()
        console.print(shown, soft_wrap=True)
    body = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
    page = folder / "terminal.html"
    page.write_text(
        f"<meta charset=utf-8><style>{TERMINAL}</style><main style='width:max-content'>{body}</main>"
    )
    screenshot(page, picture, 1000, None)


def github(folder: Path, markdown: Path, picture: Path, width: int) -> None:
    """A picture of a Markdown file as GitHub shows it in a comment or a job's summary."""
    from markdown_it import MarkdownIt

    html = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(markdown.read_text())
    # A machine without a font of emoji would draw boxes.
    for sign, colour in {"🔴": "#d1242f", "🟡": "#e3b341", "🟢": "#2da44e"}.items():
        html = html.replace(sign, f'<span style="color:{colour}">●</span>')
    page = folder / "github.html"
    page.write_text(f"<meta charset=utf-8><style>{GITHUB}</style><main>{html}</main>")
    screenshot(page, picture, width, None)


def shrink(picture: Path) -> None:
    """Fewer colours, so that a clone stays small; ValueError where that is not enough."""
    from PIL import Image

    with Image.open(picture) as image:
        whole = image.convert("RGB")
    for colours in COLOURS:
        # Colours that are rare, such as that of a red dot, are not merged into grey.
        whole.quantize(colours, Image.Quantize.MAXCOVERAGE).save(picture, optimize=True)
        size = picture.stat().st_size
        if size <= MOST_BYTES:
            return
    raise ValueError(f"{picture}: {size:,} bytes, and {MOST_BYTES:,} are the most.")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's word for the end of a terminal
        return b""
