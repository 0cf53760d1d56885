"""Logs to MLflow: into ./mlflow.db, or wherever MLFLOW_TRACKING_URI points."""

import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from evals.schema import MissingError
from evals.trackers.entries import Entry, Parameter

# What its keys may hold: https://mlflow.org/docs/latest/ml/tracking (letters, digits, _ - . : / and spaces)
_REFUSED = re.compile(r"[^\w/\-.: ]", re.ASCII)
DEFAULTS = {
    # It would send which of its functions are called to its makers.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # 7 by default, four minutes for a server that is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    # A new database is reported line by line otherwise.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def check() -> None:
    """MissingError when mlflow is not installed."""
    _library()


def log_entry(entry: Entry, project: str) -> str:
    """Log one entry into the experiment `project`, and say where.

    `@` is no letter of MLflow's keys: `R@1` is called `R_at_1` there. Raises what mlflow raises,
    such as MlflowException without its server, and ValueError for two names that become one.
    """
    mlflow = _library()
    # Not `mlflow.start_run`: a run that the calling program has open goes on.
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(project)
    place = experiment.experiment_id if experiment else client.create_experiment(project)
    run_id = client.create_run(place, run_name=entry.name, tags={"group": entry.group}).info.run_id
    status = "FAILED"
    try:
        client.log_batch(
            run_id,
            metrics=_metrics(mlflow, entry.metrics),
            params=_params(mlflow, entry.parameters),
        )
        for path in entry.figures:
            client.log_artifact(run_id, str(path), "figures")
        if entry.record is not None:
            client.log_artifacts(run_id, str(entry.record), "record")
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)
    return f"experiment {project} in {mlflow.get_tracking_uri()}"


def _metrics(mlflow: Any, metrics: Mapping[str, float]) -> list[Any]:
    names = _keys(metrics)
    milliseconds = int(time.time() * 1000)
    return [
        mlflow.entities.Metric(names[key], value, milliseconds, 0) for key, value in metrics.items()
    ]


def _params(mlflow: Any, parameters: Mapping[str, Parameter]) -> list[Any]:
    names = _keys(parameters)
    return [mlflow.entities.Param(names[key], str(value)) for key, value in parameters.items()]


def _keys(keys: Iterable[str]) -> dict[str, str]:
    """Each key as MLflow takes it. ValueError for two that would be one: a number would be lost."""
    names = {key: _REFUSED.sub("_", key.replace("@", "_at_")) for key in keys}
    if len(set(names.values())) < len(names):
        raise ValueError("two names of metrics are one in MLflow's letters; it keeps one of them")
    return names


def _library() -> Any:
    # Before the import, which reads them; what the user has set stands.
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
    except ModuleNotFoundError:
        raise MissingError(
            "--log mlflow needs mlflow. Run: pip install 'jina-clip-evals[mlflow]'."
        ) from None
    return mlflow
