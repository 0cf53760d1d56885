"""Class names and templates: clip-benchmark's, read without importing it, or the data's own."""

import ast
import importlib.util
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from evals.data.checks import is_blank
from evals.reading import read_json, read_text
from evals.schema import ClassPrompts, InvalidError, MissingError

NAMES, TEMPLATES = "classnames.txt", "zeroshot_classification_templates.txt"
ALL_WORDNET = "all_imagenet_wordnet_ids"
Templates = Sequence[str] | Mapping[str, Sequence[str]]


class Listed(NamedTuple):
    """Class names or templates, and the place they come from, for the record."""

    values: Any
    origin: str


def names_of(root: Path | None, prompts: ClassPrompts) -> Listed | None:
    """The class names in the order of the labels, of classnames.txt or of clip-benchmark.

    None: neither the data nor clip-benchmark has them. InvalidError: they are not as many as the
    row has classes.
    """
    # What comes with the data wins: labels are numbers, and its order is theirs.
    if root is not None and (root / NAMES).is_file():
        listed = Listed(_lines(root / NAMES), NAMES)
        where = str(root / NAMES)
    elif prompts.names is not None:
        origin = f"clip-benchmark {prompts.wordnet or prompts.names}"
        listed = Listed(_clip_benchmark_names(prompts), origin)
        where = origin
    else:
        return None
    if len(listed.values) != prompts.classes:
        raise InvalidError(
            f"{where}: {len(listed.values)} class names, where the row has "
            f"{prompts.classes} classes. Check the row."
        )
    return listed


def templates_of(root: Path | None, prompts: ClassPrompts) -> Listed:
    """The templates that come with the data, else clip-benchmark's.

    They are a list for all classes, or a list for each class name. InvalidError names the file that
    has none, or one that is not of the form that `fill` needs.
    """
    if root is not None and (root / TEMPLATES).is_file():
        templates = _lines(root / TEMPLATES)
        _check_templates(templates, str(root / TEMPLATES))
        return Listed(templates, TEMPLATES)
    if "{c}" in prompts.templates:
        return Listed([prompts.templates], prompts.templates)
    known = _clip_benchmark("en_zeroshot_classification_templates.json")
    return Listed(_entry(known, prompts.templates), f"clip-benchmark {prompts.templates}")


def fill(templates: Templates, classname: str) -> list[str]:
    """The prompts of a class.

    InvalidError: no template, one without `{c}` or with other braces, or none for this class.
    """
    if isinstance(templates, Mapping):
        if not templates.get(classname):
            raise InvalidError(
                f"templates: none for the class {classname!r}. Add some, or use templates with "
                f"{{c}}."
            )
        return list(templates[classname])
    _check_templates(templates, "templates")
    return [template.replace("{c}", classname) for template in templates]


def _check_templates(templates: Sequence[str], where: str) -> None:
    if not templates:
        raise InvalidError(f"{where}: there are none. Add one, as in: a photo of a {{c}}.")
    for template in templates:
        if "{c}" not in template or set(template.replace("{c}", "")) & set("{}"):
            raise InvalidError(
                f"{where}: {template!r} must hold {{c}}, where the class name goes, "
                "and no other braces. Correct it."
            )


def plain(name: str) -> str:
    """A name without capitals, underscores and slashes, by which names are told alike."""
    return " ".join(name.replace("_", " ").replace("/", " ").casefold().split())


def digest(texts: Sequence[str]) -> str:
    """One sha256 over the prompts, in their order."""
    return sha256("\n".join(texts).encode()).hexdigest()


def wordnet_ids(prompts: ClassPrompts) -> list[str] | None:
    """The WordNet ids of ImageNet's classes, or of the row's part, in the order of the labels.

    None for other sets.
    """
    if prompts.names != "imagenet1k":
        return None
    # The lists of parts are sets in their source; labels follow the order of the list of all.
    lists = _wordnet_lists()
    chosen = set(_entry(lists, prompts.wordnet or ALL_WORDNET))
    return [wnid for wnid in _entry(lists, ALL_WORDNET) if wnid in chosen]


def _clip_benchmark_names(prompts: ClassPrompts) -> list[str]:
    names: list[str] = _entry(_clip_benchmark("en_classnames.json"), prompts.names or "")
    if prompts.wordnet is None:
        return names
    chosen = set(wordnet_ids(prompts) or ())
    pairs = zip(_entry(_wordnet_lists(), ALL_WORDNET), names, strict=True)
    return [name for wnid, name in pairs if wnid in chosen]


def _lines(file: Path) -> list[str]:
    """The lines as CLIP_benchmark reads these files: stripped, split at every kind of line end."""
    # With `split("\n")` as elsewhere, a name with U+2028 in it would be another than
    # CLIP_benchmark's.
    lines = [line.strip() for line in read_text(file).splitlines()]
    for number, line in enumerate(lines, 1):
        if is_blank(line):
            raise InvalidError(f"{file}, line {number}: is empty. Remove or complete it.")
    return lines


@lru_cache(maxsize=2)
def _clip_benchmark(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = read_json(_folder() / name)
    return loaded


@lru_cache(maxsize=1)
def _wordnet_lists() -> dict[str, list[str]]:
    """The lists of WordNet ids by their names.

    They are literals in a module that imports torchvision: it is parsed, and nothing of it is run.
    """
    tree = ast.parse((_folder() / "builder.py").read_text(encoding="utf-8"))
    lists: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.List | ast.Set)):
            continue
        for target in node.targets:
            name = target.id if isinstance(target, ast.Name) else ""
            if name == ALL_WORDNET or name.endswith("_wnids"):
                lists[name] = list(ast.literal_eval(node.value))
    return lists


def _folder() -> Path:
    """Where clip-benchmark's data files are; importing the package would load torch."""
    spec = importlib.util.find_spec("clip_benchmark")
    if spec is None or not spec.submodule_search_locations:
        raise MissingError(
            "Class names and templates are clip-benchmark's, which is not installed. "
            "Run: pip install 'jina-clip-evals[classification]'."
        )
    return Path(spec.submodule_search_locations[0]) / "datasets"


def _entry(entries: Mapping[str, Any], key: str) -> Any:
    if key not in entries:
        raise InvalidError(
            f"clip-benchmark has no {key!r}. "
            "Check the row, and the version of clip-benchmark (1.6.2 has it)."
        )
    return entries[key]
