"""Ties a journal to one training run: another run of its name, or a second watch at the same time, is refused."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from evals.config.choice import choose_row
from evals.config.models import MODEL_NAME, resolve_model
from evals.records.manifest import PARTIAL, read_manifest
from evals.schema import ConfigError, MissingError
from evals.watch.journal import Step

REMEDY = "Give this one another --name, or move the journal away."


def check_name(name: str) -> None:
    """Refuse a name that cannot be that of a model, as `NAME=PLACE` has it. ConfigError."""
    if re.fullmatch(MODEL_NAME, name):
        return
    plain = re.sub(r"[^A-Za-z0-9._@+-]+", "-", name).strip("-._@+") or "run"
    raise ConfigError(
        f"{name or 'this folder'}: a run is called by letters, digits and ._@+-, the first a letter "
        f"or a digit. Give a name: --name {plain}."
    )


def check_same_run(
    journal: Path, steps: Sequence[Step], *, folder: Path, benchmark: str, baseline: str | None
) -> None:
    """Refuse to go on in the journal of another run: its steps would stand between those of this one.

    `baseline` is the model that is named, None where it is the first checkpoint. ConfigError for
    checkpoints of another folder, another benchmark, or another baseline; the record of the
    baseline says what it is of.
    """
    for step in steps:
        checkpoint = Path(step.checkpoint)
        if not checkpoint.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"{journal}: is the journal of the run in {checkpoint.parent}, not of {folder}. "
                f"{REMEDY}"
            )
    if not steps:
        return
    first = steps[0]
    manifest = read_manifest(Path(first.baseline))
    measured = manifest.benchmark.removesuffix(PARTIAL)
    row = choose_row(benchmark).name
    if measured != row:
        raise ConfigError(f"{journal}: its steps were measured on {measured}, not {row}. {REMEDY}")
    model = None if first.baseline == first.record else manifest.model
    chosen = None if baseline is None else resolve_model(baseline).name
    if model != chosen:
        raise ConfigError(
            f"{journal}: its steps were compared with {model or 'the first checkpoint'}, not "
            f"{chosen or 'the first checkpoint'}. {REMEDY}"
        )


@contextmanager
def alone(journal: Path) -> Iterator[None]:
    """The journal for this process alone. MissingError where another one watches into it."""
    from filelock import FileLock, Timeout

    journal.parent.mkdir(parents=True, exist_ok=True)
    try:
        # With a dot, so that no reader of journals takes it for one.
        with FileLock(journal.with_name(f".{journal.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise MissingError(
            f"{journal}: another evals.watch writes it now. Wait for its end, or give this one "
            "another --name."
        ) from None
