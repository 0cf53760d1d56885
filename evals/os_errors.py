"""Errors of the operating system in words: the place, what is wrong with it, and what to do."""

import errno

from evals.schema import EvalError, MissingError

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
    """The error as something that the machine lacks, with what to do: room, a permission, a folder."""
    if isinstance(error, EvalError):
        return error
    # Of a rename the target is at fault more often than the source.
    place = error.filename2 or error.filename or "the operating system"
    remedy = REMEDIES.get(error.errno or 0, "Mend that")
    return MissingError(
        f"{place}: {error.strerror or error}. {remedy}, then run the same command again."
    )
