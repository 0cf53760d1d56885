"""The folder of a sentence-transformers model, found, hashed and understood without loading it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evals.encoders.snapshots import snapshot
from evals.reading import read_json
from evals.schema import ConfigError, InvalidError, MissingError

# Files that torch never reads, by fnmatch as on the Hub: neither fetched nor fingerprinted.
FOREIGN = ("*.h5", "*.ot", "*.msgpack", "*.onnx", "*.md", "onnx/*", "openvino/*", ".*", "*/.*")
COPY_AGAIN = "Copy the model again, whole."
FOREIGN_CODE = (
    "is code of the model's own (trust_remote_code), which is never run. Choose another model."
)
# Modules that do not change the width of a row.
SAME_WIDTH = (".Normalize", ".Dropout", ".LayerNorm", ".MultiVectorMask")
# What the library calls models of several vectors per item, and what PyLate called them.
SEVERAL = ("MultiVectorEncoder", "ColBERT")
ONE = "SentenceTransformer"
# The modules of PyLate that sentence-transformers loads as its own, without running PyLate.
PYLATE = ("pylate.models.Dense.Dense",)

COSINE, MAXSIM, MEAN_MAXSIM = "cosine", "maxsim", "meanmaxsim"

Module = Mapping[str, Any]  # an entry of modules.json: `type` and `path`


class Spec(NamedTuple):
    """What follows `st:`: a folder or Hub id, and how to compare its rows (None: as the model says)."""

    place: str
    similarity: str | None


class Location(NamedTuple):
    """A folder, and the repo and commit that it holds; both are None for a local folder."""

    folder: Path
    repo: str | None
    revision: str | None


def read_spec(spec: str) -> Spec:
    """`PLACE`, or `PLACE;similarity=cosine`, or `maxsim`. ConfigError for another similarity."""
    place, option, similarity = spec.partition(";similarity=")
    if option and similarity not in (COSINE, MAXSIM):
        raise ConfigError(
            f"st:{spec}: rows are compared by cosine, several vectors per item by maxsim. Only "
            f";similarity={COSINE} or ;similarity={MAXSIM} may stand there."
        )
    return Spec(place, similarity or None)


def locate(place: str) -> Location:
    """The local folder of that path, which never touches the network, or a snapshot from the Hub.

    MissingError for what is neither, and for a repo that cannot be fetched.
    """
    path = Path(place).expanduser()
    if path.is_dir():
        return Location(path, None, None)
    match = re.fullmatch(r"(\w[\w.-]*/[\w.-]+)(?:@([\w./-]+))?", place)
    if match is None:
        raise MissingError(
            f"{place}: no such folder, and no Hub id of the form org/name[@revision]. "
            "Correct what follows st:."
        )
    folder = snapshot(match[1], match[2], local_way="st: with a local folder", without=[*FOREIGN])
    # The folder of a snapshot is named by its commit.
    return Location(folder, match[1], folder.name)


def read_modules(folder: Path) -> Sequence[Module]:
    """The modules of a model, in their order; errors for what the library would load as another.

    https://www.sbert.net/docs/sentence_transformer/usage/custom_models.html
    """
    file = folder / "modules.json"
    if not file.is_file() and _is_retriever(folder):
        return [{"type": "sentence_transformers.base.modules.Transformer", "path": ""}]
    if not file.is_file():
        raise InvalidError(
            f"{folder}: no modules.json, so no sentence-transformers model. "
            "Point at the folder that has one."
        )
    modules: list[Any] = read_config(file, list)
    # An empty list is refused as a module without a type is.
    for module in modules or [{}]:
        if not isinstance(module, dict) or not _is_text(module, "type", "path"):
            raise InvalidError(f"{file}: must list modules with `type` and `path`. {COPY_AGAIN}")
        is_native = module["type"].startswith("sentence_transformers.")
        if not is_native and module["type"] not in PYLATE:
            raise ConfigError(f"{folder}: {module['type']} {FOREIGN_CODE}")
    kind = _library_config(folder).get("model_type", ONE)
    if kind not in (ONE, *SEVERAL):
        raise ConfigError(
            f"{folder}: a {kind}, whose output is neither one row per item nor several. "
            "Choose a SentenceTransformer or a MultiVectorEncoder."
        )
    # Its weights are named by a Hub id, which may be another release by now.
    if (folder / modules[0]["path"] / "adapter_config.json").is_file():
        raise ConfigError(
            f"{folder}: an adapter, whose base model is elsewhere. "
            "Merge the two and save the whole model."
        )
    return modules


def gives_several(folder: Path) -> bool:
    """Whether the model gives several vectors per item, which are compared by MaxSim."""
    if (folder / "modules.json").is_file():
        return _library_config(folder).get("model_type", ONE) in SEVERAL
    return _is_retriever(folder)


def read_similarity(folder: Path) -> str:
    """How the model's makers compare what it gives: as the library does unless its config says."""
    similarity = _library_config(folder).get("similarity_fn_name") or COSINE
    if not isinstance(similarity, str):
        raise InvalidError(f"{folder}: `similarity_fn_name` is no name. {COPY_AGAIN}")
    if gives_several(folder):
        # The library takes any other name, such as PyLate's, for maxsim.
        return similarity if similarity == MEAN_MAXSIM else MAXSIM
    return similarity


def is_cosine(similarity: str, modules: Sequence[Module]) -> bool:
    """Whether a similarity is the cosine: the dot product is, of rows that the model normalises."""
    normalised = modules[-1]["type"].endswith(".Normalize")
    return similarity == COSINE or (similarity == "dot" and normalised)


def read_width(folder: Path, modules: Sequence[Module]) -> int | None:
    """The width of the rows as the configs tell it; None where only the loaded model knows."""
    last = modules[0]
    for module in modules:
        if not module["type"].endswith(SAME_WIDTH):
            last = module
    config = read_config(folder / last["path"] / "config.json", dict)
    match last["type"].rpartition(".")[2]:
        case "Dense":
            width = config.get("out_features")
        # Of a plain Transformer there is none: its rows are as wide as what pools them.
        case "CLIPModel" | "Transformer":
            width = config.get("projection_dim", config.get("embedding_dim"))
        case "Pooling" if _pools_in_one_way(config):
            width = config.get("embedding_dimension", config.get("word_embedding_dimension"))
        case _:
            width = None
    return width if isinstance(width, int) else None


def read_config(file: Path, kind: type) -> Any:
    """What a JSON file holds, which is of that kind; empty when there is no such file."""
    if not file.is_file():
        return kind()
    value = read_json(file)
    if not isinstance(value, kind):
        raise InvalidError(
            f"{file}: must be a {kind.__name__}, and is {type(value).__name__}. {COPY_AGAIN}"
        )
    return value


def first_line(error: BaseException) -> str:
    """The first line of an error of a library, without its full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def _library_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = read_config(folder / "config_sentence_transformers.json", dict)
    return config


def _is_retriever(folder: Path) -> bool:
    """Whether this is a model of late interaction as transformers has it: ColPali, ColQwen2.

    It comes without modules.json, and sentence-transformers adds the mask of what is scored.
    """
    architectures = read_config(folder / "config.json", dict).get("architectures") or []
    return any(str(name).endswith("ForRetrieval") for name in architectures)


def _is_text(entry: Mapping[str, Any], *keys: str) -> bool:
    return all(isinstance(entry.get(key), str) for key in keys)


def _pools_in_one_way(config: Mapping[str, Any]) -> bool:
    """Several ways of pooling put their rows side by side, which no config counts."""
    if "pooling_mode" in config:
        return isinstance(config["pooling_mode"], str)
    # files of before version 5.4 hold a yes or no for each way
    ways = [name for name, used in config.items() if name.startswith("pooling_mode_") and used]
    return len(ways) == 1
