"""What it means when an embeddings API refuses: try again, ask for less, or stop with a remedy."""

import json
import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from evals.encoders.endpoint import KEYS, Key
from evals.reading import parse_json
from evals.schema import ConfigError, EvalError, InvalidError, MissingError

LONGEST_WAIT = 60.0  # seconds, whatever Retry-After says
TRANSIENT = frozenset({408, 409, 429})  # and every 5xx
CURABLE = frozenset({400, 413, 422})  # what servers answer to more items than they take
MESSAGE_CHARACTERS = 300
MESSAGE_KEYS = ("detail", "error", "message")  # FastAPI's, OpenAI's, and what is inside of it


class PassingError(Exception):
    """A failure that another try may not meet, after the seconds that the server asks for."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class TooMuchError(Exception):
    """A failure that a smaller request may not meet."""

    def __init__(self, reason: str, remedy: str, error: type[EvalError] = InvalidError) -> None:
        super().__init__(reason)
        self.remedy, self.error = remedy, error

    def alone(self, item: str) -> EvalError:
        """The error of a request that cannot be smaller: it holds this item alone."""
        return self.error(f"{self}, for {item} alone. {self.remedy}")


def refusal(
    status: int, body: bytes, *, where: str, model: str, key: Key, retry_after: str | None
) -> Exception:
    """What a status other than 200 means; `where` names the server, `retry_after` is its header."""
    answers = f"{where} answers {status}"
    text = message(lenient_json(body), hidden=key.value)
    reason = f"{answers} ({text})" if text else answers
    if status in TRANSIENT or status >= 500:
        return PassingError(reason, seconds_to_wait(retry_after))
    if status in CURABLE:
        return TooMuchError(reason, "Correct that item, the model, or ;dim=N.")
    if status in (401, 403):  # the message is left out: servers repeat the key in it
        why = f"it refuses the key in {key.variable}" if key.value else "it wants a key"
        names = f"{KEYS[0]} (or {' or '.join(KEYS[1:])})"
        return MissingError(f"{answers}: {why}. Set {names} to a key of this API.")
    # Jina's answer to an empty account; waiting does not fill it.
    if status == 402:
        remedy = "Top it up: what was stored so far is kept."
        return MissingError(f"{reason}: the account has no balance left. {remedy}")
    if status == 404:
        return ConfigError(
            f"{reason}: no such endpoint, or no model {model!r}. Correct what follows api:."
        )
    # Redirects are not followed: nobody has checked where they lead.
    if status < 400:
        return ConfigError(
            f"{answers}, where embeddings were expected. Give the URL of the endpoint itself."
        )
    return InvalidError(f"{reason}. Correct the model, ;dim=N, or the items that are sent.")


def seconds_to_wait(retry_after: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, capped; None if it says nothing readable.

    It holds seconds or a date: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after.
    """
    if retry_after is None:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", retry_after.strip(), re.ASCII):
        return min(float(retry_after), LONGEST_WAIT)
    try:
        date = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    # The oldest form of a date has no zone, and is meant in UTC (RFC 9110, 5.6.7).
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max(date.timestamp() - time.time(), 0.0), LONGEST_WAIT)


def message(value: Any, *, hidden: str) -> str:
    """What a server says in the JSON of an answer, in one line and without the key `hidden`."""
    for name in MESSAGE_KEYS:
        if isinstance(value, dict):
            value = value.get(name, value)
    text = value if isinstance(value, str) else json.dumps(value)
    return one_line(text.replace(hidden, "***") if hidden else text)


def lenient_json(body: bytes) -> Any:
    """The JSON of a refusal, or its text: many servers refuse in HTML."""
    text = body.decode("utf-8", "replace")
    try:
        return parse_json(text, "a refusal")
    except InvalidError:
        return text


def one_line(text: str) -> str:
    """The beginning of a text, in one line, without characters that do not print."""
    printable = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return printable[:MESSAGE_CHARACTERS].rstrip(". ")
