"""Reads the distractors of a run from any source, and leaves out what the benchmark has, too.

`--distractors SOURCE` names images, or images with captions, that are nobody's answer. Images join
the gallery that texts search, captions the one that images search.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from evals.config.catalog import Benchmark
from evals.config.choice import Work, choose_row
from evals.config.own_data import DataRef, data_ref
from evals.evaluation.load import load_item, task_of_work
from evals.schema import ConfigError, ImageText, LabeledImages, Side
from evals.settings import Settings

PICTURES, EMBEDDINGS = "images", "embeddings"
TASKS = ("image_text", "classification")  # of sources that have images


@dataclass(frozen=True)
class Distractors:
    """What a source holds: sides of images, captioned images by subset, or finished rows by kind.

    `source` is as it was written. Rows of a file have no content that could be compared with a
    benchmark's.
    """

    source: str
    images: tuple[Side, ...] = ()
    captioned: Mapping[str, ImageText] = field(default_factory=dict)
    rows: Mapping[str, Float[np.ndarray, "n d"]] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)

    def captions_for(self, subset: str) -> ImageText | None:
        """The captions that join a subset's gallery: those of its language, or of the only one.

        ConfigError when the source has several languages, and not that of the subset.
        """
        if subset in self.captioned or not self.captioned:
            return self.captioned.get(subset)
        if len(self.captioned) > 1:
            raise ConfigError(
                f"--distractors {self.source}: has captions in {', '.join(self.captioned)}, and "
                f"none in {subset}. Name the subsets that both have with --subsets."
            )
        return next(iter(self.captioned.values()))


class Joining(NamedTuple):
    """The distractors that join one gallery, and how many items of the source do not.

    `in_benchmark` counts those with the content of an item of the benchmark, and captions of such
    images; `repeated` those with the content of an item before them. `sides` are what is to be
    embedded, `rows` what is already.
    """

    sides: Sequence[Side]
    rows: Float[np.ndarray, "n d"] | None = None
    in_benchmark: int = 0
    repeated: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """As the record has them."""
        total = sum(map(len, self.sides)) if self.rows is None else len(self.rows)
        return {
            "distractors": total,
            "in_benchmark": self.in_benchmark,
            "repeated": self.repeated,
        }


def check_distractors(source: str, work: Sequence[Work]) -> None:
    """Raises ConfigError, before anything is loaded, for a source or work that cannot be meant."""
    kind, colon, place = source.partition(":")
    if kind not in (PICTURES, EMBEDDINGS):
        if task_of_work(_meaning(source)) not in TASKS:
            raise _without_images(source)
    elif not (colon and place.strip()):
        raise ConfigError(f"--distractors {source}: says no place. Write {kind}:PLACE.")
    for item in work:
        if task_of_work(item) != "image_text":
            raise ConfigError(
                f"--distractors join what images and captions search, and {item.name} is another "
                "task. Leave it out."
            )


def read_distractors(source: str) -> Distractors:
    """Read a source: a row, captions:PLACE, labels:PLACE, images:PLACE or embeddings:FILE.

    ConfigError for data without images; errors of files are those of their readers.
    """
    kind, _, place = source.partition(":")
    if kind == PICTURES:
        from evals.data.pictures import load_pictures

        return Distractors(source, (load_pictures(place),), origin={"path": place})
    if kind == EMBEDDINGS:
        from evals.encoders.embedding_files import stored_rows

        return Distractors(source, rows=stored_rows(place), origin={"path": place})
    item = _meaning(source)
    # Options such as --data and --limit are those of the benchmark that is measured.
    subsets = item.subsets if isinstance(item, Benchmark) else None
    parts = load_item(item, Settings(subsets=subsets)).parts.subsets
    with_images = [data for data in parts.values() if isinstance(data, ImageText | LabeledImages)]
    if not with_images:
        raise _without_images(source)
    # Languages share their images, and a side that is one object is taken once.
    images = {id(data.images): data.images for data in with_images}
    captioned = {name: data for name, data in parts.items() if isinstance(data, ImageText)}
    return Distractors(source, tuple(images.values()), captioned, origin=with_images[0].origin)


def images_joining(distractors: Distractors, benchmark: Set[str]) -> Joining | None:
    """The images that join, none of them among the hashes of the benchmark's; None: there are none."""
    if "image" in distractors.rows:
        return Joining((), distractors.rows["image"])
    if not distractors.images:
        return None
    # One sieve for all sides: subsets may list the same photograph in files of their own.
    sieve = _Sieve(benchmark)
    sides = [sieve.passed(side, set()) for side in distractors.images]
    return Joining(sides, None, sieve.in_benchmark, sieve.repeated)


def captions_joining(
    distractors: Distractors, subset: str, data: ImageText, benchmark: Set[str]
) -> Joining | None:
    """The captions that join the gallery of a subset; `benchmark` are the hashes of its images.

    A caption of such an image is left out, for it may describe an answer. None: there are none.
    """
    if "text" in distractors.rows:
        return Joining((), distractors.rows["text"])
    captioned = distractors.captions_for(subset)
    if captioned is None:
        return None
    answers = {i for i, content in enumerate(captioned.images.hashes) if content in benchmark}
    # A caption may describe several images, one of them an answer.
    pairs = [*enumerate(captioned.image_of_text.tolist()), *captioned.also.tolist()]
    describing = {text for text, image in pairs if image in answers}
    sieve = _Sieve(set(data.texts.hashes))
    side = sieve.passed(captioned.texts, describing)
    return Joining([side], None, sieve.in_benchmark, sieve.repeated)


class _Sieve:
    """Lets each content pass once, and none of the benchmark's."""

    def __init__(self, benchmark: Set[str]) -> None:
        self.benchmark = benchmark
        self.in_benchmark = self.repeated = 0
        self._passed: set[str] = set()

    def passed(self, side: Side, answers: Set[int]) -> Side:
        """What of a side passes; `answers` are places that do not, whatever their content."""
        places = []
        for place, content in enumerate(side.hashes):
            # First: what is both, of the benchmark and repeated, is counted as the benchmark's.
            if content in self.benchmark or place in answers:
                self.in_benchmark += 1
            elif content in self._passed:
                self.repeated += 1
            else:
                self._passed.add(content)
                places.append(place)
        return side.select(places)


def _meaning(source: str) -> Benchmark | DataRef:
    """The row or data of one's own that a source names; ConfigError for anything else."""
    # A name of its own: no record bears that of the folder, which may be called as a row is.
    return data_ref(source, "distractors") or choose_row(source)


def _without_images(source: str) -> ConfigError:
    return ConfigError(
        f"--distractors {source}: has no images. Name captioned or labelled images, images:PLACE or "
        "embeddings:FILE."
    )
