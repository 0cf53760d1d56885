"""The kinds of data that are measured: what there is to embed, and what belongs together.

Every kind has `sides`, all that is embedded; `counts`; `truth`, what belongs together, as arrays;
`drawn`, the ids of what `--limit` chooses from; and `origin`, where it came from.

Shapes: texts, images, items, pairs, judgements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Bool, Float64, Int

from evals.schema.sides import Side


@dataclass(frozen=True)
class ImageText:
    """Images and their captions: Flickr30k, COCO, XTD, Crossmodal-3600, Scenes.

    `image_of_text[j]` is the index of the image that text j describes; every image has one text or
    more. A caption that describes several images has the others in `also`, as pairs of text and
    image. `origin` tells where the data came from (layout, path or repo, revision) and goes into
    the record.
    """

    images: Side
    texts: Side
    image_of_text: Int[np.ndarray, "texts"]
    origin: Mapping[str, str]
    also: Int[np.ndarray, "more 2"] = field(
        default_factory=lambda: np.zeros((0, 2), dtype=np.int64)
    )

    @property
    def sides(self) -> tuple[Side, ...]:
        """The images, then the texts."""
        return self.images, self.texts

    @property
    def drawn(self) -> Sequence[str]:
        """The ids of the images."""
        return self.images.ids

    @property
    def counts(self) -> dict[str, int]:
        """How much there is, by the names that rows declare it under."""
        return {"images": len(self.images), "texts": len(self.texts)}

    @property
    def truth(self) -> tuple[np.ndarray, ...]:
        """What belongs together, as indices."""
        return self.image_of_text, self.also


@final
@dataclass(frozen=True)
class LabeledImages:
    """Images and the classes they belong to.

    A class is described by its prompts, which are templates with its name put in. `labels` holds
    the class of each image, or for images of several classes a row of truths. `texts` are all
    prompts, class by class, and `class_of_text[j]` is the class that prompt j describes; every
    class has one or more, unless there are none at all (a training split needs no prompts). Two
    classes may have one name, as in ImageNet.
    """

    images: Side
    labels: Int[np.ndarray, "images"] | Bool[np.ndarray, "images classes"]
    classnames: tuple[str, ...]
    texts: Side
    class_of_text: Int[np.ndarray, "texts"]
    origin: Mapping[str, str]

    @property
    def multilabel(self) -> bool:
        """Whether an image may belong to several classes, or to none."""
        return self.labels.ndim == 2

    @property
    def sides(self) -> tuple[Side, ...]:
        """The images, then the texts."""
        return self.images, self.texts

    @property
    def drawn(self) -> Sequence[str]:
        """The ids of the images."""
        return self.images.ids

    @property
    def counts(self) -> dict[str, int]:
        """How much there is, by the names that rows declare it under."""
        return {"images": len(self.images), "classes": len(self.classnames)}

    @property
    def truth(self) -> tuple[np.ndarray, ...]:
        """What belongs together, as indices."""
        return self.labels, self.class_of_text


@final
@dataclass(frozen=True)
class Items:
    """Documents or queries: each has a text, an image, or both.

    `item_of_text[i]` is the item that text i belongs to, and so for images; both ascend, for an
    item has one of each at most.
    """

    ids: Sequence[str]
    texts: Side
    images: Side
    item_of_text: Int[np.ndarray, "texts"]
    item_of_image: Int[np.ndarray, "images"]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sides(self) -> tuple[Side, ...]:
        """The texts and the images, where there are any."""
        # An empty side has no rows, and no encoder is asked for them.
        # An encoder is never asked about no items: an API would be sent an empty request.
        return tuple(side for side in (self.texts, self.images) if len(side))


@final
@dataclass(frozen=True)
class TextRetrieval:
    """Queries, documents, and judgements of which document is relevant to which query: BEIR, TREC.

    A row of `qrels` is a query, a document and its grade, 1 or more; rows are sorted by query and
    document. Every query has a row.
    """

    queries: Items
    docs: Items
    qrels: Int[np.ndarray, "judgements 3"]
    origin: Mapping[str, str]

    @property
    def sides(self) -> tuple[Side, ...]:
        """Those of the queries, then those of the documents."""
        return self.queries.sides + self.docs.sides

    @property
    def drawn(self) -> Sequence[str]:
        """The ids of the queries: of a part of them every document is still searched."""
        return self.queries.ids

    @property
    def counts(self) -> dict[str, int]:
        """How much there is, by the names that rows declare it under."""
        return {
            "queries": len(self.queries),
            "documents": len(self.docs),
            "judgements": len(self.qrels),
        }

    @property
    def truth(self) -> tuple[np.ndarray, ...]:
        """Which texts and images are of which query and document, and what is relevant."""
        queries, docs = self.queries, self.docs
        # Which text is of which document, too: the same texts joined otherwise are other data.
        # A text that moved to another document changes no hash of a side.
        places = queries.item_of_text, queries.item_of_image, docs.item_of_text, docs.item_of_image
        return *places, self.qrels


@final
@dataclass(frozen=True)
class TextPairs:
    """Pairs of sentences with a gold score of how similar they are: STS."""

    first: Side
    second: Side
    gold: Float64[np.ndarray, "pairs"]
    origin: Mapping[str, str]

    @property
    def sides(self) -> tuple[Side, ...]:
        """The first sentences, then the second ones."""
        return self.first, self.second

    @property
    def drawn(self) -> Sequence[str]:
        """The ids of the pairs."""
        return self.first.ids

    @property
    def counts(self) -> dict[str, int]:
        """How much there is, by the names that rows declare it under."""
        return {"pairs": len(self.gold)}

    @property
    def truth(self) -> tuple[np.ndarray, ...]:
        """The gold scores."""
        return (self.gold,)


Data = ImageText | LabeledImages | TextRetrieval | TextPairs
