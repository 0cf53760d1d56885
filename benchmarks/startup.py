"""How long until a command answers and a checkpoint gives its first embedding, in fresh processes, beside the peers.

python -m benchmarks.startup [--small] [--rounds N] [--only help|imports|tiny|full]

Every contender is a Python process of its own, so that imports count. The models have random weights: each is made and saved
once in its library's own way, and what a fresh process computes must be what was computed before saving. Files are in the
page cache and bytecode is compiled: this is the second start, not the first after a boot.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness import Lap, finish, largest_difference, parse, race

ROOT = Path(__file__).parents[1]
TINY = ROOT / "configs" / "tiny"
CASES = ("help", "imports", "tiny", "full")
EVA = "EVA02-B-16"  # open_clip's model with the image tower of jina-clip-v1
IDS = list(range(5, 21))  # the token ids that every model embeds
HELP = {
    "evals.run": ("-m", "evals.run", "--help"),
    "evals.mrl_sweep": ("-m", "evals.mrl_sweep", "--help"),
    "clip_benchmark": ("-m", "clip_benchmark.cli", "--help"),
    "mteb": ("-m", "mteb", "--help"),
}
IMPORTS = {
    "jina_clip": ("-c", "from jina_clip import JinaCLIP"),
    "torch": ("-c", "import torch"),
    "transformers": ("-c", "from transformers import JinaEmbeddingsV3Model"),
    "open_clip": ("-c", "import open_clip"),
}


def main() -> None:
    args = parse(__doc__ or "", _options)
    wanted = CASES if args.only is None else (args.only,)
    size = "v1" if args.small else "v2"
    laps: dict[str, dict[str, Lap]] = {}
    cpu: dict[str, dict[str, float]] = {}
    differences: dict[str, tuple[float, float]] = {}
    if "help" in wanted:
        laps["--help"], cpu["--help"] = _race(HELP, args.rounds)
    if "imports" in wanted:
        laps["import"], cpu["import"] = _race(IMPORTS, args.rounds)
    for sizes in [s for case, s in (("tiny", "tiny"), ("full", size)) if case in wanted]:
        with tempfile.TemporaryDirectory() as folder:
            case = f"first embedding, {sizes}"
            laps[case], cpu[case], apart = _first_embedding(Path(folder), sizes, args.rounds)
        differences |= {
            f"{sizes}: {who} before and after saving": (difference, 0.0)
            for who, difference in apart.items()
        }
    finish(
        "startup",
        args,
        conditions={
            "process": "a fresh one for each measurement, imports included; files in the page cache, bytecode compiled",
            "memory": "the whole process at its peak, which for mapped files counts the pages that were read",
            "first embedding": "load the checkpoint on the CPU in the dtype it is saved in and embed one text",
            "jina_clip": "JinaCLIP.from_pretrained: both towers; configs/tiny, v1 in float32, v2 in bfloat16 with LoRA to merge",
            "transformers": "AutoModel.from_pretrained of JinaEmbeddingsV3Model: a text tower of the same sizes, no image tower",
            "open_clip": f"create_model({EVA}) from a safetensors file: v1's image tower, a smaller text tower, float32",
            "weights": "random, but for configs/tiny",
        },
        laps=laps,
        ratios={
            f"{case}: {who} / {us}": lap.best / some[us].best
            for case, some in laps.items()
            for us, who, lap in _pairs(some)
        },
        differences=differences,
        figures={f"CPU seconds of the last round, {case}": used for case, used in cpu.items()},
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", choices=CASES, help="one case of the four; full is v2's size, v1's with --small"
    )


def _pairs(some: Mapping[str, Lap]) -> list[tuple[str, str, Lap]]:
    us = next(iter(some))  # the first of a case is ours
    return [(us, who, lap) for who, lap in some.items() if who not in (us, "evals.mrl_sweep")]


def _race(
    commands: Mapping[str, Sequence[str]], rounds: int
) -> tuple[dict[str, Lap], dict[str, float]]:
    """The commands in turn, those of packages that are installed, with the child's peak of memory; and CPU seconds of each."""
    here = {who: command for who, command in commands.items() if find_spec(who.partition(".")[0])}
    laps, last = race(
        {who: partial(_spawn, command) for who, command in here.items()}, rounds=rounds
    )
    peaks = {who: lap._replace(peak_mb=last[who].peak_mb) for who, lap in laps.items()}
    return peaks, {who: round(used.cpu_seconds, 2) for who, used in last.items()}


class Used(NamedTuple):
    """What a process needed: memory at its peak, and CPU time, which a busy machine stretches less than the clock's."""

    peak_mb: float
    cpu_seconds: float


def _spawn(command: Sequence[str]) -> Used:
    """Run Python with these arguments to its end. CalledProcessError when it fails."""
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
    child = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=quiet,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        told = child.stderr.read() if child.stderr else ""
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args, stderr=told)
    return Used(usage.ru_maxrss * 1024 / 1e6, usage.ru_utime + usage.ru_stime)


def _first_embedding(
    folder: Path, sizes: str, rounds: int
) -> tuple[dict[str, Lap], dict[str, float], dict[str, float]]:
    """Every library saves its model, then those who load it race; the third: how far the rows before and after are apart."""
    import numpy as np

    commands = {}
    for who in MODELS if sizes != "tiny" else ("jina_clip", "transformers"):
        if find_spec(who):
            (folder / who).mkdir()
            _spawn(_call("save", who, folder / who, sizes))
            commands[who] = _call("load", who, folder / who, sizes)
    laps, cpu = _race(commands, rounds)
    rows = {
        who: [np.load(folder / who / f"{when}.npy") for when in ("saved", "loaded")]
        for who in commands
    }
    return laps, cpu, {who: largest_difference(*some) for who, some in rows.items()}


def _call(step: str, who: str, folder: Path, sizes: str) -> tuple[str, str]:
    return (
        "-c",
        f"from benchmarks import startup; startup.{step}({who!r}, {str(folder)!r}, {sizes!r})",
    )


def save(who: str, folder: str, sizes: str) -> None:
    """In a process of its own: make the model, note the rows it gives, save it."""
    import torch

    torch.manual_seed(0)
    MODELS[who][0](Path(folder), sizes)


def load(who: str, folder: str, sizes: str) -> None:
    """In a process of its own: what is measured."""
    MODELS[who][1](Path(folder), sizes)


def _save_jina(folder: Path, sizes: str) -> None:
    import torch

    from jina_clip import V1, V2, JinaCLIP

    model = JinaCLIP.from_pretrained(TINY, device="cpu", dtype="bfloat16")
    if sizes != "tiny":
        model = JinaCLIP({"v1": V1, "v2": V2}[sizes], tokenizer=model.tokenizer)
    dtype = getattr(torch, _dtype(sizes))
    model.to(dtype).eval()
    _note(folder / "saved.npy", lambda ids: model.get_text_features(ids))
    model.save_pretrained(folder, dtype=dtype)


def _load_jina(folder: Path, sizes: str) -> None:
    from jina_clip import JinaCLIP

    model = JinaCLIP.from_pretrained(folder, device="cpu", dtype=_dtype(sizes))
    _note(folder / "loaded.npy", lambda ids: model.get_text_features(ids))


def _save_transformers(folder: Path, sizes: str) -> None:
    import torch
    from transformers import AutoModel, JinaEmbeddingsV3Config

    from jina_clip import V1, V2, JinaCLIP

    text = {"v1": V1, "v2": V2}.get(sizes, JinaCLIP.from_pretrained(TINY, device="cpu").config).text
    names = (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
    )
    config = JinaEmbeddingsV3Config(**{name: getattr(text, name) for name in names})
    model = AutoModel.from_config(
        config, dtype=getattr(torch, _dtype(sizes))
    ).eval()  # `to` would cast the rotary table too
    _note(folder / "saved.npy", lambda ids: model(ids).last_hidden_state)
    model.save_pretrained(folder)


def _load_transformers(folder: Path, sizes: str) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype="auto")
    _note(folder / "loaded.npy", lambda ids: model(ids).last_hidden_state)


def _save_open_clip(folder: Path, sizes: str) -> None:
    import open_clip
    from safetensors.torch import save_file

    model = open_clip.create_model(EVA).eval()
    _note(folder / "saved.npy", lambda ids: model.encode_text(_padded(ids)))
    save_file(model.state_dict(), folder / "model.safetensors")


def _load_open_clip(folder: Path, sizes: str) -> None:
    import open_clip

    model = open_clip.create_model(EVA, pretrained=str(folder / "model.safetensors")).eval()
    _note(folder / "loaded.npy", lambda ids: model.encode_text(_padded(ids)))


MODELS: dict[str, tuple[Callable[[Path, str], None], Callable[[Path, str], None]]] = {
    "jina_clip": (_save_jina, _load_jina),
    "transformers": (_save_transformers, _load_transformers),
    "open_clip": (_save_open_clip, _load_open_clip),
}


def _dtype(sizes: str) -> str:
    return "float32" if sizes == "v1" else "bfloat16"  # as config.json of each says


def _note(path: Path, embed: Callable[[Any], Any]) -> None:
    import numpy as np
    import torch

    with torch.inference_mode():
        np.save(path, embed(torch.tensor([IDS])).float().numpy())


def _padded(ids: Any) -> Any:
    import torch

    return torch.nn.functional.pad(ids, (0, 77 - len(IDS)))  # open_clip's texts have 77 tokens


if __name__ == "__main__":
    main()
