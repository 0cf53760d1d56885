"""The errors that a user sees: each class is an exit code, each message names culprit and remedy."""

from typing import ClassVar


class EvalError(Exception):
    """Something the user can mend: the message names culprit and remedy, the class the exit code."""

    # Never used: each error is of a class below, and 70 says that a fault of ours came through.
    exit_code: ClassVar[int] = 70


class ConfigError(EvalError):
    """A command line or a YAML file that cannot be meant."""

    exit_code = 2


class InvalidError(EvalError):
    """Data, weights, embeddings or results that are present but broken or incomplete."""

    exit_code = 3


class NotComparableError(EvalError):
    """Two results that do not measure the same thing."""

    exit_code = 4


class MissingError(EvalError):
    """Data or weights that are not on this machine and cannot be fetched."""

    exit_code = 5
