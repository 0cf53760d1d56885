"""Lists what changed around two runs: commit, packages, machine and the encoder's fingerprint."""

from collections.abc import Mapping
from typing import Any

from evals.regress.verdict import Moved

# what can move a number: code, libraries, processor, weights and their settings
PARTS = ("source", "packages", "host", "encoder.fingerprint", "mteb")


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Moved]:
    """The entries of two manifests that are not the same. They are shown and decide nothing."""
    moved = []
    for part in PARTS:
        old, new = _section(before, part), _section(after, part)
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                values = str(old.get(key, "none")), str(new.get(key, "none"))
                moved.append(Moved(f"{part}.{key}", *values))
    return moved


def can_move_a_number(moved: Moved) -> bool:
    """Whether a change can be the reason for a difference between the runs.

    A package that only one of the runs names cannot: what an encoder needs of a package is in its
    fingerprint, and a record of an older version named all that was installed.
    """
    return not moved.what.startswith("packages.") or "none" not in (moved.before, moved.after)


def _section(manifest: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """The mapping at a dotted name; empty where the manifest has none."""
    for key in part.split("."):
        manifest = manifest.get(key) or {}
    return manifest
