"""Logs to trackio: a local database by default, a Space or a server where its settings name one."""

import warnings
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from evals.schema import MissingError
from evals.trackers.entries import Entry


def check() -> None:
    """MissingError when trackio is not installed."""
    _library()


def log_entry(entry: Entry, project: str) -> str:
    """Log one entry, and say where. RuntimeError for what trackio only warns of: that it lost something."""
    trackio = _library()
    # It logs from a thread of its own and tells what fails there as a warning. What it prints to
    # stdout in the meantime, where our numbers go, is how to open its dashboard.
    with warnings.catch_warnings(record=True) as caught, redirect_stdout(StringIO()):
        warnings.simplefilter("always")
        run = trackio.init(
            project=project,
            name=entry.name,
            group=entry.group,
            config=entry.parameters,
            embed=False,
            # the load of this machine is no result
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        try:
            images = {f"figures/{path.stem}": trackio.Image(path) for path in entry.figures}
            run.log(entry.metrics | images)
            if entry.record is not None:
                artifact = trackio.Artifact(entry.group, type="evaluation-record")
                artifact.add_dir(entry.record)
                run.log_artifact(artifact)
        finally:
            trackio.finish()
    lost = [str(warning.message) for warning in caught if _is_loss(warning)]
    if lost:
        raise RuntimeError("; ".join(dict.fromkeys(lost)))
    return f"project {project} (to see it: trackio show --project {project})"


def _is_loss(warning: warnings.WarningMessage) -> bool:
    # its deprecations are FutureWarnings; what other libraries warn of in the meantime is theirs
    return warning.category is UserWarning and "trackio" in warning.filename


def _library() -> Any:
    try:
        import trackio
    except ModuleNotFoundError:
        raise MissingError(
            "--log trackio needs trackio. Run: pip install 'jina-clip-evals[trackio]'."
        ) from None
    return trackio
