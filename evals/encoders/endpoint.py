"""Where an embeddings API is: the URL and model of a spec, the key and pace of the environment."""

import ipaddress
import math
import os
import re
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from evals.schema import ConfigError

# Ours first: whoever has several keys set can say which one is meant.
KEYS = ("EVALS_API_KEY", "JINA_API_KEY", "OPENAI_API_KEY")
RATE = "EVALS_API_RPM"
# Parts of the names of URL parameters that carry a credential.
SECRETS = ("key", "token", "secret", "password", "sig", "auth", "credential")
# What may stand behind the model, as `;name=value`, and how the value is written.
OPTIONS = {"dim": re.compile(r"[1-9]\d{0,5}"), "answers": re.compile(r"\S(.*\S)?")}


class Endpoint(NamedTuple):
    """Where to ask, and for which model.

    `dimensions` is the width to ask for (None: the model's), `answers` the server's name for the
    model (None: the same).
    """

    url: str
    model: str
    dimensions: int | None = None
    answers: str | None = None


class Key(NamedTuple):
    """A key and the variable that holds it; both are empty where none is set."""

    variable: str
    value: str


def read_endpoint(spec: str) -> Endpoint:
    """The endpoint of `URL#MODEL`, `URL#MODEL;dim=N`, `URL#MODEL;answers=NAME`, or with both.

    ConfigError for anything else, for credentials in the URL, and for plain http to another
    machine. No message repeats a credential.
    """
    url, _, fragment = spec.partition("#")
    parts = _checked_url(url)
    model, *texts = fragment.split(";")
    if not model.strip():
        raise ConfigError(
            f"api: no model for {parts.netloc}. "
            "Name it behind the URL: api:https://HOST/PATH#MODEL."
        )
    options = _read_options(texts, model)
    dim = options.get("dim")
    return Endpoint(url, model, int(dim) if dim else None, options.get("answers"))


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_key() -> Key:
    """The first key that is set.

    ConfigError, which does not show it, for one that cannot be a key.
    """
    for variable in KEYS:
        value = os.environ.get(variable, "").strip()
        # A line break would end the header, and what follows would be a header of its own.
        if value and not re.fullmatch(r"[!-~]+", value):
            raise ConfigError(
                f"{variable} holds a space or a character that no key has. Set it to the key alone."
            )
        if value:
            return Key(variable, value)
    return Key("", "")


def read_spacing() -> float:
    """Seconds between two requests: 0 unless EVALS_API_RPM is set.

    ConfigError when that is no rate.
    """
    rate = os.environ.get(RATE, "").strip()
    if not rate:
        return 0.0
    if not re.fullmatch(r"\d+(\.\d+)?", rate, re.ASCII) or not 0 < float(rate) < math.inf:
        raise ConfigError(f"{RATE}={rate}: must be a number of requests a minute, above 0.")
    return 60 / float(rate)


def _checked_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        # The port is parsed only when it is asked for, and raises here if it is none.
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(
            "api: the URL cannot be read. Give api:https://HOST/PATH#MODEL."
        ) from None
    secret = _secret_parameter(parts)
    if "@" in parts.netloc or secret:
        where = f"its parameter {secret}" if secret else "before the @"
        raise ConfigError(
            f"api: the URL carries a credential ({where}). Leave it out and set {KEYS[0]}."
        )
    # In ASCII: a letter that looks like another would send the key to another host.
    if parts.scheme not in ("http", "https") or not host or not _is_plain(url):
        raise ConfigError(
            "api: the URL must be http(s) with a host, in ASCII. Give api:https://HOST/PATH#MODEL."
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigError(
            f"api: with http:// the key and the data would travel to {host} in clear. Use https://."
        )
    return parts


def _is_plain(url: str) -> bool:
    return url.isprintable() and url.isascii()


def _secret_parameter(parts: SplitResult) -> str | None:
    """The first parameter of a URL whose name is that of a credential."""
    for name, _ in parse_qsl(parts.query):
        if any(word in name.lower() for word in SECRETS):
            return name
    return None


def _read_options(texts: list[str], model: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name in values or name not in OPTIONS or not OPTIONS[name].fullmatch(value):
            raise ConfigError(
                f"api: {text!r} behind the model {model} means nothing. "
                "Only ;dim=N and ;answers=NAME may stand there, once each."
            )
        values[name] = value
    return values
