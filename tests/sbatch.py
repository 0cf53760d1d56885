"""A stand-in for Slurm's sbatch: it runs an array job here, task after task, and one of them is preempted.

python -m tests.sbatch [--array=1-3] SCRIPT ARGUMENT...   with --store DIR among the arguments

The second task is ended by SIGTERM as soon as it has stored a shard, and queued again, as a
partition with preemption does. Options of the script stand in its #SBATCH lines.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path


def tasks_of(array: str) -> list[int]:
    """The numbers that `1-3,7` names."""
    numbers: list[int] = []
    for part in array.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def options_of(script: Path) -> dict[str, str]:
    """The options that a script has for sbatch."""
    lines = re.findall(r"^#SBATCH --([a-z-]+)(?:=(.+))?$", script.read_text(), re.MULTILINE)
    return dict(lines)


def stored(store: Path) -> int:
    return len(list(store.glob("*/*.safetensors")))


def main() -> int:
    words = sys.argv[1:]
    at = next(place for place, word in enumerate(words) if not word.startswith("--"))
    given = dict(word.removeprefix("--").split("=", 1) for word in words[:at])
    script, command = Path(words[at]), words[at:]
    options = options_of(script) | given
    store = Path(words[words.index("--store") + 1])
    for place, number in enumerate(tasks_of(options["array"])):
        task = os.environ | {"SLURM_ARRAY_TASK_ID": str(number)}
        if place == 1 and "requeue" in options:
            before = stored(store)
            process = subprocess.Popen(command, env=task)
            while process.poll() is None and stored(store) == before:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            if process.wait() not in (0, 143):
                return 1
        if subprocess.run(command, env=task, check=False).returncode:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
