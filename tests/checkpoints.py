"""Checkpoints that tests change on purpose."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file


def edited(folder, tmp_path, change):
    """A copy of a checkpoint with its config.json (a dict) or weights (tensors) changed in place."""
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    change(config, tensors)
    for name in ("tokenizer.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def sharded(folder: Path, target: Path) -> Path:
    """A copy of a checkpoint whose weights are two shards and an index, as transformers writes them."""
    target.mkdir()
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        (target / name).write_bytes((folder / name).read_bytes())
    tensors = load_file(folder / "model.safetensors")
    # every other tensor, so that LoRA pairs and joined layers are torn apart
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2]}
    parts["model-00002-of-00002.safetensors"] = names[1::2]
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, target / file)
    weight_map = {name: file for file, held in parts.items() for name in held}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    return target
