"""The folder of a model's repo on the Hub: its snapshot, from the network or from the Hub's cache."""

from pathlib import Path

from evals.hub import probe, reason_of, unreachable
from evals.schema import MissingError


def snapshot(
    repo: str,
    revision: str | None,
    *,
    local_way: str,
    only: list[str] | None = None,
    without: list[str] | None = None,
) -> Path:
    """The folder with the files of a repo, named by its commit.

    `only` and `without` are patterns as the Hub has them. When the Hub does not answer, its cache
    serves. MissingError when neither has the repo; it names the ways to provide the model, among
    them `local_way`.
    """
    from huggingface_hub import snapshot_download

    silence = probe(repo, revision, kind="model")
    try:
        folder = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=only,
            ignore_patterns=without,
            local_files_only=silence is not None,
        )
    except unreachable() as error:
        raise MissingError(
            f"{repo} is not in the Hub's cache and cannot be fetched: "
            f"{silence or reason_of(error)}. Provide it in one of three ways: a network "
            f"connection to the Hub (and HF_TOKEN if the repo is gated); {local_way}; "
            "or a Hub cache filled elsewhere, through HF_HOME."
        ) from error
    return Path(folder)
