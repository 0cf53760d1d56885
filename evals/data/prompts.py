"""Class names and templates: those of clip-benchmark, read without importing it, and those that data brings along."""

import ast
import importlib.util
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from evals.data.captioned import read_text
from evals.schema import ClassPrompts, InvalidError, MissingError

NAMES, TEMPLATES = "classnames.txt", "zeroshot_classification_templates.txt"
ALL_WORDNET = "all_imagenet_wordnet_ids"
Templates = Sequence[str] | Mapping[str, Sequence[str]]


class Listed(NamedTuple):
    """Class names or templates, and the place they come from, for the record."""

    values: Any
    origin: str


def names_of(root: Path | None, prompts: ClassPrompts) -> Listed | None:
    """The class names in the order of the labels: classnames.txt of the data, else clip-benchmark's; None: neither has them.

    As many as the row has classes, else InvalidError.
    """
    if root is not None and (root / NAMES).is_file():
        found = Listed(_lines(root / NAMES), NAMES)
    elif prompts.names is not None:
        found = Listed(_of_parts(prompts), f"clip-benchmark {prompts.wordnet or prompts.names}")
    else:
        return None
    if len(found.values) != prompts.classes:
        raise InvalidError(
            f"{found.origin}: {len(found.values)} class names, where the row has {prompts.classes} classes. Check the row."
        )
    return found


def templates_of(root: Path | None, prompts: ClassPrompts) -> Listed:
    """The templates that come with the data, else clip-benchmark's: a list for all classes, or a list for each class name."""
    if root is not None and (root / TEMPLATES).is_file():
        return Listed(_lines(root / TEMPLATES), TEMPLATES)
    return Listed(
        _key(_clip_benchmark("en_zeroshot_classification_templates.json"), prompts.templates),
        f"clip-benchmark {prompts.templates}",
    )


def fill(templates: Templates, classname: str) -> list[str]:
    """The prompts of a class. InvalidError: no template, one without `{c}`, or none for this class."""
    if isinstance(templates, Mapping):
        if not templates.get(classname):
            raise InvalidError(
                f"templates: none for the class {classname!r}. Add some, or use templates with {{c}}."
            )
        return list(templates[classname])
    if not templates:
        raise InvalidError("templates: there are none. Add one, as in: a photo of a {c}.")
    for template in templates:
        if "{c}" not in template or set(template.replace("{c}", "")) & set("{}"):
            raise InvalidError(
                f"template {template!r}: must hold {{c}}, where the class name goes, and no other braces."
            )
    return [template.replace("{c}", classname) for template in templates]


def plain(name: str) -> str:
    """A name without capitals, underscores and slashes, by which names are told alike."""
    return " ".join(name.replace("_", " ").replace("/", " ").casefold().split())


def digest(texts: Sequence[str]) -> str:
    """One sha256 over the prompts, in their order."""
    return sha256("\n".join(texts).encode()).hexdigest()


def wordnet_ids(prompts: ClassPrompts) -> list[str] | None:
    """The WordNet ids of ImageNet's classes, or of the row's part of them, in the order of the labels; None for other sets."""
    if prompts.names != "imagenet1k":
        return None
    lists = _wordnet_lists()
    own = set(_key(lists, prompts.wordnet or ALL_WORDNET))
    return [wnid for wnid in _key(lists, ALL_WORDNET) if wnid in own]


def _of_parts(prompts: ClassPrompts) -> list[str]:
    names: list[str] = _key(_clip_benchmark("en_classnames.json"), prompts.names or "")
    if prompts.wordnet is None:
        return names
    own = set(wordnet_ids(prompts) or ())
    return [
        name
        for wnid, name in zip(_key(_wordnet_lists(), ALL_WORDNET), names, strict=True)
        if wnid in own
    ]


def _lines(file: Path) -> list[str]:
    """As CLIP_benchmark reads these files: stripped, split at every kind of line end."""
    lines = [line.strip() for line in read_text(file).splitlines()]
    if "" in lines:
        raise InvalidError(f"{file}, line {lines.index('') + 1}: is empty. Remove or complete it.")
    return lines


@lru_cache(maxsize=2)
def _clip_benchmark(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((_folder() / name).read_text(encoding="utf-8"))
    return loaded


@lru_cache(maxsize=1)
def _wordnet_lists() -> dict[str, list[str]]:
    """The lists of WordNet ids are literals in a module that imports torchvision: they are read, and nothing of it is run."""
    tree = ast.parse((_folder() / "builder.py").read_text(encoding="utf-8"))
    return {
        target.id: list(ast.literal_eval(node.value))
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List | ast.Set)
        for target in node.targets
        if isinstance(target, ast.Name)
        and (target.id == ALL_WORDNET or target.id.endswith("_wnids"))
    }


def _folder() -> Path:
    """Where clip-benchmark's data files are; importing the package would load torch."""
    spec = importlib.util.find_spec("clip_benchmark")
    if spec is None or not spec.submodule_search_locations:
        raise MissingError(
            "Class names and templates are clip-benchmark's, which is not installed. "
            "Run: pip install 'jina-clip-evals[classification]'."
        )
    return Path(spec.submodule_search_locations[0]) / "datasets"


def _key(found: Mapping[str, Any], key: str) -> Any:
    if key not in found:
        raise InvalidError(
            f"clip-benchmark has no {key!r}. Check the row, and the version of clip-benchmark (1.6.2 has it)."
        )
    return found[key]
