"""Describes a bug of this program as a report that a user can send."""

import platform
import re
import shlex
import sys
import traceback

from evals.escape import visible


def report_of(error: Exception) -> list[str]:
    """Lines that let others see what happened: traceback, versions, and the command.

    Credentials in URLs are blotted out.
    """
    from evals.packages import packages

    trace = "".join(traceback.format_exception(error)).splitlines()
    versions = " ".join(f"{name} {version}" for name, version in packages().items())
    # The report is made to be posted in public: `https://user:token@host` loses what is before the @.
    command = re.sub(r"(?<=://)[^/@\s]+@", "***@", shlex.join(sys.orig_argv))
    return [
        *trace,
        f"error: {in_short(error)}",
        "This is a fault of jina-clip-evals and says nothing about your model. "
        "What was finished is kept.",
        "Please report it with the lines above and these:",
        f"  command: {command}",
        f"  system: {platform.platform()}, Python {platform.python_version()}",
        f"  packages: {versions}",
    ]


def in_short(error: Exception) -> str:
    """Kind and message, in one line."""
    return visible(f"{type(error).__name__}: {error}")
