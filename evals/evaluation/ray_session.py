"""The connection of a process to Ray: no telemetry, no trace in /tmp, and our way to end by a signal."""

import os
import shutil
import signal
import socket
import tempfile
import threading
from pathlib import Path

from evals.schema import MissingError

_PREFIX = "evals-ray-"
# Bytes: Ray's least. Rows do not go through its object store.
_OBJECT_STORE = 75 << 20
_ANSWER = 10.0  # seconds
_TMP = Path("/tmp")  # noqa: S108


def connect(address: str) -> None:
    """Connect to a cluster, or start one of this machine alone; MissingError when none answers."""
    # Before ray is imported, which reads them then.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address not in ("local", "auto"):
        _check_answers(address)
    import ray

    options = {"logging_level": "ERROR", "log_to_driver": False}
    if address == "local":
        _sweep()
        # Not $TMPDIR: sockets lie in it, whose paths have 107 characters at most.
        folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_TMP)
        options |= {
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
            "_temp_dir": folder,
        }
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, **options)
    except BaseException as error:  # Ctrl-C, too: what has started of it ends
        disconnect()
        if not isinstance(error, (ConnectionError, RuntimeError, ValueError)):
            raise
        if address == "local":
            raise MissingError(
                f"--cluster local: Ray does not start ({last_line(error)}). Encode by --workers."
            ) from None
        raise _no_cluster(address, last_line(error)) from None
    finally:
        # Ray's would end the process with 1, and say nothing of going on.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _check_answers(address: str) -> None:
    """Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER).close()
    except OSError as error:
        raise _no_cluster(address, error.strerror or str(error)) from None


def answers(host: str, port: int) -> bool:
    """Whether a node takes connections."""
    try:
        socket.create_connection((host, port), timeout=_ANSWER).close()
    except OSError:
        return False
    return True


def last_line(error: BaseException) -> str:
    """The end of what Ray says, where the cause stands; the name of an error that says nothing."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1]


def _no_cluster(address: str, reason: str) -> MissingError:
    return MissingError(
        f"--cluster {address}: no Ray cluster answers ({reason.rstrip('.')}). Start one (ray start "
        "--head), or name local, which needs none."
    )


def disconnect() -> None:
    """Leave a cluster; one of this machine alone ends, and its folder goes."""
    import ray

    ray.shutdown()
    for folder in _TMP.glob(f"{_PREFIX}{os.getpid()}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what killed processes of ours left."""
    for folder in _TMP.glob(f"{_PREFIX}*-*"):
        number = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdecimal() and not _lives(int(number)):
            shutil.rmtree(folder, ignore_errors=True)  # another user's stays


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
