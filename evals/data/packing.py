"""The images of all subsets of a benchmark, each once, and the files that they are packed into."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from evals.data.filenames import place_for
from evals.data.images import Images, verify
from evals.data.manifest import File, Progress
from evals.schema import ImageText, Selection

# Images between two reports of progress.
AT_ONCE = 256


class Image(NamedTuple):
    """An image to pack.

    `file` is relative to the folder, `name` is what its line of captions says, `place` its index
    among the images of the source.
    """

    file: str
    name: str
    place: int
    content: File


def images_of(parts: Mapping[str, ImageText]) -> Images:
    """The images of all subsets, each once, in the order of `_ids`."""
    first: dict[str, tuple[Images, int]] = {}
    for data in parts.values():
        for number, name in enumerate(data.images.ids):
            items: Any = data.images.items
            index = number
            # Subsets with fewer images are views on the side of all.
            while isinstance(items, Selection):
                items, index = items.items, items.indices[index]
            first.setdefault(name, (items, index))
    places = [first[name] for name in _ids(parts)]

    def read(place: int) -> bytes:
        items, index = places[place]
        return items.stored(index)

    return Images([items.names[index] for items, index in places], read)


def check_images(images: Images, progress: Progress) -> None:
    """Decode each image once; InvalidError for the first that cannot be."""
    with progress("check images") as report:
        for start in range(0, len(images), AT_ONCE):
            indices = range(start, min(start + AT_ONCE, len(images)))
            verify(images, indices)
            report(indices.stop, len(images))


def plan_images(
    parts: Mapping[str, ImageText], source_images: Images, progress: Progress
) -> dict[str, Image]:
    """Where each image goes, by its id."""
    images: dict[str, Image] = {}
    used = set[str]()
    with progress("plan images") as report:
        for place, (name, content) in enumerate(_ids(parts).items()):
            data = source_images.stored(place)
            file, line = place_for(name, data, used)
            images[name] = Image(file, line, place, File(sha256=content, bytes=len(data)))
            report(place + 1, len(source_images))
    return images


def _ids(parts: Mapping[str, ImageText]) -> dict[str, str]:
    """The content hash of every image by its id."""
    hashes: dict[str, str] = {}
    for data in parts.values():
        hashes.update(zip(data.images.ids, data.images.hashes, strict=True))
    return hashes
