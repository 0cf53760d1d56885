"""The results of proofs, as people and programs read them: a line per folder, with its problems below."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from evals.analysis.proof import Proof
from evals.counts import counted
from evals.views.style import console, verdict_line


def print_proofs(proofs: Sequence[Proof], signers: Mapping[Path, str]) -> None:
    """A line for each folder, and below it what is wrong and what is worth knowing."""
    out = console()
    for proof in proofs:
        # Capitals, for terminals and eyes without colours.
        word = "BROKEN" if proof.problems else "whole"
        text = verdict_line(word, f"{proof.path}: {_counts(proof)}", good=not proof.problems)
        out.print(text, soft_wrap=True, highlight=False)
        for line in [*proof.problems, *_notes(proof, signers)]:
            out.print(f"  {escape(line)}", soft_wrap=True, highlight=False)


def as_json(proofs: Sequence[Proof], signers: Mapping[Path, str]) -> dict[str, Any]:
    """The machine output."""
    entries = []
    for proof in proofs:
        entry = proof._asdict() | {
            "path": str(proof.path),
            "whole": not proof.problems,
            "signer": signers.get(proof.path),
        }
        entries.append(entry)
    whole = not any(proof.problems for proof in proofs)
    return {"schema_version": 1, "whole": whole, "proofs": entries}


def _counts(proof: Proof) -> str:
    parts = [counted(proof.files, "file")]
    if proof.kind != "site":
        numbers = [counted(proof.values, "value"), counted(proof.intervals, "interval")]
        parts.append(f"{' and '.join(numbers)} computed again")
    if proof.sealed:
        parts.append("sealed")
    return ", ".join(parts)


def _notes(proof: Proof, signers: Mapping[Path, str]) -> list[str]:
    notes = list(proof.notes)
    if proof.unknown:
        names = ", ".join(proof.unknown)
        notes.append(f"not computed again, since no queries are kept for them: {names}")
    if proof.path in signers:
        notes.append(f"signed by {signers[proof.path]}")
    return notes
