"""Whether a record is what was written: every byte against its hash, every number against its queries."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from evals.analysis.recomputed import recompute
from evals.analysis.whole import absent, disorder
from evals.counts import counted
from evals.reading import read_bytes
from evals.records.manifest import MANIFEST, as_json, read_manifest
from evals.records.places import check_placed
from evals.records.record import METRICS, QUERIES, read_run
from evals.records.seal import SEAL, check_seal, read_seal, sha256
from evals.schema import EvalError, InvalidError, MissingError

SHOWN = 5  # files or entries that a note names
INDEX_FILES = 2  # of a baseline: its index and its history
SIGNED = {"record": MANIFEST, "baseline": "index.json", "site": SEAL}


class Proof(NamedTuple):
    """What came of a folder: what was checked, what is wrong, and what is worth knowing.

    `sealed` says whether SHA256SUMS covers its files; `unknown` names the metrics that cannot be
    computed from the queries there are.
    """

    path: Path
    kind: str
    sealed: bool
    files: int
    values: int
    intervals: int
    problems: list[str]
    notes: list[str]
    unknown: list[str]

    @property
    def signed_file(self) -> Path:
        """The file that names the hashes of all others: what a signature is of."""
        return self.path / SIGNED[self.kind]


def prove_record(path: Path) -> Proof:
    """Check all hashes of a record, and compute its metrics again from its queries.

    A record that cannot be read is a proof with problems: nothing is raised for it.
    """
    if not (path / MANIFEST).exists():
        error = InvalidError(
            f"{path / MANIFEST}: missing. The run was interrupted while it wrote this record, or is "
            "writing it now, or the file was lost. Nothing proves the numbers here: run it again, "
            "and remove this folder."
        )
        return _broken(path, "record", error)
    try:
        manifest = read_manifest(path)
    # MissingError: a folder in its place.
    except (InvalidError, MissingError) as error:
        return _broken(path, "record", error)
    problems: list[str] = []
    notes: list[str] = []
    # By value the checksum holds; this is about the bytes: 0.10 would be another one for 0.1, and a
    # digit beyond those of a float64 is read as if nothing had changed.
    if read_bytes(path / MANIFEST) != as_json(manifest.raw, MANIFEST, indent=2):
        problems.append(
            f"{path / MANIFEST}: not in the form in which it is written: it was changed."
        )
    try:
        hashes = read_seal(path)
        seal = check_seal(path)
    except (InvalidError, MissingError) as error:
        return _broken(path, "record", error)
    for name, expected in manifest.files.items():
        problems += _unlike(path / name, expected, hashes, notes)
    if seal is None:
        notes.append(f"not sealed: it has no {SEAL}, so nothing covers figures beside it.")
    else:
        # A file that both name is one problem.
        problems += [
            text for text in seal.problems if _file_of(text) not in map(_file_of, problems)
        ]
        notes += _unnamed(seal.unnamed)
    try:
        check_placed(path, manifest)
    except InvalidError as error:
        notes.append(f"elsewhere than its manifest says, or of another time: {error}")
    order = disorder(manifest)
    if order is not None:
        notes.append(f"{order}: the clock was set back during the run, or the times were changed.")
    missing = absent(manifest.raw)
    if missing:
        names = ", ".join(missing[:SHOWN]) + (" …" if len(missing) > SHOWN else "")
        notes.append(f"{MANIFEST} has no {names}: of an earlier version, or they were taken out.")
    values = intervals = 0
    unknown: list[str] = []
    if not problems:
        try:
            again = recompute(read_run(path))
        except InvalidError as error:
            problems.append(str(error))
        else:
            values, intervals, unknown = again.values, again.intervals, again.unknown
            problems += [f"{path}: {problem}" for problem in again.problems]
    return Proof(
        path=path,
        kind="record",
        sealed=seal is not None,
        files=len({*manifest.files, MANIFEST, *(hashes or ())}),
        values=values,
        intervals=intervals,
        problems=problems,
        notes=notes,
        unknown=unknown,
    )


def prove_sealed(path: Path) -> Proof:
    """Check a folder that is no record, such as a site, by its seal alone."""
    try:
        seal = check_seal(path)
    except (InvalidError, MissingError) as error:
        return _broken(path, "site", error)
    files, problems, notes = 0, [], [f"not sealed: it has no {SEAL}. Write the site again."]
    if seal is not None:
        files, problems, notes = seal.files, seal.problems, _unnamed(seal.unnamed)
    return Proof(path, "site", seal is not None, files, 0, 0, problems, notes, [])


def joined(
    path: Path, kind: str, parts: Sequence[Proof], problems: Sequence[str], notes: Sequence[str]
) -> Proof:
    """The proof of a folder of several records, such as a baseline, from theirs."""
    of_parts = [f"{part.path.name}: {note}" for part in parts for note in part.notes]
    return Proof(
        path=path,
        kind=kind,
        # Its index covers its records by their manifests.
        sealed=not notes,
        files=INDEX_FILES + sum(part.files for part in parts),
        values=sum(part.values for part in parts),
        intervals=sum(part.intervals for part in parts),
        problems=[*problems, *(text for part in parts for text in part.problems)],
        notes=[*notes, *of_parts],
        unknown=sorted({name for part in parts for name in part.unknown}),
    )


def _unlike(
    file: Path, expected: str, hashes: dict[str, str] | None, notes: list[str]
) -> list[str]:
    """What is wrong with a file that the manifest names."""
    if file.is_file():
        if sha256(read_bytes(file)) != expected:
            return [f"{file}: not the file that {MANIFEST} names: it was changed."]
        return []
    # A baseline's copy of a record leaves the kept rankings behind, and its seal does not name them.
    if hashes is not None and file.name not in hashes and file.name not in (METRICS, QUERIES):
        notes.append(f"{file.name} was left out of this copy.")
        return []
    return [f"{file}: missing; {MANIFEST} names it."]


def _unnamed(names: list[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
    return [f"{counted(len(names), 'file')} that {SEAL} does not name: {shown}"]


def _file_of(problem: str) -> str:
    return problem.partition(": ")[0]


def _broken(path: Path, kind: str, error: EvalError) -> Proof:
    return Proof(path, kind, (path / SEAL).is_file(), 0, 0, 0, [str(error)], [], [])
