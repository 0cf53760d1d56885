"""What ends a command, in words: errors of the operating system with a remedy, and faults of ours as a report to send."""

import errno
import platform
import re
import shlex
import sys
import traceback

from evals.escape import visible
from evals.schema import EvalError, MissingError

FAULT = 70  # EX_SOFTWARE of sysexits.h; 1 would mean "regressed"
_ROOM = "Make room there, or name another folder with --results and --store"
_ACCESS = "Change its permissions, or name another place"
REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: "Name a place that can be written to",
    errno.ENOENT: "Check the path",
    errno.ENOTDIR: "A file stands where a folder is needed: name another place",
    errno.EISDIR: "A folder stands where a file is needed: name another file",
    errno.EEXIST: "Move it away, or name another place",
    errno.ENOTEMPTY: "Move it away, or name another place",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.ELOOP: "Its symbolic links lead in a circle: name another place",
    errno.EMFILE: "Raise the limit of open files: ulimit -n 4096",
    errno.ENFILE: "Raise the limit of open files of this machine",
    errno.EIO: "Check the disk",
    errno.ENOMEM: "Free some memory",
}


def as_eval_error(error: EvalError | OSError) -> EvalError:
    """Disk full, no permission, a folder that cannot be made: the machine lacks something, and the message says what to do."""
    if isinstance(error, EvalError):
        return error
    place = error.filename2 or error.filename or "the operating system"
    remedy = REMEDIES.get(error.errno or 0, "Mend that")
    return MissingError(
        f"{place}: {error.strerror or error}. {remedy}, then run the same command again."
    )


def report_of(error: Exception) -> list[str]:
    """Lines that let others see what happened: traceback, versions and the command, without credentials."""
    from evals.records.provenance import packages

    trace = "".join(traceback.format_exception(error)).splitlines()
    versions = " ".join(f"{name} {version}" for name, version in packages().items())
    command = re.sub(r"(?<=://)[^/@\s]+@", "***@", shlex.join(sys.orig_argv))
    return [
        *trace,
        f"error: {in_short(error)}",
        "This is a fault of jina-clip-evals and says nothing about your model. What was finished is kept.",
        "Please report it with the lines above and these:",
        f"  command: {command}",
        f"  system: {platform.platform()}, Python {platform.python_version()}",
        f"  packages: {versions}",
    ]


def in_short(error: Exception) -> str:
    """Kind and message, in one line."""
    return visible(f"{type(error).__name__}: {error}")
