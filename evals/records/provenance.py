"""Where a result came from: command, machine, package versions and the state of the source. No torch is loaded for it."""

import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PACKAGES = (
    "jina-clip-evals torch transformers tokenizers safetensors numpy pillow datasets huggingface-hub pandas pyarrow "
    "open-clip-torch sentence-transformers mteb clip-benchmark scikit-learn timm triton flash-attn"
).split()


def command() -> list[str]:
    """The command line, with credentials in URLs blotted out."""
    words = ("python", "-m", f"evals.{Path(sys.argv[0]).stem}", *sys.argv[1:])
    return [re.sub(r"(?<=://)[^/@\s]+@", "***@", word) for word in words]


def host() -> dict[str, Any]:
    """Processor, cores and accelerator (when torch is loaded and sees one)."""
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "accelerator": torch.cuda.get_device_name() if torch is not None and cuda else None,
    }


def packages() -> dict[str, str]:
    """Installed versions of what can change a number."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def source_state() -> dict[str, Any] | None:
    """The git commit of this source and whether it was changed since; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(  # noqa: S603
                ["git", "-C", str(root), *args],  # noqa: S607
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for args in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(status)}


def peak_memory() -> dict[str, float]:
    """The most memory this process has held, in MB: resident, and on the accelerator when torch uses one."""
    unit = 1 if platform.system() == "Darwin" else 1024
    peak = {"resident": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peak["accelerator"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return peak


def utc(seconds: float) -> str:
    """Seconds since the epoch as `2026-01-31T12:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
