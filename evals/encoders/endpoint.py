"""An embeddings API as a place to post to: its URL and key, the retries, the pace, and what each failure means."""

import importlib
import importlib.util
import ipaddress
import json
import math
import os
import random
import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from evals.schema import ConfigError, InvalidError, MissingError

KEYS = ("EVALS_API_KEY", "JINA_API_KEY", "OPENAI_API_KEY")
TRIES = 6
LONGEST_WAIT = 60.0  # seconds, whatever Retry-After says
CONNECT_SECONDS, READ_SECONDS = 30.0, 120.0
TRANSIENT = frozenset({408, 409, 429})  # and every 5xx
SAID = 300  # characters of the server's own message
SECRETS = ("key", "token", "secret", "password", "sig", "auth", "credential")

# Tests put their own here, so that none of them waits.
_sleep = time.sleep
_clock = time.monotonic


class TooLargeError(Exception):
    """The server takes no request of this size."""


class Endpoint(NamedTuple):
    """Where to ask, whom, and for which width (None: the model's own)."""

    url: str
    model: str
    dimensions: int | None


class _Key(NamedTuple):
    variable: str
    value: str


def read_endpoint(spec: str) -> Endpoint:
    """`URL#MODEL` or `URL#MODEL;dim=N`. ConfigError for anything else, for credentials in the URL, and for plain http to another
    machine; no message repeats a credential."""
    url, _, fragment = spec.partition("#")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(
            "api: the URL cannot be read. Give api:https://HOST/PATH#MODEL."
        ) from None
    secret = next(
        (
            name
            for name, _ in parse_qsl(parts.query)
            if any(word in name.lower() for word in SECRETS)
        ),
        None,
    )
    if "@" in parts.netloc or secret:
        where = f"its parameter {secret}" if secret else "before the @"
        raise ConfigError(
            f"api: the URL carries a credential ({where}). Leave it out and set {KEYS[0]}."
        )
    if (
        parts.scheme not in ("http", "https")
        or not host
        or not url.isprintable()
        or not url.isascii()
    ):
        raise ConfigError(
            "api: the URL must be http(s) with a host, in ASCII. Give api:https://HOST/PATH#MODEL."
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigError(
            f"api: with http:// the key and the data would travel to {host} in clear. Use https://."
        )
    model, *options = fragment.split(";")
    if not model.strip():
        raise ConfigError(
            f"api: no model for {parts.netloc}. Name it behind the URL: api:https://HOST/PATH#MODEL."
        )
    if not options:
        return Endpoint(url, model, None)
    if len(options) > 1 or not (asked := re.fullmatch(r"dim=([1-9]\d{0,5})", options[0])):
        raise ConfigError(
            f"api: {';'.join(options)!r} behind the model {model} means nothing. Only ;dim=N may stand there."
        )
    return Endpoint(url, model, int(asked[1]))


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Server:
    """Posts JSON to an endpoint and reads JSON back; `usage` counts its requests and retries.

    The key is read from the first of KEYS that is set; without one there is no Authorization header. EVALS_API_RPM spaces the
    requests. ConfigError for values of these that cannot be meant.
    """

    def __init__(self, endpoint: Endpoint, name: str, usage: dict[str, int]) -> None:
        self.endpoint, self.usage = endpoint, usage
        self.where = f"{name}: {urlsplit(endpoint.url).netloc}"
        self._spacing, self._next = _spacing(), 0.0
        _key()

    def client(self) -> Any:
        """A connection to use in a `with`."""
        http, key = _http(), _key()
        try:
            http.URL(self.endpoint.url)
            return http.Client(
                headers={"Content-Type": "application/json"}
                | ({"Authorization": f"Bearer {key.value}"} if key.value else {}),
                timeout=http.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
                # A request to this machine goes through no proxy: it may be plain http, with the key in it.
                trust_env=not is_loopback(urlsplit(self.endpoint.url).hostname or ""),
            )
        except http.InvalidURL as error:
            raise ConfigError(
                f"{self.where}: the URL, or that of a proxy, is none ({error}). Correct it."
            ) from None
        except (ImportError, ValueError) as error:
            raise MissingError(
                f"{self.where}: the proxy of the environment cannot be used ({error}). Correct it."
            ) from None

    def post(self, client: Any, body: dict[str, Any]) -> Any:
        """The JSON of a good answer. What may pass is tried again: after Retry-After, else by exponential back-off with full
        jitter. TooLargeError for 413; MissingError, ConfigError or InvalidError for what will not pass."""
        content, reason = json.dumps(body, allow_nan=False).encode(), ""
        for failures in range(1, TRIES + 1):
            self._take_turn()
            self.usage["requests"] += 1
            wait = None
            try:
                response = client.post(self.endpoint.url, content=content)
            except _http().RequestError as error:
                reason = (
                    f"{self.where} cannot be reached ({type(error).__name__}: {_line(str(error))})"
                )
            else:
                if response.status_code == 200:
                    return self._strict_json(response.text)
                reason, wait = (
                    self._refused(response),
                    _retry_after(response.headers.get("Retry-After")),
                )
            if failures < TRIES:
                self.usage["retries"] += 1
                _sleep(
                    random.SystemRandom().uniform(0, 2.0 ** (failures - 1))
                    if wait is None
                    else wait
                )
        raise MissingError(
            f"{reason}, {TRIES} times. Try again later: what was stored so far is kept."
        )

    def _refused(self, response: Any) -> str:
        """Why a request failed, when another try may help; the error of one that can only fail again is raised."""
        status, key = response.status_code, _key()
        what = f"{self.where} answers {status}"
        said = f" ({found})" if (found := _message(response.text, hidden=key.value)) else ""
        if status in TRANSIENT or status >= 500:
            return what + said
        if status == 413:
            raise TooLargeError
        if status in (401, 403):  # the message is left out: servers repeat the key in it
            why = f"it refuses the key in {key.variable}" if key.value else "it wants a key"
            raise MissingError(
                f"{what}: {why}. Set {KEYS[0]} (or {' or '.join(KEYS[1:])}) to a key of this API."
            )
        if status == 402:
            raise MissingError(
                f"{what}{said}: the account has no balance left. Top it up: what was stored so far is kept."
            )
        if status == 404:
            raise ConfigError(
                f"{what}{said}: no such endpoint, or no model {self.endpoint.model!r}. Correct --model."
            )
        if status < 400:
            raise ConfigError(
                f"{what}, where embeddings were expected. Give the URL of the endpoint itself."
            )
        raise InvalidError(f"{what}{said}. Correct the model, ;dim=N, or the items that are sent.")

    def _strict_json(self, text: str) -> Any:
        def refuse(constant: str) -> None:
            raise ValueError(f"{constant} is no JSON number")

        try:
            return json.loads(text, parse_constant=refuse)
        except (ValueError, RecursionError) as error:
            raise InvalidError(
                f"{self.where} answers with no strict JSON ({error}). Check the URL and the model."
            ) from None

    def _take_turn(self) -> None:
        if self._spacing:
            if (wait := self._next - _clock()) > 0:
                _sleep(wait)
            self._next = max(self._next, _clock()) + self._spacing


def _http() -> Any:
    """httpx, which has another name in each generation of huggingface_hub and there is one of them wherever that is installed."""
    for name in ("httpx2", "httpx"):
        if importlib.util.find_spec(name):
            return importlib.import_module(name)
    raise MissingError(
        "An API needs an HTTP client, and neither httpx2 nor httpx is installed. Install httpx2."
    )


def _key() -> _Key:
    for variable in KEYS:
        if value := os.environ.get(variable, "").strip():
            if not re.fullmatch(r"[!-~]+", value):
                raise ConfigError(
                    f"{variable} holds a space or a character that no key has. Set it to the key alone."
                )
            return _Key(variable, value)
    return _Key("", "")


def _spacing() -> float:
    given = os.environ.get("EVALS_API_RPM", "").strip()
    if not given:
        return 0.0
    if (
        not re.fullmatch(r"\d+(\.\d+)?", given, re.ASCII)
        or not float(given)
        or not math.isfinite(float(given))
    ):
        raise ConfigError(f"EVALS_API_RPM={given}: must be a number of requests a minute, above 0.")
    return 60 / float(given)


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, capped; None when the header is not there or says nothing that can be read."""
    if value is None:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", value.strip(), re.ASCII):
        return min(float(value), LONGEST_WAIT)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max(date.timestamp() - time.time(), 0.0), LONGEST_WAIT)


def _message(text: str, *, hidden: str) -> str:
    """What the server says, in one line and without the key: FastAPI's `detail`, OpenAI's `error.message`, or all of it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = text
    for name in ("detail", "error", "message"):
        found = found.get(name, found) if isinstance(found, dict) else found
    said = found if isinstance(found, str) else json.dumps(found)
    return _line(said.replace(hidden, "***") if hidden else said)


def _line(text: str) -> str:
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:SAID].rstrip(". ")
