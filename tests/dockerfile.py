"""A Dockerfile as a shell script: what an engine would do, in a folder that stands in for the root of the image.

Stages take turns in the same folder, so that paths written into scripts stay true. Mounts and base images are left out;
`useradd` makes the home alone, and `apt-get` must not be needed.
"""

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

# The folders of an image that a Dockerfile of ours may name.
_TOP = re.compile(r"(?<![\w./$}-])/(?=(?:opt|src|home|root|var)\b)")


class Step(NamedTuple):
    """An instruction and what follows it, continued lines joined."""

    name: str
    words: str


def read_steps(file: Path) -> list[Step]:
    """The instructions of a Dockerfile in their order, without comments."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def stages(steps: list[Step]) -> dict[str, list[Step]]:
    """The steps of each stage by its name; the last one, which has none, is `final`. Global arguments come under ``."""
    named: dict[str, list[Step]] = {"": []}
    current = ""
    for step in steps:
        if step.name == "FROM":
            current = match[1] if (match := re.search(r" AS (\w+)$", step.words)) else "final"
            named[current] = []
        named[current].append(step)
    return named


def as_script(file: Path, root: Path, source: Path, tools: Path) -> str:
    """The steps as bash: `source` is the build context, `root` the image, `tools` come first on the path."""
    lines = ["set -eu", f"export PATH={shlex.quote(str(tools))}:$PATH"]
    for name, steps in stages(read_steps(file)).items():
        lines.append(f"(  # stage {name}")
        for step in steps:
            lines += _STEPS[step.name](step.words, name, root, source)
        if name not in ("", "final"):
            lines.append(f"rm -rf {root}.{name}; cp -al {root} {root}.{name}")
        lines.append(")")
    return "\n".join(lines) + "\n"


def _inside(words: str, root: Path) -> str:
    return _TOP.sub(f"{root}/", words)


def _from(words: str, stage: str, root: Path, source: Path) -> list[str]:
    base = words.split()[0]
    start = f"mkdir -p {root}" if base.startswith("$") else f"cp -al {root}.{base} {root}"
    return [f"rm -rf {root}; {start}; cd {root}"]


def _arg(words: str, stage: str, root: Path, source: Path) -> list[str]:
    return [f"export {words}"]


def _env(words: str, stage: str, root: Path, source: Path) -> list[str]:
    return [f"export {_inside(words, root)}"]


def _run(words: str, stage: str, root: Path, source: Path) -> list[str]:
    command = re.sub(r"--mount=\S+\s+", "", words)
    return [_inside(command, root)]


def _workdir(words: str, stage: str, root: Path, source: Path) -> list[str]:
    place = _inside(words, root)
    return [f"mkdir -p {place}; cd {place}"]


def _copy(words: str, stage: str, root: Path, source: Path) -> list[str]:
    *names, target = words.split()
    if names[0].startswith("--from="):
        other, names = f"{root}.{names[0].removeprefix('--from=')}", names[1:]
        return [f"mkdir -p {root}{target}; cp -al {other}{name}/. {root}{target}" for name in names]
    return [f"cp -a {source / name}{'/.' if name == '.' else ''} {target}" for name in names]


def _user(words: str, stage: str, root: Path, source: Path) -> list[str]:
    return [f"export HOME={root}/home/{words}"]


def _start(words: str, stage: str, root: Path, source: Path) -> list[str]:
    return [f"start=(${{start[@]-}} {shlex.join(json.loads(words))})", "export start"]


def _command(words: str, stage: str, root: Path, source: Path) -> list[str]:
    return [*_start(words, stage, root, source), '"${start[@]}"']


_STEPS = {
    "FROM": _from,
    "ARG": _arg,
    "ENV": _env,
    "RUN": _run,
    "WORKDIR": _workdir,
    "COPY": _copy,
    "USER": _user,
    "ENTRYPOINT": _start,
    "CMD": _command,
}
