"""Labelled images from parquet repos on the Hub: a column of encoded images, and one of labels.

Labels are numbers. What they mean is told by the names of the label feature, which must be the
row's class names in any order (`_`, `/` and capitals aside), or, where clip-benchmark has none of
the set, become them. In a column `cls` without such names, as conversions of CLIP_benchmark's
webdatasets have it, numbers are CLIP_benchmark's own.
"""

from typing import Any, NamedTuple

from evals.data.images import Images
from evals.data.labeled import Labeled, LabeledRelease, labelled, prompts_of, required_names
from evals.data.prompts import Listed, names_of, plain
from evals.data.repos import CHECK_COMMIT, Repo, card_of, only_config, repo_of
from evals.data.tables import image_column, label_names, table_of
from evals.schema import ClassPrompts, ConfigError, InvalidError, LabeledImages, Source

# Of several columns the first counts; `fine_label` is that of CIFAR-100, beside `coarse_label`.
IMAGES = ("image", "img", "webp", "jpg", "png", "jpeg")
LABELS = ("label", "cls", "labels", "fine_label")


class _Classes(NamedTuple):
    """The class names, and the class that each label of the file stands for."""

    names: Listed
    class_of_label: list[int]


def load_labeled_parquet(source: Source) -> dict[str, LabeledImages]:
    """The rows of the only config, or the default one, in their order.

    Image ids are the numbers of the rows. ConfigError: the row has images of several classes.
    MissingError: the repo or a file cannot be had. InvalidError: no such column, labels that are no
    numbers, or label names that are not the row's classes.
    """
    prompts = prompts_of(source)
    if prompts.multilabel:
        raise ConfigError(
            f"{source.repo}: images of several classes are read from webdatasets only. "
            "Check `data` of the row."
        )
    repo = repo_of(source)
    config = "default" if "default" in repo.configs else only_config(repo)
    table = table_of(repo, config, source, source.subsets[0])
    column = next((name for name in LABELS if name in table.column_names), None)
    if column is None:
        raise InvalidError(
            f"{repo.name}: no column {', '.join(LABELS)} among {', '.join(table.column_names)}. "
            f"{CHECK_COMMIT}"
        )
    classes = _classes(table, column, repo, prompts)
    rows: list[Labeled] = []
    for number, value in enumerate(table[column].to_pylist()):
        where = f"{repo.name}, row {number}"
        label = _label(value, classes.class_of_label, f"{where}, column {column}")
        rows.append(Labeled(str(number), label, where))
    cells = image_column(table, [row.image for row in rows], repo, IMAGES)

    def images() -> Images:
        names = [f"{repo.name}, image {row.image}" for row in rows]
        return Images(names, lambda index: bytes(cells[index].as_py()))

    origin = {
        "layout": "labeled_parquet",
        "repo": repo.name,
        "revision": repo.commit,
        "split": source.split,
    }
    return labelled(LabeledRelease(rows, classes.names, images, None, origin), source)


def _classes(table: Any, column: str, repo: Repo, prompts: ClassPrompts) -> _Classes:
    # The file itself before the card, which people edit by hand.
    names_of_labels = label_names(table, column, repo.name) or _declared_names(repo, column)
    listed = names_of(None, prompts)
    if names_of_labels is None:
        if column != "cls":
            raise InvalidError(
                f"{repo.name}: nothing says what the numbers in `{column}` mean. "
                "Use a repo with label names."
            )
        return _Classes(required_names(listed, repo.name), list(range(prompts.classes)))
    if listed is None:
        if len(names_of_labels) != prompts.classes:
            raise InvalidError(
                f"{repo.name}: {len(names_of_labels)} label names, where the row has "
                f"{prompts.classes} classes. Check the row."
            )
        names = [name.replace("_", " ") for name in names_of_labels]
        return _Classes(Listed(names, f"names of `{column}`"), list(range(len(names))))
    classnames = [plain(name) for name in listed.values]
    for name in names_of_labels:
        if classnames.count(plain(name)) != 1:
            raise InvalidError(
                f"{repo.name}: the label {name!r} is no class, or two, of {listed.origin}. "
                "Use another repo."
            )
    return _Classes(listed, [classnames.index(plain(name)) for name in names_of_labels])


def _label(value: Any, class_of_label: list[int], where: str) -> int:
    # A float would be NaN where a label is missing, and a truth is no number of a class.
    if type(value) is not int or not 0 <= value < len(class_of_label):
        raise InvalidError(
            f"{where}: {str(value)[:40]!r} is not one of the {len(class_of_label)} labels. "
            f"{CHECK_COMMIT}"
        )
    return class_of_label[value]


def _declared_names(repo: Repo, column: str) -> list[str] | None:
    """The names in the `dataset_info` of the README's head; None: there are none."""
    info = _inside(card_of(repo), "dataset_info")
    for config in info if isinstance(info, list) else [info]:
        features = _inside(config, "features")
        for feature in features if isinstance(features, list) else []:
            if _inside(feature, "name") != column:
                continue
            names = _inside(feature, "dtype", "class_label", "names")
            if isinstance(names, dict) and names:
                return _in_order(names, repo)
    return None


def _in_order(names: dict[Any, Any], repo: Repo) -> list[str]:
    """The names of labels 0, 1, ..."""
    numbered = {int(key): str(name) for key, name in names.items() if str(key).isdecimal()}
    if set(numbered) != set(range(len(names))):
        raise InvalidError(
            f"{repo.name}: the label names of its README are not those of 0 to {len(names) - 1}. "
            f"{CHECK_COMMIT}"
        )
    return [numbered[number] for number in range(len(names))]


def _inside(value: Any, *keys: str) -> Any:
    """The value behind the keys, one inside the other; None where there is no such key."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
