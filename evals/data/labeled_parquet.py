"""Labelled images from parquet repos on the Hugging Face Hub: a column of encoded images, and one of labels.

Labels are numbers. What they mean is told by the names of the label feature, which must be the row's class names in any order
(`_`, `/` and capitals aside), or, where clip-benchmark has none of the set, become them. In a column `cls` without such names,
as conversions of CLIP_benchmark's webdatasets have it, numbers are CLIP_benchmark's own.
"""

import json
import re
from typing import Any

from evals.data.hub import image_column, table_of
from evals.data.images import Images
from evals.data.labeled import Labeled, LabeledRelease, labelled, prompts_of, required_names
from evals.data.prompts import Listed, names_of, plain
from evals.data.repos import CHECK_COMMIT, Repo, only_config, repo_of, snapshot
from evals.schema import ClassPrompts, ConfigError, InvalidError, LabeledImages, Source

IMAGES = ("image", "img", "webp", "jpg", "png", "jpeg")
LABELS = ("label", "cls", "labels", "fine_label")


def load_labeled_parquet(source: Source) -> dict[str, LabeledImages]:
    """The rows of the only config, or the default one, in their order; image ids are the numbers of the rows.

    ConfigError: the row has images of several classes. MissingError: the repo or a file cannot be had. InvalidError: no such
    column, labels that are no numbers, or label names that are not the row's classes.
    """
    prompts = prompts_of(source)
    if prompts.multilabel:
        raise ConfigError(
            f"{source.repo}: images of several classes are read from webdatasets only. Check `data` of the row."
        )
    repo = repo_of(source)
    config = "default" if "default" in repo.configs else only_config(repo)
    table = table_of(repo, config, source, source.subsets[0])
    column = next((name for name in LABELS if name in table.column_names), None)
    if column is None:
        raise InvalidError(
            f"{repo.name}: no column {', '.join(LABELS)} among {', '.join(table.column_names)}. {CHECK_COMMIT}"
        )
    names, classes = _classes(table, column, repo, prompts)
    rows = [
        Labeled(
            str(n),
            _label(value, classes, f"{repo.name}, row {n}, column {column}"),
            f"{repo.name}, row {n}",
        )
        for n, value in enumerate(table[column].to_pylist())
    ]
    cells = image_column(table, [row.image for row in rows], repo, IMAGES)

    def images() -> Images:
        return Images(
            [f"{repo.name}, image {row.image}" for row in rows], lambda i: bytes(cells[i].as_py())
        )

    origin = {
        "layout": "labeled_parquet",
        "repo": repo.name,
        "revision": repo.commit,
        "split": source.split,
    }
    return labelled(LabeledRelease(rows, names, images, None, origin), source)


def _classes(
    table: Any, column: str, repo: Repo, prompts: ClassPrompts
) -> tuple[Listed, list[int]]:
    """The class names, and the class of each label."""
    features = _label_names(table, column) or _declared_names(repo, column)
    listed = names_of(None, prompts)
    if features is None:
        if column != "cls":
            raise InvalidError(
                f"{repo.name}: nothing says what the numbers in `{column}` mean. Use a repo with label names."
            )
        return required_names(listed, repo.name), list(range(prompts.classes))
    if listed is None:
        if len(features) != prompts.classes:
            raise InvalidError(
                f"{repo.name}: {len(features)} label names, where the row has {prompts.classes} classes."
            )
        return Listed([name.replace("_", " ") for name in features], f"names of `{column}`"), list(
            range(len(features))
        )
    known = [plain(name) for name in listed.values]
    if stray := next((name for name in features if known.count(plain(name)) != 1), None):
        raise InvalidError(
            f"{repo.name}: the label {stray!r} is no class, or two, of {listed.origin}. Use another repo."
        )
    return listed, [known.index(plain(name)) for name in features]


def _label(value: Any, classes: list[int], where: str) -> int:
    if not isinstance(value, int) or not 0 <= value < len(classes):
        raise InvalidError(
            f"{where}: {str(value)[:40]!r} is not one of the {len(classes)} labels. {CHECK_COMMIT}"
        )
    return classes[value]


def _label_names(table: Any, column: str) -> list[str] | None:
    """The names in what `datasets` writes into the head of a parquet file."""
    head = (table.schema.metadata or {}).get(b"huggingface")
    features = json.loads(head)["info"]["features"] if head else {}
    names = features.get(column, {}).get("names")
    return [str(name) for name in names] if names else None


def _declared_names(repo: Repo, column: str) -> list[str] | None:
    """The names in the `dataset_info` of the README's head."""
    import yaml

    readme = snapshot(repo, ["README.md"]) / "README.md"
    head = (
        re.match(r"---\r?\n(.*?)\r?\n---", readme.read_text(encoding="utf-8"), re.DOTALL)
        if readme.is_file()
        else None
    )
    info = (yaml.safe_load(head[1]) or {}).get("dataset_info", {}) if head else {}
    for config in info if isinstance(info, list) else [info]:
        for feature in config.get("features", []):
            dtype = feature.get("dtype") if feature.get("name") == column else None
            if isinstance(dtype, dict) and (names := dtype.get("class_label", {}).get("names")):
                return [str(names[key]) for key in sorted(names, key=int)]
    return None
