"""What faulty servers do to the tokens of texts before a model sees them: padding, special tokens, cuts.

A change takes the tokens of texts, special ones included, and gives others; `pad` is the id of padding.
"""

from collections.abc import Callable

from jina_clip.packing import Ids

Change = Callable[[list[Ids]], list[list[int]]]
# How many of the first and of the last special token a text gets, in place of one each.
SPECIAL: dict[str, tuple[tuple[int, int], str]] = {
    "no_special": ((0, 0), "without the special tokens"),
    "no_first": ((0, 1), "without the special token at the beginning"),
    "no_last": ((1, 0), "without the special token at the end"),
    "first_twice": ((2, 1), "with the special token at the beginning twice"),
    "last_twice": ((1, 2), "with the special token at the end twice"),
    "special_twice": ((2, 2), "with both special tokens twice"),
}


def padded_to(length: int, pad: int) -> Change:
    """All at least this long, and no mask."""

    def change(ids: list[Ids]) -> list[list[int]]:
        return [[*text, *[pad] * (length - len(text))] for text in ids]

    return change


def padded_to_longest(pad: int, *, on_left: bool = False) -> Change:
    """All as long as the longest, and no mask."""

    def change(ids: list[Ids]) -> list[list[int]]:
        longest = max(map(len, ids))
        padding = [[pad] * (longest - len(text)) for text in ids]
        if on_left:
            return [[*pads, *text] for pads, text in zip(padding, ids, strict=True)]
        return [[*text, *pads] for pads, text in zip(padding, ids, strict=True)]

    return change


def left_under_right_mask(pad: int) -> Change:
    """A mask that lets through as many first places as the text has tokens: pads, and its beginning."""
    to_longest = padded_to_longest(pad, on_left=True)

    def change(ids: list[Ids]) -> list[list[int]]:
        return [row[: len(text)] for row, text in zip(to_longest(ids), ids, strict=True)]

    return change


def cut_hard(limit: int) -> Change:
    """The first tokens alone: a longer text loses its special token at the end."""

    def change(ids: list[Ids]) -> list[list[int]]:
        return [list(text[:limit]) for text in ids]

    return change


def cut_at_beginning(limit: int) -> Change:
    """The last tokens of a longer text, after its special token at the beginning."""

    def change(ids: list[Ids]) -> list[list[int]]:
        changed = []
        for text in map(list, ids):
            removed = max(len(text) - limit, 0)
            changed.append(text[:1] + text[1 + removed :])
        return changed

    return change


def with_special(special: tuple[int, int]) -> Change:
    """Each text with so many of its first and of its last special token."""
    first, last = special

    def change(ids: list[Ids]) -> list[list[int]]:
        changed = []
        for text in map(list, ids):
            tokens = text[:1] * first + text[1:-1] + text[-1:] * last
            # A text without tokens has no row.
            changed.append(tokens or text)
        return changed

    return change
