"""Where a model runs: the values of `--device`, and what about a device decides how rows are rounded."""

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
    # torch would say so only when the first tensor is moved, after minutes of loading.
    if device.startswith("cuda:") and int(device[5:]) >= torch.cuda.device_count():
        raise ConfigError(
            f"--device {device}: this machine has {torch.cuda.device_count()} CUDA devices."
        )
    return device


def whole_dtype(dtype: str | None, library: str) -> str | None:
    """The same, where a library's models can be of it; ConfigError for float8, which only ours have."""
    if dtype == "float8":
        raise ConfigError(
            f"--dtype float8: models of {library} take float32, bfloat16 or float16; float8 is for "
            "checkpoints of jina-clip."
        )
    return dtype


def rounding(device: str) -> dict[str, str]:
    """What a fingerprint says of the arithmetic beside the kind of the device and torch's version.

    On CUDA the kernels of a GPU's generation and cuDNN's choice among them sum in another order. A
    program may also have told torch to multiply float32 in fewer bits. On a CPU with the default of
    torch this is empty, so that keys of stored embeddings stay.
    """
    entries = {}
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        entries = {"gpu": f"sm_{major}{minor}", "cudnn": str(torch.backends.cudnn.version())}
    precision = torch.get_float32_matmul_precision()
    return entries | ({} if precision == "highest" else {"float32": precision})
