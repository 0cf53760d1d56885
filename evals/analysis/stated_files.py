"""Reads the result files and result folders of mteb and CLIP_benchmark, and refuses all other files.

Sources: mteb/results/task_result.py and mteb/cache/result_cache.py of mteb 2.26, and `run` in
clip_benchmark/cli.py 1.6.2.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evals.analysis.stated import Mean, Stated
from evals.ranking.ranges import CORRELATION, ROUNDING, SHARE, Range, range_of
from evals.reading import read_json
from evals.records.identity import SHOWN
from evals.records.tool_names import CLIP_BENCHMARK, MTEB, measured_by_clip, mteb_mean
from evals.schema import EvalError, InvalidError, MissingError

# By tool, the keys without which a file is none of its results.
KEYS = {
    MTEB: {"task_name", "dataset_revision", "mteb_version", "scores"},
    CLIP_BENCHMARK: {"dataset", "model", "pretrained", "task", "metrics", "language"},
}
MTEB_FORMATS = ("1", "2")  # major versions whose `scores` are lists per split
MODEL = "model_meta.json"
# What mteb writes into its folders beside results.
BESIDE = re.compile(r"model_meta\.json|.+_predictions\.json")
LONGEST = 500  # characters of a name: longer ones are no names
AGAIN = "Write the file again with its tool."


class Unread(NamedTuple):
    """A file of a result folder that could not be read, and why."""

    path: Path
    message: str


class Results(NamedTuple):
    """What result files state, and those among them that could not be read."""

    stated: tuple[Stated, ...]
    unread: tuple[Unread, ...]


def read_results(paths: Sequence[Path]) -> Results:
    """Read result files, and all that lie below folders; each file once.

    A file below a folder that cannot be read is among the `unread`. InvalidError for such a file
    that is named itself, and for a folder without any result; MissingError for what is not there.
    """
    stated: dict[Path, Stated] = {}
    unread = []
    for path in paths:
        if not path.is_dir():
            stated[path.resolve()] = read_stated(path)
            continue
        files = list(_json_files(path))
        if not files:
            raise InvalidError(
                f"{path}: no result file lies below it. Name a results folder of mteb "
                "(results/MODEL/REVISION/TASK.json), or one of CLIP_benchmark's JSON files."
            )
        for file in files:
            try:
                stated[file.resolve()] = read_stated(file)
            except EvalError as error:
                unread.append(Unread(file, str(error)))
    return Results(tuple(stated.values()), tuple(unread))


def read_stated(path: Path) -> Stated:
    """Read a result file of mteb (TASK.json) or CLIP_benchmark.

    InvalidError: it is neither, of a newer format, or holds what the tool does not write.
    MissingError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise MissingError(f"{path}: not a file. Name a result file.")
    content = read_json(path)
    keys = set(content) if isinstance(content, dict) else set()
    if keys >= KEYS[MTEB]:
        return _of_mteb(path, content)
    if keys >= KEYS[CLIP_BENCHMARK]:
        return _of_clip_benchmark(path, content)
    raise InvalidError(
        f"{path}: no result file of mteb (keys {', '.join(sorted(KEYS[MTEB]))}) or of "
        f"CLIP_benchmark ({', '.join(sorted(KEYS[CLIP_BENCHMARK]))}). Name a record, or such a file."
    )


def _json_files(folder: Path) -> Iterator[Path]:
    """The JSON files below a folder in the order of their names; links to folders lead nowhere."""
    for place, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".json") and not BESIDE.fullmatch(name):
                yield Path(place, name)


def _refuse_folder(error: OSError) -> None:
    raise error  # os.walk would pass over a folder that cannot be read


def _of_mteb(path: Path, content: dict[str, Any]) -> Stated:
    version = _text(path, content, "mteb_version")
    if version.split(".")[0] not in MTEB_FORMATS:
        raise InvalidError(
            f"{path}: written by mteb {version}, and this reads mteb {' and '.join(MTEB_FORMATS)}. "
            "Update jina-clip-evals."
        )
    means: dict[str, Mean] = {}
    for split, entries in _mapping(path, content, "scores").items():
        if not isinstance(entries, list):
            raise InvalidError(f"{path}: scores of {split} are no list. Evaluate it again.")
        for entry in entries:
            mean = _main_score(path, split, entry)
            if mean.name in means:
                raise InvalidError(f"{path}: {mean.name} stands twice. Remove one.")
            means[mean.name] = mean
    if not means:
        raise InvalidError(f"{path}: scores hold no entry. Evaluate it again.")
    names = ("task_name", "dataset_revision")
    measured = {name: _text(path, content, name) for name in names}
    return Stated(path, MTEB, version, _model_of_mteb(path), measured, tuple(means.values()))


def _main_score(path: Path, split: str, entry: Any) -> Mean:
    if not isinstance(entry, dict) or "hf_subset" not in entry:
        raise InvalidError(f"{path}: an entry of {split} has no hf_subset.")
    subset = _text(path, entry, "hf_subset")
    name = mteb_mean(split, subset)
    value = entry.get("main_score")
    # The file does not say which of its metrics the main score is: it is a correlation only if one
    # of them has its value.
    ranges = [range_of(key) for key, number in entry.items() if _is_same(number, value)]
    bounds = CORRELATION if CORRELATION in ranges else SHARE
    return Mean(name, subset, split, "main_score", _number(path, name, value, bounds))


def _is_same(number: Any, value: Any) -> bool:
    return isinstance(number, int | float) and number == value


def _model_of_mteb(path: Path) -> str | None:
    """The model of a result, as mteb finds it: from the file beside it, else from its folders.

    Source: ResultCache in mteb/cache/result_cache.py, which does the same.
    """
    meta = path.parent / MODEL
    if not meta.is_file():
        model, revision = path.parent.parent.name, path.parent.name
        # results/ORG__MODEL/REVISION/TASK.json
        named = "__" in model or path.parent.parent.parent.name == "results"
        return f"{model.replace('__', '/')}@{_short(revision)}" if named else None
    content = read_json(meta)
    if not isinstance(content, dict) or "name" not in content:
        raise InvalidError(f"{meta}: names no model. {AGAIN}")
    # mteb writes null for a model that is an object in a program
    if content["name"] is None:
        return None
    name = _text(meta, content, "name")
    if content.get("revision") is not None:
        name += f"@{_short(_text(meta, content, 'revision'))}"
    is_experiment = path.parent.parent.name == "experiments"
    return f"{name}, experiment {path.parent.name}" if is_experiment else name


def _short(revision: str) -> str:
    """A commit as other identities show one; a revision in words stays."""
    return revision[:SHOWN] if re.fullmatch(r"[0-9a-f]{40}", revision) else revision


def _of_clip_benchmark(path: Path, content: dict[str, Any]) -> Stated:
    measured = {name: _text(path, content, name) for name in ("dataset", "task", "language")}
    # the same data from tar shards: CLIP_benchmark itself takes the prefix away
    measured["dataset"] = measured["dataset"].removeprefix("wds/")
    metrics = _mapping(path, content, "metrics")
    means = []
    for name, value in metrics.items():
        # a linear probe states its settings and a report among the metrics
        if re.search(r"recall|acc|average_precision", name):
            direction, metric = measured_by_clip(name)
            number = _number(path, name, value, SHARE)
            means.append(Mean(name, measured["language"], direction, metric, number))
    if not means:
        raise InvalidError(f"{path}: states no recall, accuracy or average precision.")
    model = _text(path, content, "model")
    # empty for architectures that name their weights themselves, such as hf-hub:…
    if content["pretrained"] != "":
        model += f" {_text(path, content, 'pretrained')}"
    return Stated(path, CLIP_BENCHMARK, None, model, measured, tuple(means))


def _text(path: Path, content: dict[str, Any], key: str) -> str:
    value = content[key]
    if not isinstance(value, str) or not value.strip():
        raise InvalidError(f"{path}: {key} is no text. {AGAIN}")
    if len(value) > LONGEST:
        raise InvalidError(f"{path}: {key} has {len(value):,} characters. {AGAIN}")
    return value


def _mapping(path: Path, content: dict[str, Any], key: str) -> dict[str, Any]:
    value = content[key]
    if not isinstance(value, dict) or not value:
        raise InvalidError(f"{path}: {key} is no object. {AGAIN}")
    return value


def _number(path: Path, name: str, value: Any, bounds: Range) -> float:
    # bool is an int to Python
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidError(f"{path}: {name} is no number. {AGAIN}")
    if not bounds.low - ROUNDING <= value <= bounds.high + ROUNDING:
        raise InvalidError(
            f"{path}: {name} is {str(value)[:40]}, and the tool writes numbers from {bounds.low:g} "
            f"to {bounds.high:g}. {AGAIN}"
        )
    return float(value)
