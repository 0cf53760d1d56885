"""Logs to Weights & Biases, or with WANDB_MODE=offline into a folder that `wandb sync` sends later."""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from evals.schema import MissingError
from evals.trackers.entries import Entry

INIT_SECONDS = 30.0  # 90 by default: the numbers are out, and somebody waits for the prompt

DEFAULTS = {
    # It would send reports of its errors to its makers.
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}


def check() -> None:
    """MissingError when wandb is not installed, or would have to ask for a login after the work is done."""
    wandb = _library()
    if _mode(wandb) == "online" and not wandb.login(prompt=False, verify=False):
        raise MissingError(
            "--log wandb: nobody is logged in. Run: wandb login, or set WANDB_API_KEY; "
            "or WANDB_MODE=offline, to send it later by `wandb sync`."
        )


def log_entry(entry: Entry, project: str) -> str:
    """Log one entry, and say where. Raises what wandb raises, such as CommError without its server."""
    wandb = _library()
    with redirect_stdout(sys.stderr):
        run = wandb.init(
            project=project,
            name=entry.name,
            group=entry.group,
            job_type="evaluation",
            config=entry.parameters,
            settings=_settings(wandb),
            # a run that the calling program has open goes on
            reinit="create_new",
        )
        finished = False
        try:
            images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in entry.figures}
            run.log(entry.metrics | images)
            if entry.record is not None:
                artifact = wandb.Artifact(entry.group, type="evaluation-record")
                # not `add_dir`, which reports on stderr whatever `silent` says
                for path in sorted(entry.record.rglob("*")):
                    if path.is_file():
                        artifact.add_file(str(path), path.relative_to(entry.record).as_posix())
                run.log_artifact(artifact)
            finished = True
        finally:
            run.finish(exit_code=0 if finished else 1)
    if run.offline:
        return f"offline (to send it: wandb sync {Path(run.dir).parent})"
    return str(run.url)


def _settings(wandb: Any) -> Any:
    """What goes out is what an entry holds: no console, no diff of the code, no load of this machine."""
    return wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        init_timeout=INIT_SECONDS,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


def _mode(wandb: Any) -> str:
    return str(wandb.setup().settings.mode)


def _library() -> Any:
    # Before the import, which reads them; what the user has set stands.
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        import wandb
    except ModuleNotFoundError:
        raise MissingError(
            "--log wandb needs wandb. Run: pip install 'jina-clip-evals[wandb]'."
        ) from None
    return wandb
