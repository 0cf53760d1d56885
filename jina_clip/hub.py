"""Finds the folder of a checkpoint by its name: a local folder as it is, or a repo of the Hub, downloaded."""

import re
from pathlib import Path

from jina_clip.checkpoint import ADAPTER, FILES, INDEX

# What a checkpoint may hold: shards and their index where a repo has them; of an adapter only the
# file that gives it away.
PATTERNS = [*FILES, INDEX, "model-*-of-*.safetensors", ADAPTER[0]]


def fetch(path_or_hub_id: str | Path, revision: str | None = None) -> Path:
    """The folder of a checkpoint: the local one, or the snapshot of a Hub repo.

    A local folder never touches the network. When the Hub does not answer, its cache serves, after
    the half minute that huggingface_hub tries; with HF_HUB_OFFLINE=1 it serves at once.
    FileNotFoundError when the folder or the repo cannot be had.
    """
    folder = Path(path_or_hub_id)
    if folder.is_dir():
        return folder
    repo = str(path_or_hub_id)
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", repo):
        raise FileNotFoundError(
            f"{repo} is neither a folder nor a Hub id such as jinaai/jina-clip-v2"
        )
    return _snapshot(repo, revision)


def _snapshot(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=PATTERNS))
    except (OSError, HTTPError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(
            f"{repo} is not in the Hub's cache and cannot be fetched: {reason}"
        ) from error
