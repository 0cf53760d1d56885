"""Signs a record, a site or a baseline with an SSH key, and checks that: `ssh-keygen -Y` does the work.

What is signed is the one file that names the hashes of all others. Source: the manual of ssh-keygen,
"-Y sign", "-Y find-principals" and "-Y verify"; `allowed_signers` is the file that git uses, too.
"""

import subprocess
from pathlib import Path

from evals.reading import read_bytes
from evals.records.additions import write_into
from evals.schema import ConfigError, InvalidError, MissingError

NAMESPACE = "jina-clip-evals"  # a signature for one purpose is none for another
SUFFIX = ".sig"


def sign(file: Path, key: Path) -> Path:
    """Sign a file with a private SSH key, beside it; returns the signature's path.

    ConfigError when there is no such key, or ssh-keygen cannot use it; MissingError without
    ssh-keygen.
    """
    if not key.is_file():
        raise ConfigError(f"--sign {key}: no such file. Name a private key of ssh-keygen.")
    arguments = ["sign", "-f", str(key), "-n", NAMESPACE]
    done = _ssh_keygen(arguments, read_bytes(file))
    if done.returncode:
        raise ConfigError(f"--sign {key}: ssh-keygen: {_reason(done)}")
    path = file.with_name(file.name + SUFFIX)
    write_into(path, done.stdout)
    return path


def check_signature(file: Path, allowed_signers: Path) -> str:
    """Who signed a file, by the list of allowed signers.

    InvalidError for a file without a signature, one of nobody on the list, and one of another file.
    ConfigError when there is no such list, MissingError without ssh-keygen.
    """
    if not allowed_signers.is_file():
        raise ConfigError(f"--check-signature {allowed_signers}: no such file of allowed signers.")
    signature = file.with_name(file.name + SUFFIX)
    if not signature.is_file():
        raise InvalidError(f"{signature}: missing; {file.name} is not signed.")
    common = ["-f", str(allowed_signers), "-s", str(signature)]
    principals = _ssh_keygen(["find-principals", *common], b"")
    if principals.returncode:
        raise InvalidError(f"{signature}: of nobody in {allowed_signers} ({_reason(principals)}).")
    signer = principals.stdout.decode("utf-8", "replace").split("\n")[0].strip()
    arguments = ["verify", *common, "-I", signer, "-n", NAMESPACE]
    done = _ssh_keygen(arguments, read_bytes(file))
    if done.returncode:
        raise InvalidError(f"{signature}: no signature of {file.name} ({_reason(done)}).")
    return signer


def is_signed(file: Path) -> bool:
    """Whether a signature lies beside a file; nothing is checked."""
    return file.with_name(file.name + SUFFIX).is_file()


def _ssh_keygen(arguments: list[str], data: bytes) -> "subprocess.CompletedProcess[bytes]":
    command = ["ssh-keygen", "-Y", *arguments]
    try:
        # A key with a passphrase asks the terminal, not this pipe.
        return subprocess.run(command, input=data, capture_output=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise MissingError(
            "ssh-keygen is not installed. Install OpenSSH's client (8.2 or newer)."
        ) from None


def _reason(done: "subprocess.CompletedProcess[bytes]") -> str:
    return " ".join(done.stderr.decode("utf-8", "replace").split()) or f"exit {done.returncode}"
