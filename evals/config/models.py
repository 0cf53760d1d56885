"""The models that can be named on a command line: rows of models.yaml, folders, Hub ids, rivals."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from evals.config.local import with_local_rows
from evals.config.plugins import ENCODERS, plugins
from evals.config.rows import Revision, Row, Text, nearest, read_rows
from evals.paths import configs, leads_out, of_row
from evals.schema import ConfigError, MissingError

CONFIG = "config.json"  # what tells that a folder is a checkpoint
ADAPTER = "+adapter:"  # between a jina-clip model and the folder of what PEFT trained of it
# NAME=SPEC on a command line; what stands before the first `=` of a URL or a path is no such name.
MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._@+-]*"
_NAMED = re.compile(rf"(?P<name>{MODEL_NAME})=(?P<spec>.+)")
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(\w[\w-]*(?:[./][\w-]+)*))?")
_HUB_PAGE = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+).*")
# What a folder's name may not hold, in a spec that becomes one.
_SPEC_NAME = re.compile(r"[^A-Za-z0-9._]+")
# The kinds of encoders that evals.encoders has; other packages bring more (evals.config.plugins).
BUILT_IN = ("jina_clip", "open_clip", "sentence_transformers", "api", "embeddings")
# What `--model` may begin with.
PREFIXES: dict[str, str] = {
    "open_clip": "open_clip",
    "st": "sentence_transformers",
    "api": "api",
    "embeddings": "embeddings",
}


# A row that anyone can share must not read any folder of whoever runs it.
def _inside(path: str) -> str:
    if leads_out(path):
        raise ValueError("must be a path below the repository root, without `..`")
    return path


def _encoder(name: str) -> str:
    brought = plugins(ENCODERS, BUILT_IN)
    if name not in BUILT_IN and name not in brought:
        raise ValueError(f"no such kind of encoder; there is {', '.join([*BUILT_IN, *brought])}")
    return name


class ModelRow(Row):
    """A model: jina-clip in a folder or a Hub repo, or a rival by its `spec`.

    A folder is below the repository root, a repo at a full commit. `spec` is what stands behind
    `open_clip:`, `st:` or `api:` in `--model`.
    """

    name: str
    encoder: Annotated[str, AfterValidator(_encoder)]
    path: Annotated[Text, AfterValidator(_inside)] | None = None
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    revision: Revision | None = None
    spec: Text | None = None
    about: Text | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "ModelRow":
        # Rivals say in `spec` which weights are meant, each kind in its own way.
        if self.encoder != "jina_clip":
            if self.spec is None or self.path or self.repo or self.revision:
                raise ValueError("needs `spec`, and neither `path`, `repo` nor `revision`")
            return self
        in_one_place = (self.path is None) != (self.repo is None)
        # At a commit: a row is to be the same model next year, and a branch moves.
        at_commit = (self.repo is None) == (self.revision is None)
        if self.spec or not in_one_place or not at_commit:
            raise ValueError("needs either `path`, or `repo` with `revision`")
        return self


class LocalModelRow(ModelRow):
    """A model of configs/local, which nobody shares: its folder may lie anywhere."""

    path: Text | None = None


@dataclass(frozen=True)
class ModelRef:
    """Where a model's weights are: a folder, a Hub repo, or what `spec` says.

    A repo without a `revision` is meant at its newest commit. `adapter` is the folder of a PEFT
    adapter that is merged into the weights. `name` is the one records carry; it is safe as the name
    of a folder.
    `name_chosen`: the user or a row of models.yaml chose it; it does not follow from a path.
    """

    name: str
    encoder: str
    folder: Path | None = None
    repo: str | None = None
    revision: str | None = None
    spec: str | None = None
    adapter: Path | None = None
    name_chosen: bool = False


def models(path: Path | None = None) -> dict[str, ModelRow]:
    """All rows of models.yaml by name, in the order of the file, then those of configs/local."""
    file = path or configs() / "models.yaml"
    rows = read_rows(file, ModelRow)
    if path:
        return rows
    shared: dict[str, LocalModelRow] = {}
    local = with_local_rows(shared, dict.fromkeys(rows, file), LocalModelRow, models=True)
    return {**rows, **local}


def resolve_model(spec: str, path: Path | None = None) -> ModelRef:
    """What `--model SPEC` or `--model NAME=SPEC` means.

    NAME is then what records, tables and pages call the model. SPEC is a row of models.yaml;
    `open_clip:`, `st:`, `api:` or `embeddings:` and what follows; an existing folder; or a Hub id
    `org/name[@revision]`. Behind a jina-clip model `+adapter:FOLDER` merges a PEFT adapter into it.
    Raises ConfigError for what is none of these, MissingError for a path that is no folder.
    """
    named = _NAMED.fullmatch(spec)
    if named is None or spec in models(path) or Path(spec).expanduser().is_dir():
        return _unnamed(spec, path)
    name = named["name"]
    if name in models(path) and name != named["spec"]:
        raise ConfigError(
            f"--model {spec}: {name} is a row of models.yaml. Choose a name that no row has."
        )
    return replace(_unnamed(named["spec"], path), name=name, name_chosen=True)


def _unnamed(spec: str, path: Path | None) -> ModelRef:
    """A model by its place alone; with an adapter it is `base-folder`, and a model of its own."""
    base, separator, folder = spec.partition(ADAPTER)
    if not separator or Path(spec).expanduser().is_dir():
        return _plain(spec, path)
    model, adapter = _plain(base, path), Path(folder).expanduser()
    if model.encoder != "jina_clip":
        raise ConfigError(
            f"--model {spec}: only jina-clip models take an adapter, and {base} is {model.encoder}. "
            "Merge the two with PEFT, and save the model."
        )
    if not folder or not adapter.is_dir():
        raise MissingError(f"{folder or spec}: no such folder of a PEFT adapter. Give a local one.")
    name = f"{model.name}-{adapter.resolve().name}"
    return replace(model, name=name, adapter=adapter, name_chosen=False)


def _plain(name: str, path: Path | None) -> ModelRef:
    rows = models(path)
    if name in rows:
        row = rows[name]
        return ModelRef(
            name=name,
            encoder=row.encoder,
            folder=of_row(row.path) if row.path else None,
            repo=row.repo,
            revision=row.revision,
            spec=row.spec,
            name_chosen=True,
        )
    # Before folders: a folder may be called `st:`, and nobody calls one so.
    prefix, colon, spec = name.partition(":")
    if colon and prefix in PREFIXES:
        if not spec:
            raise ConfigError(f"--model {name}: nothing behind the colon.")
        return ModelRef(_name_of(prefix, spec), PREFIXES[prefix], spec=spec)
    if colon and prefix in plugins(ENCODERS, BUILT_IN):
        return ModelRef(_name_of(prefix, spec), prefix, spec=spec)
    # A folder goes before the Hub: `org/name` may be both, and what is here needs no network.
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        _refuse_parent(folder)
        return ModelRef(folder.resolve().name, "jina_clip", folder)
    match = _HUB_ID.fullmatch(name)
    if match:
        return ModelRef(name.replace("/", "--"), "jina_clip", None, match[1], match[2])
    page = _HUB_PAGE.fullmatch(name)
    if page:
        raise ConfigError(
            f"--model {name}: is the address of a page. Write its Hub id: --model {page[1]}."
        )
    if folder.is_file():
        raise MissingError(
            f"{name}: a file, where a checkpoint folder is wanted. Give the folder that holds it, or "
            "write its kind before it, as in open_clip:ARCH//FILE."
        )
    # What looks like a path is meant as one, and no Hub id has two slashes.
    if name.startswith(("/", "./", "../", "~")) or name.count("/") > 1:
        raise MissingError(
            f"{name}: no such checkpoint folder. Give an existing one, a row of models.yaml, or a "
            "Hub id."
        )
    kinds = [*PREFIXES, *plugins(ENCODERS, BUILT_IN)]
    raise ConfigError(
        f"No model {name!r}.{nearest(name, rows)} `python -m evals.run --list` shows all. For a "
        "model of your own give an existing folder with weights, a Hub id (org/name or "
        f"org/name@revision), or {', '.join(f'{kind}:…' for kind in kinds)}."
    )


def _refuse_parent(folder: Path) -> None:
    """Refuse a folder of checkpoints where one of them is wanted. MissingError names the newest."""
    if (folder / CONFIG).is_file():
        return
    inside = [path.parent for path in folder.glob(f"*/{CONFIG}")]
    if inside:
        # By what it holds: a folder that was copied last is not the one that was written last.
        newest = max(inside, key=lambda path: (path / CONFIG).stat().st_mtime)
        count = "a checkpoint" if len(inside) == 1 else f"{len(inside):,} checkpoints"
        raise MissingError(
            f"{folder}: no checkpoint itself, but a folder of {count}. Name one, such as {newest}."
        )


def _name_of(prefix: str, spec: str) -> str:
    """`st-mini` for `st:/models/mini`.

    Of a path only the last part counts, so that a laptop and CI give one name.
    """
    # The path of open_clip:ARCH/PATH stands behind the first slash.
    _, _, behind = spec.partition("/")
    for part in (spec, behind):
        path = Path(part).expanduser()
        if part and path.exists():
            spec = f"{spec.removesuffix(part)}-{path.resolve().name}"
            break
    return _SPEC_NAME.sub("-", f"{prefix}-{spec}").strip("-")
