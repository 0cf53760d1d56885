"""Means that the result files of mteb and CLIP_benchmark state, and their differences.

Such a file holds no value per query: nothing can be paired, so there is no interval and no p.
Sources: mteb/results/task_result.py of mteb 2.26, and `run` in clip_benchmark/cli.py 1.6.2.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from evals.reading import read_json
from evals.schema import InvalidError, NotComparableError

# By tool, the keys without which a file is none of its results.
KEYS = {
    "mteb": {"task_name", "dataset_revision", "mteb_version", "scores"},
    "CLIP_benchmark": {"dataset", "model", "pretrained", "task", "metrics", "language"},
}
MTEB_FORMATS = ("1", "2")  # major versions whose `scores` are lists per split


class Stated(NamedTuple):
    """What a result file says: `values` are means by the tool's own names, in its own unit.

    `source` is the tool with its version, `measured` what must be equal for a comparison.
    """

    path: Path
    source: str
    measured: dict[str, str]
    values: dict[str, float]


class Difference(NamedTuple):
    """A mean in both files, and B less A."""

    name: str
    a: float
    b: float
    difference: float


def is_stated(text: str) -> bool:
    """Whether an operand of a comparison is a JSON file, and no record and no model's name."""
    path = Path(text)
    return path.suffix == ".json" and path.is_file()


def read_stated(path: Path) -> Stated:
    """Read a result file of mteb (TASK.json) or CLIP_benchmark.

    InvalidError: it is neither, of a newer format, or holds what the tool does not write.
    """
    content = read_json(path)
    keys = set(content) if isinstance(content, dict) else set()
    if keys >= KEYS["mteb"]:
        return _of_mteb(path, content)
    if keys >= KEYS["CLIP_benchmark"]:
        return _of_clip_benchmark(path, content)
    raise InvalidError(
        f"{path}: no result file of mteb (keys {', '.join(sorted(KEYS['mteb']))}) or of "
        f"CLIP_benchmark ({', '.join(sorted(KEYS['CLIP_benchmark']))}). Name a record, or such a file."
    )


def differences(a: Stated, b: Stated) -> list[Difference]:
    """The means that both files state; `alone` names the rest.

    NotComparableError for files of other tools, data or tasks, and without a common mean.
    """
    tools = [side.source.split()[0] for side in (a, b)]
    unlike = [name for name in a.measured if a.measured[name] != b.measured.get(name)]
    if tools[0] != tools[1] or unlike:
        reason = f"{unlike[0]} is {a.measured[unlike[0]]!r} in A" if unlike else "the tools differ"
        raise NotComparableError(
            f"{a.path} and {b.path} do not measure the same: {reason}. Name two files of one "
            "benchmark by one tool; evals.export --to mteb or clip-benchmark makes one of a record."
        )
    shared = [name for name in a.values if name in b.values]
    if not shared:
        raise NotComparableError(f"{a.path} and {b.path} state no mean of one name.")
    return [Difference(n, a.values[n], b.values[n], b.values[n] - a.values[n]) for n in shared]


def alone(a: Stated, b: Stated) -> list[str]:
    """The means that `a` states and `b` does not."""
    return [name for name in a.values if name not in b.values]


def _of_mteb(path: Path, content: dict[str, Any]) -> Stated:
    version = _text(path, content, "mteb_version")
    if version.split(".")[0] not in MTEB_FORMATS:
        raise InvalidError(
            f"{path}: written by mteb {version}, and this reads mteb {' and '.join(MTEB_FORMATS)}. "
            "Update jina-clip-evals."
        )
    values: dict[str, float] = {}
    for split, entries in _mapping(path, content, "scores").items():
        if not isinstance(entries, list):
            raise InvalidError(f"{path}: scores of {split} are no list. Evaluate it again.")
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("hf_subset"), str):
                raise InvalidError(f"{path}: an entry of {split} has no hf_subset.")
            name = f"{split} {entry['hf_subset']} main_score"
            if name in values:
                raise InvalidError(f"{path}: {name} stands twice. Remove one.")
            values[name] = _number(path, name, entry.get("main_score"))
    names = ("task_name", "dataset_revision")
    measured = {name: _text(path, content, name) for name in names}
    return Stated(path, f"mteb {version}", measured, values)


def _of_clip_benchmark(path: Path, content: dict[str, Any]) -> Stated:
    measured = {name: _text(path, content, name) for name in ("dataset", "task", "language")}
    metrics = _mapping(path, content, "metrics")
    values = {}
    for name, value in metrics.items():
        # a linear probe states its settings and a report among the metrics
        if re.search(r"recall|acc|average_precision", name):
            values[name] = _number(path, name, value)
    return Stated(path, "CLIP_benchmark", measured, values)


def _text(path: Path, content: dict[str, Any], key: str) -> str:
    value = content[key]
    if not isinstance(value, str) or not value:
        raise InvalidError(f"{path}: {key} is no text. Write the file again with its tool.")
    return value


def _mapping(path: Path, content: dict[str, Any], key: str) -> dict[str, Any]:
    value = content[key]
    if not isinstance(value, dict) or not value:
        raise InvalidError(f"{path}: {key} is no object. Write the file again with its tool.")
    return value


def _number(path: Path, name: str, value: Any) -> float:
    # bool is an int to Python
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidError(f"{path}: {name} is no number. Write the file again with its tool.")
    return float(value)
