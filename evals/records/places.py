"""Checks that a record lies where its manifest says, and is not from the future.

A record that was laid into the place of another would pass for it, and one from the future would be
the newest one for ever.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from evals.records.manifest import MANIFEST, Manifest
from evals.records.manifest_parts import WRITTEN
from evals.records.record import Run, read_run
from evals.schema import InvalidError

# clocks of two machines differ by seconds, hardly ever by minutes
CLOCKS = timedelta(minutes=10)


def read_placed(path: Path) -> Run:
    """A record that was found below a folder: whole, in its place, and not from the future."""
    run = read_run(path)
    check_placed(path, run.manifest)
    return run


def check_placed(path: Path, manifest: Manifest) -> None:
    """Refuse a record that lies in the place of another, or is from the future. InvalidError."""
    check_place(path, manifest)
    check_time(path, manifest)


def check_place(path: Path, manifest: Manifest) -> None:
    """Refuse a record that lies elsewhere than its manifest says, or is called otherwise.

    InvalidError says where it belongs: a record in the place of another would pass for it.
    """
    if path.absolute().parts[-3:] != manifest.place.parts:
        raise InvalidError(
            f"{path}: by its manifest this record is {manifest.place}. Move it there, or remove it."
        )


def check_time(path: Path, manifest: Manifest, now: datetime | None = None) -> None:
    """Refuse a record from the future, which would be the newest one for ever. InvalidError."""
    # the forms of times sort as the times do
    latest = ((now or datetime.now(UTC)) + CLOCKS).strftime(WRITTEN)
    if manifest.written > latest:
        raise InvalidError(
            f"{path / MANIFEST}: written at {manifest.written}, which is in the future. "
            "Set the clock, and run it again."
        )
