"""Whether records, a site or a baseline are what was written, byte by byte and number by number:

python -m evals.verify results/runs/scenes/tiny/RECORD     a record; results/runs/scenes: all of a benchmark
python -m evals.verify site results/baselines/ci           a site, a baseline
python -m evals.verify RECORD --sign ~/.ssh/id_ed25519
python -m evals.verify RECORD --check-signature allowed_signers
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evals.bucket import location
from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Json
from evals.cli.results import finish
from evals.schema import ConfigError, InvalidError

if TYPE_CHECKING:
    from evals.analysis.proof import Proof

app = new_app()


@app.command()
def verify(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORD|SITE|BASELINE…",
            help="Folders, or names of baselines; a folder or bucket of records means all of them.",
        ),
    ],
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign what is intact with this SSH key.")
    ] = None,
    check_signature: Annotated[
        Path | None,
        typer.Option(metavar="SIGNERS", help="Check signatures against this allowed_signers file."),
    ] = None,
    json: Json = False,
) -> None:
    """Check every hash, and compute every metric again from its queries."""
    with reported(json=json) as log:
        from evals.records import signature
        from evals.views import proof as views

        proofs = [proof for target in dict.fromkeys(targets) for proof in _proofs(target)]
        signers: dict[Path, str] = {}
        if check_signature is not None:
            proofs = [_with_signer(proof, check_signature, signers) for proof in proofs]
        for proof in proofs:
            # A signature under something broken would say that it is right.
            if sign is not None and not proof.problems:
                log.info(f"wrote {signature.sign(proof.signed_file, sign)}")
        finish(
            log,
            show=lambda: views.print_proofs(proofs, signers),
            machine=lambda: views.as_json(proofs, signers),
            exit_code=InvalidError.exit_code if any(proof.problems for proof in proofs) else 0,
        )


def _proofs(target: str) -> list["Proof"]:
    """What came of a target; a proof per record for a folder of them."""
    from evals.analysis.proof import prove_record, prove_sealed
    from evals.records.manifest import MANIFEST
    from evals.records.record import METRICS, QUERIES, list_below
    from evals.records.seal import SEAL
    from evals.regress.baselines import is_indexed

    folder = _folder(target)
    # Also a record whose manifest is not there: it was never finished, or has lost it.
    of_record = (MANIFEST, METRICS, QUERIES)
    if any((folder / name).is_file() for name in of_record):
        return [prove_record(folder)]
    if is_indexed(folder):
        return [_of_baseline(folder)]
    # A site of earlier versions has no seal, and is told so.
    if (folder / SEAL).is_file() or (folder / "index.html").is_file():
        return [prove_sealed(folder)]
    records = [path for path in list_below(folder, (*of_record, SEAL)) if not _is_site(path)]
    if not records:
        raise ConfigError(
            f"{folder}: no record, no folder of records, no site and no baseline. A record is a "
            f"folder with a {MANIFEST}, below results/runs unless --results said otherwise."
        )
    return [prove_record(path) for path in records]


def _is_site(path: Path) -> bool:
    """Whether a sealed folder among records is a site."""
    return (path / "index.html").is_file()


def _folder(target: str) -> Path:
    """The folder of a target; of records in a bucket that of their copies here."""
    from evals.records.exchange import open_records
    from evals.regress.baselines import locate

    place = location(target)
    if not isinstance(place, Path):
        return open_records(place)
    if place.is_file():
        raise ConfigError(f"{target}: a file. Name its folder: {place.resolve().parent}.")
    if place.is_symlink() and not place.exists():
        raise ConfigError(f"{target}: a link to {place.readlink()}, which is not there.")
    return locate(target)


def _of_baseline(folder: Path) -> "Proof":
    """The index, the history and all records of a baseline as one."""
    from evals.analysis.proof import joined, prove_record
    from evals.regress.proof import check_baseline

    try:
        checked = check_baseline(folder)
    except InvalidError as error:
        return joined(folder, "baseline", [], [str(error)], [])
    notes = [f"not sealed: {file} has no hash in the index." for file in checked.unsealed]
    records = [prove_record(path) for path in checked.records]
    return joined(folder, "baseline", records, checked.problems, notes)


def _with_signer(proof: "Proof", allowed: Path, signers: dict[Path, str]) -> "Proof":
    """The proof with what its signature is worth."""
    from evals.records.signature import check_signature

    try:
        signers[proof.path] = check_signature(proof.signed_file, allowed)
    except InvalidError as error:
        return proof._replace(problems=[*proof.problems, str(error)])
    return proof


if __name__ == "__main__":
    exit_with(app)
