"""The rows of configs/*.yaml: benchmarks and models that can be named on a command line.

Suites of benchmarks have their own file, evals.config.suites.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from evals.paths import configs, leads_out, of_row
from evals.reading import read_yaml
from evals.schema import ConfigError, MissingError

_SPEC_NAME = re.compile(r"[^A-Za-z0-9._]+")
ADAPTER = "+adapter:"  # between a jina-clip model and the folder of what PEFT trained of it
# NAME=SPEC on a command line; what stands before the first `=` of a URL or a path is no such name
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._@+-]*)=(?P<spec>.+)")
# A row's key is a make target, a folder and a column.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(\w[\w-]*(?:[./][\w-]+)*))?")


class Row(BaseModel):
    """What every row of configs/*.yaml has.

    Unknown keys are refused, nothing is converted, nothing changes later.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(gt=0)]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


Subset = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


def _distinct(subsets: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(subsets)) < len(subsets):
        raise ValueError("a subset is listed twice")
    return subsets


# A row that anyone can share must not read any folder of whoever runs it.
def _inside(path: str) -> str:
    if leads_out(path):
        raise ValueError("must be a path below the repository root, without `..`")
    return path


class Hub(Row):
    """A dataset repo on the Hub.

    `revision` is a full commit, or null for the newest, which is then recorded.
    """

    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Revision | None


class Captions(Row):
    """The caption protocol of a row, see evals.schema.CaptionProtocol."""

    captions: Literal["all", "first"] | Count = "all"
    quotes: Literal["csv", "clip_benchmark"] = "csv"
    duplicates: Literal["own", "merged"] = "own"


class Classes(Row):
    """The classes of a classification row: how many, and their names and templates.

    They are those of evals.schema.ClassPrompts. `dataset` is CLIP_benchmark's name of the set.
    """

    count: Count
    dataset: Text
    names: Text | None = None
    templates: Text = "imagenet1k"
    wordnet: Text | None = None


# What the rows of tasks of texts count, by the names under which data counts itself.
SIZES = {"retrieval": {"queries", "documents"}, "text_pairs": {"pairs"}}


class Benchmark(Row):
    """A benchmark.

    `data` names its loader; `images` and `texts`, or the classes, are the exact counts of every
    subset, and `texts_of` those of subsets that differ. Captioned images have texts. A
    classification has `classes`, and the `metric` that papers report of it (mAP: images have
    several classes each). Tasks of texts have a `size` in place of that: the counts of queries and
    documents, or of pairs. `folder` is its folder in --data DIR, where that is not `name`.
    """

    name: str
    title: Text
    task: Literal["image_text", "classification", "retrieval", "text_pairs"]
    data: Text
    subsets: Annotated[
        tuple[Subset, ...], Field(strict=False, min_length=1), AfterValidator(_distinct)
    ]
    split: Text
    images: Annotated[int, Field(ge=0)] = 0
    texts: Count | None = None
    texts_of: dict[str, Count] | None = None
    classes: Classes | None = None
    metric: Literal["acc@1", "mAP"] | None = None
    size: dict[str, Count] | None = None
    hub: Hub | None = None
    # Anchored: pydantic searches for a pattern, and `../x` holds a fine name.
    folder: Annotated[str, Field(pattern=rf"^{_NAME.pattern}$")] | None = None
    protocol: Captions = Captions()
    licence: Text | None = None
    about: Text | None = None

    @model_validator(mode="after")
    def _every_subset_counted(self) -> "Benchmark":
        counted = SIZES.get(self.task, set())
        if (self.size or {}).keys() != counted:
            raise ValueError(f"`size` must count {' and '.join(sorted(counted)) or 'nothing'}")
        if counted:
            if self.images or self.texts or self.texts_of or self.classes or self.metric:
                raise ValueError("a task of texts has neither images, texts, classes nor a metric")
            return self
        if not self.images:
            raise ValueError("the key `images` is missing")
        # Labels are told once per benchmark, and so one subset is all that there can be.
        if self.task == "classification":
            if self.classes is None or self.metric is None or len(self.subsets) > 1:
                raise ValueError("a classification needs `classes`, a `metric` and one subset")
            if self.texts or self.texts_of or self.protocol != Captions():
                raise ValueError("a classification has neither texts nor a protocol")
            return self
        if self.classes or self.metric:
            raise ValueError("captioned images have neither `classes` nor a `metric`")
        one_of_two = (self.texts is None) != (self.texts_of is None)
        if not one_of_two or (self.texts_of and set(self.texts_of) != set(self.subsets)):
            raise ValueError("needs either `texts`, or `texts_of` with the count of every subset")
        return self

    def count_texts(self, subset: str) -> int:
        """How many texts a subset of captioned images has."""
        return self.texts or (self.texts_of or {})[subset]

    def counts(self, subset: str) -> dict[str, int]:
        """How much a subset has, by the names that data counts itself under."""
        if self.size:
            return dict(self.size)
        if self.classes:
            return {"images": self.images, "classes": self.classes.count}
        return {"images": self.images, "texts": self.count_texts(subset)}


EncoderName = Literal["jina_clip", "open_clip", "sentence_transformers", "api"]
# What `--model` may begin with.
PREFIXES: dict[str, EncoderName] = {
    "open_clip": "open_clip",
    "st": "sentence_transformers",
    "api": "api",
}


class ModelRow(Row):
    """A model: jina-clip in a folder or a Hub repo, or a rival by its `spec`.

    A folder is below the repository root, a repo at a full commit. `spec` is what stands behind
    `open_clip:`, `st:` or `api:` in `--model`.
    """

    name: str
    encoder: EncoderName
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
        elif (
            self.spec
            or (self.path is None) == (self.repo is None)
            or (self.repo is None) != (self.revision is None)
        ):
            raise ValueError("needs either `path`, or `repo` with `revision`")
        return self


@dataclass(frozen=True)
class ModelRef:
    """Where a model's weights are: a folder, a Hub repo, or what `spec` says.

    A repo without a `revision` is meant at its newest commit. `adapter` is the folder of a PEFT
    adapter that is merged into the weights. `name` is the one records carry; it is safe as the name
    of a folder.
    `name_chosen`: the user or a row of models.yaml chose it; it does not follow from a path.
    """

    name: str
    encoder: EncoderName
    folder: Path | None = None
    repo: str | None = None
    revision: str | None = None
    spec: str | None = None
    adapter: Path | None = None
    name_chosen: bool = False


BENCHMARKS = ("benchmarks.yaml", "classification.yaml")


def benchmarks(path: Path | None = None) -> dict[str, Benchmark]:
    """All rows of one file, or of the files of configs/ that hold benchmarks, by their names.

    ConfigError when a name comes twice. A folder of configs without classification.yaml has no such
    rows.
    """
    files = [path] if path else _benchmark_files()
    all_rows: dict[str, Benchmark] = {}
    for file in files:
        rows = read_rows(file, Benchmark)
        twice = all_rows.keys() & rows.keys()
        if twice:
            raise ConfigError(
                f"{file}, row {min(twice)}: there is one of that name in {files[0].name}. "
                "Rename one of them."
            )
        all_rows |= rows
    return all_rows


def _benchmark_files() -> list[Path]:
    captioned, *labelled = (configs() / name for name in BENCHMARKS)
    return [captioned, *(file for file in labelled if file.is_file())]


def models(path: Path | None = None) -> dict[str, ModelRow]:
    """All rows of models.yaml by name, in the order of the file."""
    return read_rows(path or configs() / "models.yaml", ModelRow)


def benchmark(name: str, path: Path | None = None) -> Benchmark:
    """The row `name` of the benchmarks; ConfigError with the nearest names when there is none."""
    rows = benchmarks(path)
    if name not in rows:
        raise ConfigError(
            f"No benchmark {name!r}.{nearest(name, rows)} `python -m evals.run --list` shows all."
        )
    return rows[name]


def resolve_model(spec: str, path: Path | None = None) -> ModelRef:
    """What `--model SPEC` or `--model NAME=SPEC` means.

    NAME is then what records, tables and pages call the model. SPEC is a row of models.yaml;
    `open_clip:`, `st:` or `api:` and what follows; an existing folder; or a Hub id
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
    """A model by its place alone; with an adapter it is `base+folder`, and a model of its own."""
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
    name = f"{model.name}+{adapter.resolve().name}"
    return replace(model, name=name, adapter=adapter, name_chosen=False)


def _plain(name: str, path: Path | None) -> ModelRef:
    rows = models(path)
    if name in rows:
        row = rows[name]
        return ModelRef(
            name,
            row.encoder,
            of_row(row.path) if row.path else None,
            row.repo,
            row.revision,
            row.spec,
            name_chosen=True,
        )
    # Before folders: a folder may be called `st:`, and nobody calls one so.
    prefix, colon, spec = name.partition(":")
    if colon and prefix in PREFIXES:
        if not spec:
            raise ConfigError(f"--model {name}: nothing behind the colon.")
        return ModelRef(_name_of(prefix, spec), PREFIXES[prefix], spec=spec)
    # A folder goes before the Hub: `org/name` may be both, and what is here needs no network.
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return ModelRef(folder.resolve().name, "jina_clip", folder)
    match = _HUB_ID.fullmatch(name)
    if match:
        return ModelRef(name.replace("/", "--"), "jina_clip", None, match[1], match[2])
    # What looks like a path is meant as one, and no Hub id has two slashes.
    if name.startswith(("/", "./", "../", "~")) or name.count("/") > 1:
        raise MissingError(
            f"{name}: no such checkpoint folder. Give an existing one, a row of models.yaml, or a "
            "Hub id."
        )
    raise ConfigError(
        f"No model {name!r}.{nearest(name, rows)} Give a row of models.yaml ({', '.join(rows)}), "
        "an existing folder with weights, or a Hub id of the form org/name or org/name@revision."
    )


def _name_of(prefix: str, spec: str) -> str:
    """`st-mini` for `st:/models/mini`.

    Of a path only the last part counts, so that a laptop and CI give one name.
    """
    for part in (
        spec,
        *spec.split("/", 1)[1:],
    ):  # open_clip:ARCH/PATH has its path behind the first slash
        path = Path(part).expanduser()
        if part and path.exists():
            spec = f"{spec.removesuffix(part)}-{path.resolve().name}"
            break
    return _SPEC_NAME.sub("-", f"{prefix}-{spec}").strip("-")


def nearest(name: str, rows: Mapping[str, object]) -> str:
    """` Did you mean …?` with the names most like `name`; nothing when none is."""
    # At most three, and none that is far off.
    near = difflib.get_close_matches(name, rows)
    return f" Did you mean {' or '.join(near)}?" if near else ""


R = TypeVar("R", bound=Row)


def read_rows(file: Path, kind: type[R]) -> dict[str, R]:
    """All rows of a file by name, validated; ConfigError names file, row, field and problem."""
    try:
        loaded = read_yaml(file, error=ConfigError)
    except MissingError as error:
        raise ConfigError(f"{error} EVALS_CONFIGS names another folder of configs.") from None
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"{file}: must map row names to rows, and holds {type(loaded).__name__}. "
            "Write `name: {...}`."
        )
    return {str(name): _row(file, name, fields, kind) for name, fields in loaded.items()}


def _row(file: Path, name: Any, fields: Any, kind: type[R]) -> R:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{file}: {name!r} is no name for a row. "
            "Use a-z, 0-9, `.`, `_` and `-`, in quotes if YAML reads a word."
        )
    if not isinstance(fields, dict) or "name" in fields:
        raise ConfigError(
            f"{file}, row {name}: must be a mapping without the key `name`, "
            "which is the row's own key."
        )
    try:
        return kind.model_validate({"name": name, **fields})
    except ValidationError as error:
        allowed = [field for field in kind.model_fields if field != "name"]
        problems = "; ".join(_problem(dict(item), allowed) for item in error.errors())
        raise ConfigError(f"{file}, row {name}: {problems}.") from None


def _problem(error: dict[str, Any], allowed: list[str]) -> str:
    """One pydantic error in words: the field, what is wrong, and what would be right."""
    kind = error["type"]
    field = ".".join(str(part) for part in error["loc"])
    value = error["input"]
    # A value may be a mapping of hundreds of lines.
    shown = repr(value)[:80]
    if kind == "extra_forbidden":
        return _unknown_key(error["loc"], allowed)
    if kind == "missing":
        return f"the key `{field}` is missing"
    if kind == "string_type" and isinstance(value, bool):
        bare, quoted = ("yes, on or true", '"on"') if value else ("no, off or false", '"no"')
        return (
            f"`{field}` is {value}, which is how YAML reads a bare {bare}; "
            f"put it in quotes, as in {quoted}"
        )
    if kind == "string_type":
        return f"`{field}` must be a string and is {shown}; put it in quotes"
    if kind == "string_pattern_mismatch" and field.endswith("revision"):
        return f"`{field}` must be a full commit of 40 hex digits and is {shown}"
    message = error["msg"].removeprefix("Value error, ")
    return f"`{field}` is {shown}: {message[0].lower()}{message[1:]}" if field else message


def _unknown_key(place: tuple[Any, ...], allowed: list[str]) -> str:
    """What may stand where an unknown key stands: in the row, or in a mapping of it."""
    field = ".".join(map(str, place))
    inner: dict[Any, type[Row]] = {"hub": Hub, "classes": Classes, "protocol": Captions}
    if len(place) > 1:
        allowed = list(inner[place[0]].model_fields) if place[0] in inner else []
    keys = f"; the keys allowed are {', '.join(allowed)}" if allowed else ""
    return f"unknown key `{field}`{keys}"
