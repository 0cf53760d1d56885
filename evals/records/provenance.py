"""Where a result came from: machine and the state of the source.

No torch is loaded for it.
"""

import base64
import hashlib
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from evals.paths import built_from, checkout
from evals.reading import read_json
from evals.schema import InvalidError


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


def source_state() -> dict[str, Any] | None:
    """The git commit of this source and whether it was changed since.

    In a checkout git tells. An installed copy says what its wheel was built from, and never looks
    at the folder it runs in; it was changed, too, when a file of code is not the one that was
    installed. None when neither is known: source without git, or a wheel built from such.
    """
    root = checkout()
    if root is None:
        file = built_from()
        if not file.is_file():
            return None
        built = read_json(file)
        if not isinstance(built, dict) or not {"commit", "dirty"} <= built.keys():
            raise InvalidError(f"{file}: does not name a commit. Install the package again.")
        return {"commit": built["commit"], "dirty": built["dirty"] or _edited(file.parent.parent)}
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(changes)}


def _edited(site: Path) -> bool:
    """Whether a module in site-packages differs from the hash that the wheel's RECORD has of it, or nothing vouches for it."""
    candidates = importlib.metadata.distributions(name="jina-clip-evals", path=[str(site)])
    record = next((distribution.files for distribution in candidates), None)
    if record is None:
        return True
    for entry in record:
        file = site / entry
        if entry.suffix != ".py" or entry.hash is None:
            continue
        digest = hashlib.new(entry.hash.mode, file.read_bytes() if file.is_file() else b"").digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != entry.hash.value:
            return True
    return False


def _git(root: Path, *words: str) -> str:
    # In a git hook, GIT_DIR and its like name the repository that is being committed to.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(  # noqa: S603
        ["git", "-C", str(root), *words],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout.strip()


def peak_memory() -> dict[str, float]:
    """The most memory this process has held, in MB: resident, and on the accelerator when torch uses one."""
    peak = {"resident": round(_peak_resident() / 1e6, 1)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peak["accelerator"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return peak


def utc(seconds: float) -> str:
    """Seconds since the epoch as `2026-01-31T12:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _peak_resident() -> int:
    """In bytes. Linux's ru_maxrss begins with the memory of the process that started this one; VmHWM does not."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        unit = 1 if platform.system() == "Darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
