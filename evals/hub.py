"""Asks the Hugging Face Hub whether it can give a repo now, and if not, why.

The calls of huggingface_hub that download ask again for 23 seconds before they believe that there
is no network. Asked first, the Hub cache serves at once where there is none.
"""

import json
import re
from typing import Literal

# Long enough for a slow network, and short where there is none.
PROBE_SECONDS = 6.0
# The Hub answers, and downloads are tried again.
BUSY = (429, 500, 502, 503, 504)
_REASONS = {
    401: "no access without a login",
    403: "no access for this login",
    404: "no such repo or commit, or a private one",
}


def probe(repo: str, revision: str | None, *, kind: Literal["dataset", "model"]) -> str | None:
    """Why the Hub does not give the repo at that revision; None when it does, or is only busy."""
    from huggingface_hub import HfApi

    # A full commit is asked for, too: it may have gone with its repo, or be behind a login.
    try:
        HfApi().repo_info(repo, repo_type=kind, revision=revision, timeout=PROBE_SECONDS)
    except unreachable() as error:
        return None if _status(error) in BUSY else reason_of(error)
    return None


def unreachable() -> tuple[type[Exception], ...]:
    """What calls of huggingface_hub raise when a repo cannot be had."""
    from huggingface_hub import errors

    # HTTPError is httpx's, and httpx has another name in each generation of huggingface_hub.
    http_error: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    xet_error: type[Exception] = getattr(errors, "XetDownloadError", OSError)
    return OSError, http_error, json.JSONDecodeError, xet_error


def reason_of(error: Exception) -> str:
    """The failure in one line, without credentials that a URL may carry."""
    status = _status(error)
    if status:
        hint = f" ({_REASONS[status]})" if status in _REASONS else ""
        return f"the Hub answers {status}{hint}"
    if type(error).__name__ == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE is set"
    # The first line of what huggingface_hub says; advice and request ids follow.
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"the Hub cannot be reached ({re.sub(r'//[^/@ ]+@', '//', line)})"


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)
