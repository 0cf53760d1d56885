"""Exports records of mteb tasks as a results folder of mteb.

    results/ORG__MODEL/REVISION/TASK.json and model_meta.json

`mteb.ResultCache(OUT)` reads it, and `mteb submit-results` takes its files. Source: mteb's
cache/result_cache.py.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from evals.export.forms import Files, add
from evals.reading import read_json
from evals.records.manifest import path_component
from evals.records.record import Run
from evals.schema import InvalidError, NotComparableError

# what mteb calls a model without a namespace of the Hub
LOCAL = "local"


def files(runs: Sequence[Run], form: str) -> Files:
    """mteb's JSON of each task at the full width, below its model's name and revision.

    NotComparableError for a record of no mteb task, ConfigError when mteb is not installed,
    InvalidError when the JSON beside a record does not say what the record says.
    """
    from evals.mteb_bridge.bridge import model_meta

    written: dict[str, bytes] = {}
    for run in runs:
        task = run.manifest.mteb
        if task is None:
            raise NotComparableError(
                f"{run.path}: {run.manifest.benchmark} is no task of mteb. "
                "Export it --to clip-benchmark or --to csv."
            )
        name, revision = _name_and_revision(run)
        folder = f"results/{path_component(name.replace('/', '__'))}/{path_component(revision)}"
        meta = model_meta(name, revision, run.manifest.model_identity.width)
        written[f"{folder}/model_meta.json"] = json.dumps(meta, indent=2, default=str).encode()
        add(written, f"{folder}/{task.task}.json", _task_result(run))
    return written


def _name_and_revision(run: Run) -> tuple[str, str]:
    """As mteb names models: `org/name` and a commit, or a hash of the weights where there is none."""
    model = run.manifest.model_identity
    if model.repo and model.revision:
        return model.repo, model.revision
    # A server's model has no hash: its fingerprint then says what it is.
    fingerprint = json.dumps(run.manifest.encoder.fingerprint, sort_keys=True)
    weights = model.weights or hashlib.sha256(fingerprint.encode()).hexdigest()
    return f"{LOCAL}/{model.name.replace('/', '--')}", weights[:40]


def _task_result(run: Run) -> bytes:
    """The JSON that mteb wrote beside the record, held against the record's own numbers."""
    path = run.path / "task_result.json"
    if not path.is_file():
        raise InvalidError(f"{path}: missing. Evaluate {run.manifest.benchmark} again.")
    content: Any = read_json(path)
    widest = max(line.dim for line in run.metrics)
    recorded = {
        (line.subset, line.direction): line.value
        for line in run.metrics
        if line.dim == widest and line.name == run.main_metric
    }
    try:
        stated = {
            (str(entry["hf_subset"]), str(split)): float(entry["main_score"])
            for split, entries in content["scores"].items()
            for entry in entries
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidError(f"{path}: no result of mteb ({error!r}). Evaluate it again.") from None
    if stated != recorded:
        raise InvalidError(
            f"{path}: its main scores are not those of the record: it was changed. Evaluate "
            f"{run.manifest.benchmark} again."
        )
    return path.read_bytes()
