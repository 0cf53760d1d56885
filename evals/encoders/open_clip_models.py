"""What a spec of open_clip means: the architecture, where its weights are, what its towers are given.

All of it is known without the weights and without the network.
"""

import hashlib
import importlib
import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from evals.encoders.flores import FLORES
from evals.encoders.hashed_files import HashedFile, content_hash, hash_folder
from evals.reading import read_json
from evals.schema import ConfigError, InvalidError, MissingError

PREPARATION = ("mean", "std", "interpolation", "resize_mode")  # of an image
CONTEXT_LENGTH, IMAGE_SIZE = 77, 224  # where a config says nothing

Config = Mapping[str, Any]  # of an architecture, as the files of open_clip's model_configs


class Spec(NamedTuple):
    """An architecture, by its name or its JSON file, and a tag of the registry or a checkpoint."""

    arch: str
    pretrained: str


def import_open_clip() -> Any:
    """The package; MissingError says how to install it."""
    try:
        return importlib.import_module("open_clip")
    except ModuleNotFoundError as error:
        raise MissingError(
            f"open_clip cannot be imported ({error}). Run: pip install 'jina-clip-evals[rivals]'."
        ) from error


def read_spec(spec: str) -> Spec:
    """`ARCH/PRETRAINED`; ConfigError for anything else."""
    match = re.fullmatch(r"(.+?\.json|[^/]+)/(.+)", spec)
    if match is None:
        raise ConfigError(
            f"open_clip:{spec}: give ARCH/PRETRAINED, as open_clip:ViT-B-16/datacomp_xl_s13b_b90k."
        )
    return Spec(match[1], match[2])


def registered_name(open_clip: Any, arch: str) -> str:
    """The name under which open_clip knows an architecture; a JSON file is made known by its stem.

    ConfigError: there is none, or open_clip knows another of that name. MissingError and
    InvalidError: the file cannot be read, or holds no config of a model.
    """
    if not arch.endswith(".json"):
        if arch not in open_clip.list_models():
            near = nearest(arch, open_clip.list_models())
            raise ConfigError(f"open_clip has no model {arch!r}.{near}")
        return arch
    path = Path(arch)
    config = read_json(path)
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
        raise InvalidError(
            f"{path}: not a model config of open_clip. "
            "It needs `embed_dim`, `vision_cfg` and `text_cfg`."
        )
    # Known once per process: a second model of the same file is not made known again.
    if open_clip.get_model_config(path.stem) is None:
        open_clip.add_model_config(path)
    if open_clip.get_model_config(path.stem) != config:
        raise ConfigError(f"{path}: open_clip knows another model as {path.stem}. Rename the file.")
    return path.stem


def find_tag(open_clip: Any, spec: Spec, config: Config) -> dict[str, Any]:
    """What the registry says of a tag; empty for a checkpoint file that is there.

    ConfigError: there is no such tag, or its weights need the activation of another architecture.
    MissingError: there is no such file.
    """
    arch, pretrained = spec
    entry = open_clip.get_pretrained_cfg(arch, pretrained)
    if entry:
        # open_clip only warns of it, and its rows are wrong
        if entry.get("quick_gelu") and not config.get("quick_gelu"):
            raise ConfigError(
                f"{arch}/{pretrained}: the weights are for QuickGELU. "
                f"Give {arch}-quickgelu/{pretrained}."
            )
        return dict(entry)
    if Path(pretrained).is_file():
        return {}
    if "/" in pretrained or "." in pretrained:
        raise MissingError(
            f"{pretrained}: no such file. "
            f"Give a checkpoint of {arch}, or a tag of open_clip's registry."
        )
    tags = open_clip.list_pretrained_tags_by_model(arch)
    raise ConfigError(
        f"open_clip has no weights {pretrained!r} of {arch}.{nearest(pretrained, tags)}"
    )


def image_preparation(open_clip: Any, arch: str, tag: Mapping[str, Any]) -> dict[str, Any]:
    """How images are prepared for a tag, or for a file as for all tags of the architecture.

    For a file open_clip itself would take what suits ViT-B-32. ConfigError when the tags differ.
    """
    tags = [tag]
    if not tag:
        names = open_clip.list_pretrained_tags_by_model(arch)
        tags = [open_clip.get_pretrained_cfg(arch, name) for name in names] or [{}]
    transform = open_clip.transform
    default = transform.PreprocessCfg()
    # As open_clip merges them when it loads that tag: its defaults, then the entry.
    ways = [transform.merge_preprocess_dict(default, entry) for entry in tags]
    for way in ways:
        if any(way[name] != ways[0][name] for name in PREPARATION):
            raise ConfigError(
                f"The tags of {arch} prepare images in several ways, and a file does not say which "
                "is its own. Give a tag, or for open_clip's default a copy of the model's JSON "
                "config under another name."
            )
    return dict(ways[0])


def tokenizer_files(config: Config) -> list[HashedFile]:
    """The files of a tokenizer that an architecture names by a local folder."""
    name = config.get("hf_tokenizer_name")
    return hash_folder(Path(name)) if name and Path(name).is_dir() else []


def text_entries(
    arch: str, config: Config, files: Sequence[HashedFile], *, by_language: bool
) -> dict[str, str]:
    """What the fingerprint says of the text tower with that config."""
    name, siglip = config.get("hf_tokenizer_name"), "siglip" in arch.lower()
    tokenizer = "SigLipTokenizer" if siglip else "SimpleTokenizer"
    if name:
        tokenizer = f"HFTokenizer {name}"
    if files:
        tokenizer = f"HFTokenizer {content_hash(Path(str(name)), files)}"
    entries = {
        "text.tokenizer": tokenizer,
        "text.context_length": str(config.get("context_length", CONTEXT_LENGTH)),
        # It mends broken Unicode before the tokens, in ways that differ by release.
        "text.ftfy": importlib.metadata.version("ftfy"),
    }
    if name or siglip or "hf_model_name" in config:
        entries["text.transformers"] = importlib.metadata.version("transformers")
    if by_language:
        entries["text.languages"] = hash_json(FLORES)
    return entries


def image_entries(transform: Any, config: Config, preparation: Mapping[str, Any]) -> dict[str, str]:
    """What the fingerprint says of the image tower with that config."""
    size = config.get("image_size", IMAGE_SIZE)
    settings = transform.PreprocessCfg(**{**preparation, "size": size})
    entries = {
        # The repr of torchvision's transforms names every step with its parameters.
        "image.preprocess": repr(transform.image_transform_v2(settings, is_train=False)),
        "image.pillow": importlib.metadata.version("pillow"),
        "image.torchvision": importlib.metadata.version("torchvision"),
    }
    if "timm_model_name" in config:
        entries["image.timm"] = importlib.metadata.version("timm")
    return entries


def hash_json(value: Mapping[str, Any]) -> str:
    """The sha256 (hex) of a value, in one way of writing it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def nearest(name: str, names: Sequence[str]) -> str:
    """The names most like `name`, or the first ones, as the end of a message."""
    near = get_close_matches(name, names, n=5, cutoff=0.4) or list(names)[:5]
    return f" Near names: {', '.join(near)}." if near else " It has none: give a checkpoint file."
