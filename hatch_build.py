"""Building a wheel: it carries the commit it was built from, since an installed copy has no git to ask."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface[Any]):
    """Writes `evals/_built.json`, which evals.records.provenance reads. Source that git cannot tell of gets none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or not (Path(self.root) / ".git").exists():
            return
        try:
            commit = self._git("rev-parse", "HEAD")
            changes = self._git("status", "--porcelain", "--untracked-files=no")
        except (OSError, subprocess.CalledProcessError):
            return
        state = {"commit": commit, "dirty": bool(changes)}
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(state, file)
        self._file = Path(file.name)
        self._file.chmod(0o644)
        build_data["force_include"][file.name] = "evals/_built.json"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_file"):
            self._file.unlink()

    def _git(self, *words: str) -> str:
        command = ["git", "-C", self.root, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
