"""A side: texts, images or both that want embedding, with their ids and the hashes of their content."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

# What an item is; `text+image` is both in one, which models of several vectors alone are given.
Kind = Literal["text", "image", "text+image"]
TEXT_IMAGE: Literal["text+image"] = "text+image"
Role = Literal["query", "document"]


@dataclass(frozen=True)
class Side:
    """A list that wants embedding.

    `items` holds str, or images that are decoded when indexed, or dicts of both (TextImages);
    `hashes` the sha256 (hex) of each item's content: the UTF-8 text, or the image file's bytes. `role` picks the instruction of
    encoders that have one, `language` (the name of the subset) the tokenizer of those that have one
    a language.
    """

    kind: Kind
    items: Sequence[Any]
    ids: Sequence[str]
    hashes: Sequence[str]
    role: Role | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        if not len(self.items) == len(self.ids) == len(self.hashes):
            raise ValueError(
                f"{len(self.items)} items, {len(self.ids)} ids and {len(self.hashes)} hashes"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, indices: Sequence[int]) -> "Side":
        """The same side with the items at `indices` only, in that order; images stay undecoded."""
        return replace(
            self,
            # A view: what `--limit` leaves out is never decoded.
            items=Selection(self.items, indices),
            ids=[self.ids[i] for i in indices],
            hashes=[self.hashes[i] for i in indices],
        )


class Selection(Sequence[Any]):
    """A view on some items of a sequence that reads an item only when it is indexed."""

    def __init__(self, items: Sequence[Any], indices: Sequence[int]) -> None:
        self.items, self.indices = items, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        # A slice is a view again: what slices for a batch must not decode it all at once.
        if isinstance(index, slice):
            return Selection(self.items, self.indices[index])
        return self.items[self.indices[index]]
