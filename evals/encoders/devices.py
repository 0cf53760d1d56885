"""Where a model runs: what `--device` may say."""

import re

import torch

from evals.schema import ConfigError


def choose_device(device: str | None) -> str:
    """That device, or CUDA where there is one; ConfigError for one that torch cannot use here."""
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {device}: this machine has no CUDA device that torch can use.")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ConfigError(f"--device {device}: give cpu, cuda or cuda:N.")
    if device.startswith("cuda:") and int(device[5:]) >= torch.cuda.device_count():
        raise ConfigError(
            f"--device {device}: this machine has {torch.cuda.device_count()} CUDA devices."
        )
    return device
