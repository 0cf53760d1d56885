"""Shows warnings of libraries as single lines, and silences their progress bars, advice and logs.

What matters of a library's log is checked by whoever calls it, and raised. So of their logs errors are
left, of Python's warnings those that are not about code of the future, and of our own log all.
Users who set a variable or `-W` themselves get what they set. Downloads from the Hub keep their bar,
on a terminal: minutes without a sign of life look like a command that hangs.
"""

import logging
import os
import sys
import textwrap
import warnings
from typing import Any, TextIO

from evals.escape import visible

OURS = ("evals", "jina_clip")
# Libraries that print by handlers of their own, which read these when they are imported.
VARIABLES = {
    "DATASETS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def quiet_libraries() -> None:
    """Call it once per process, before any library is imported; `-W` and variables that are set stand."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    root = logging.getLogger()
    # Also so that `logging.warning`, as open_clip calls it, sets up no second handler.
    root.addHandler(_Lines(logging.WARNING))
    if not sys.warnoptions:
        for category in (DeprecationWarning, FutureWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        warnings.showwarning = _show


def between_words(text: str, stream: Any) -> str:
    """The text as a stream shows it: a terminal breaks it between words, and leaves paths whole.

    Files and pipes get one line, which `grep` finds.
    """
    if not stream.isatty():
        return text
    # Not the environment's COLUMNS, which is of another stream. Some terminals say 0.
    columns = os.get_terminal_size(stream.fileno()).columns or 80
    lines = textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def print_error(text: str) -> None:
    """A message on stderr, above a bar where there is one; control characters are made visible."""
    text = between_words(visible(text), sys.stderr)
    # Only where a bar may be on the screen: tqdm takes it away, prints, and draws it again.
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:
        print(text, file=sys.stderr)  # noqa: T201
    else:
        tqdm.tqdm.write(text, file=sys.stderr)


class _Lines(logging.Handler):
    """Prints what is logged, names of files among it, which may hold control characters."""

    def emit(self, record: logging.LogRecord) -> None:
        is_ours = record.name.split(".")[0] in OURS
        if is_ours or record.levelno >= logging.ERROR:
            print_error(record.getMessage())


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> Any:
    # Where it comes from is for who reports it; what lies around that line of code is for nobody.
    text = " ".join(str(message).split())
    print_error(f"warning: {text} ({filename}:{lineno})")
