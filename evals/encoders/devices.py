"""Where a model runs: what `--device` may say."""

import re

import torch

from evals.schema import ConfigError


def choose_device(asked: str | None) -> str:
    """The device that was asked for, or CUDA when there is one; ConfigError for one that torch cannot use here."""
    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {asked}: this machine has no CUDA device that torch can use.")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", asked):
        raise ConfigError(f"--device {asked}: give cpu, cuda or cuda:N.")
    if asked.startswith("cuda:") and int(asked[5:]) >= torch.cuda.device_count():
        raise ConfigError(
            f"--device {asked}: this machine has {torch.cuda.device_count()} CUDA devices."
        )
    return asked
