"""The benchmarks that can be named on a command line: benchmarks.yaml and classification.yaml.

Models have their own file, evals.config.models, and so have suites, evals.config.suites.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from evals.config.local import with_local_rows
from evals.config.rows import ROW_NAME, Count, Revision, Row, Text, nearest, read_rows
from evals.paths import configs
from evals.schema import ConfigError

Subset = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


# Twice listed, a language would count twice in every mean over languages.
def _distinct(subsets: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(subsets)) < len(subsets):
        raise ValueError("a subset is listed twice")
    return subsets


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
    folder: Annotated[str, Field(pattern=rf"^{ROW_NAME.pattern}$")] | None = None
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
        # Counts are what a copy of the data is checked against: none may be left open.
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


BENCHMARKS = ("benchmarks.yaml", "classification.yaml")


def benchmarks(path: Path | None = None) -> dict[str, Benchmark]:
    """All rows of one file, or of the files of configs/ that hold benchmarks, by their names.

    The latter include those of configs/local. ConfigError when a name comes twice. A folder of
    configs without classification.yaml has no such rows.
    """
    files = [path] if path else _benchmark_files()
    all_rows: dict[str, Benchmark] = {}
    file_of: dict[str, Path] = {}
    for file in files:
        rows = read_rows(file, Benchmark)
        twice = all_rows.keys() & rows.keys()
        if twice:
            raise ConfigError(
                f"{file}, row {min(twice)}: there is one of that name in {files[0].name}. "
                "Rename one of them."
            )
        all_rows |= rows
        file_of |= dict.fromkeys(rows, file)
    if path:
        return all_rows
    return with_local_rows(all_rows, file_of, Benchmark, models=False)


def _benchmark_files() -> list[Path]:
    # Whoever brings configs of their own need not bring 37 data sets of classes.
    captioned, *labelled = (configs() / name for name in BENCHMARKS)
    return [captioned, *(file for file in labelled if file.is_file())]


def benchmark(name: str, path: Path | None = None) -> Benchmark:
    """The row `name` of the benchmarks; ConfigError with the nearest names when there is none."""
    rows = benchmarks(path)
    if name not in rows:
        raise ConfigError(
            f"No benchmark {name!r}.{nearest(name, rows)} `python -m evals.run --list` shows all."
        )
    return rows[name]
