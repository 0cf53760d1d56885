"""Chooses the attention kernel for this machine: the first that imports, runs, and agrees with plain attention.

Each is tried once per process on a small input before it is chosen, and its result is compared with
that of plain attention (trials.py). What is refused has its reason.
"""

import importlib
import importlib.metadata
import logging
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from jina_clip.attention import Run, alibi_slopes, attend_runs, attend_varlen
from jina_clip.text_config import TextConfig
from jina_clip.trials import fault_of

log = logging.getLogger(__name__)


class Kernel(NamedTuple):
    """The function that a backend calls, the package that brings it, and where that comes from."""

    module: str
    function: str
    package: str
    remedy: str = ""
    # Distributions whose releases change its numbers, beside torch and triton, which are recorded
    # for themselves.
    recorded: tuple[str, ...] = ()


KERNELS = {
    "triton": Kernel("triton", "jit", "the package triton"),
    "varlen": Kernel(
        "torch.nn.attention.varlen",
        "varlen_attn",
        f"torch {torch.__version__}",
        "; it came with torch 2.10",
    ),
    "flash_attn": Kernel(
        "flash_attn",
        "flash_attn_varlen_func",
        "the package flash-attn",
        " (pip install 'jina-clip-evals[flash]')",
        ("flash-attn",),
    ),
    "flash_attn_4": Kernel(
        "flash_attn.cute",
        "flash_attn_varlen_func",
        "the package flash-attn-4",
        " (pip install 'jina-clip-evals[flash4]')",
        # its compiler: the package itself is Python alone
        ("flash-attn-4", "nvidia-cutlass-dsl"),
    ),
}
VARLEN = tuple(KERNELS)
# What may be asked for, and what is tried for it in this order; sdpa runs everywhere. flash-attn 2
# comes before flash-attn-4: it is a release, has ALiBi on each card from Ampere on, compiles nothing
# at its first call, and has been measured (docs/performance.md).
CANDIDATES = {
    "auto": (*VARLEN, "sdpa"),
    "sdpa": ("sdpa",),
    "triton": ("triton",),
    "varlen": ("varlen",),
    "flash_attn": ("flash_attn", "flash_attn_4"),
    "flash_attn_4": ("flash_attn_4",),
}
ATTENTION = tuple(CANDIDATES)


def resolve_attention(
    choice: str, config: TextConfig, device: torch.device, dtype: torch.dtype
) -> str:
    """The backend of the text tower: "sdpa" or a name in KERNELS.

    "auto" takes the first that can run: triton, varlen, flash_attn, flash_attn_4, sdpa; and
    "flash_attn" whichever of the two packages can, the older first. The image tower has no padding
    and always runs on sdpa. ValueError gives the reasons when nothing of the choice can run here; a
    lack of memory on the card is raised as it comes.
    """
    if choice not in CANDIDATES:
        raise ValueError(f"attention {choice!r} is not one of {', '.join(ATTENTION)}")
    reasons: list[str] = []
    for name in CANDIDATES[choice]:
        obstacle = None if name == "sdpa" else _obstacle(name, config, device, dtype)
        if obstacle is None:
            return name
        log.info("attention: not %s: %s", name, obstacle)
        if obstacle not in reasons:
            reasons.append(obstacle)
    raise ValueError(f"attention {choice!r} cannot run: {'; '.join(reasons)}")


def recorded_attention(backend: str) -> str:
    """A backend with the releases of its packages: "flash_attn-2.8.3", or "triton" as it is.

    Those of torch and triton are recorded for themselves. PackageNotFoundError where a package has
    no version; `resolve_attention` never gives such a backend.
    """
    packages = KERNELS[backend].recorded if backend in KERNELS else ()
    versions = [importlib.metadata.version(package) for package in packages]
    if not versions:
        return backend
    # The first package has the backend's name already.
    beside = [f"+{package}-{version}" for package, version in zip(packages, versions, strict=True)]
    return f"{backend}-{versions[0]}{''.join(beside[1:])}"


def _obstacle(
    name: str, config: TextConfig, device: torch.device, dtype: torch.dtype
) -> str | None:
    """Why a varlen kernel cannot run; None when it can."""
    heads, alibi = config.num_attention_heads, config.position_embedding_type == "alibi"
    head_width = config.hidden_size // heads
    if name == "varlen" and alibi:
        return (
            "torch's varlen attention has no ALiBi bias, which this text tower needs "
            "(triton, flash_attn and sdpa have)"
        )
    if name == "triton" and (head_width < 16 or head_width & (head_width - 1)):
        return f"its blocks take heads of 16, 32, 64 or 128 channels, not {head_width}"
    if device.type != "cuda":
        return f"it takes a CUDA device, not {device.type}"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"it takes bfloat16 or float16, not {str(dtype).removeprefix('torch.')}"
    # Ampere: what FlashAttention-2's README asks for.
    if torch.cuda.get_device_capability(device) < (8, 0):
        gpu = torch.cuda.get_device_name(device)
        return f"it takes a GPU of compute capability 8.0 or higher, not {gpu}"
    # Last, since it is dear: a CPU imports none of these packages.
    slopes = tuple(alibi_slopes(heads)) if alibi else None
    return (
        import_fault(name)
        or version_fault(name)
        or trial_fault(name, heads, head_width, slopes, device, dtype)
    )


@cache
def import_fault(name: str) -> str | None:
    """Why the function of a backend cannot be imported; None when it can.

    A package that is installed may not import: built for another torch, or of another generation.
    """
    kernel = KERNELS[name]
    absent = f"{kernel.package} is not installed{kernel.remedy}"
    try:
        module = importlib.import_module(kernel.module)
        # The folder of flash-attn-4 alone: Python takes it for a package without a file.
        if getattr(module, "__file__", None) is None:
            return absent
        getattr(module, kernel.function)
    except Exception as error:  # a package may raise what it likes while it looks for its libraries
        if isinstance(error, ModuleNotFoundError) and _is_above(error.name, kernel.module):
            return absent
        place = f"{kernel.module}.{kernel.function}"
        return f"{place} of {kernel.package} cannot be imported: {type(error).__name__}: {error}"
    return None


def _is_above(name: str | None, module: str) -> bool:
    """Whether a name is that of a module or of a package that it lies in."""
    return name is not None and f"{module}.".startswith(f"{name}.")


def version_fault(name: str) -> str | None:
    """Why rows of a backend could not be told from those of another release; None when they can."""
    for package in KERNELS[name].recorded:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if not version:
            return (
                f"{KERNELS[name].module} imports, but the version of {package} is unknown, and rows "
                "are recorded and stored with it; install it as a package"
            )
    return None


# One for each block size of our Triton kernel: the largest may ask for more than a card has; and
# one that spans several blocks of all kernels, in queries and in keys.
TRIAL_LENGTHS = [3, 20, 40, 70, 300]
# Softmax weights and results rounded to the dtype are off by 0.5 steps in heads of 16 and of 64;
# slopes that are 2% wrong by 4.2 in bfloat16, a missing bias by 200.
TRIAL_STEPS = 4.0


@cache
def trial_fault(
    name: str,
    heads: int,
    head_width: int,
    slopes: tuple[float, ...] | None,
    device: torch.device,
    dtype: torch.dtype,
) -> str | None:
    """What is wrong with a kernel on five texts of random numbers; None when it gives what it should.

    That is what plain attention gives of the same numbers on the CPU, in float32. What is raised
    for a lack of memory goes on, and is not remembered.
    """
    generator = torch.Generator().manual_seed(0)
    shape = sum(TRIAL_LENGTHS), 3, heads, head_width
    qkv = torch.randn(shape, generator=generator, device="cpu").to(dtype)
    plain = attend_runs([Run(1, length) for length in TRIAL_LENGTHS], slopes)(qkv.float())

    def of_heads(mixed: Tensor) -> Tensor:
        return mixed.unflatten(1, (heads, -1))  # type: ignore[no-any-return]

    def compute() -> Tensor:
        attend = attend_varlen(TRIAL_LENGTHS, device, slopes, name)
        return of_heads(attend(qkv.to(device)))

    return fault_of(compute, of_heads(plain), dtype, steps=TRIAL_STEPS)
