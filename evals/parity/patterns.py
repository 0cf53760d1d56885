"""What the pattern of a difference suggests, where no trial and no row explains it.

Trials need a model that can be run in other ways. Where both are behind an API or in a file, the
pattern is all that there is.

These are guesses: each names what it was read from, and none changes a verdict.
"""

from collections.abc import Sequence

from evals.parity.agreement import Agreement
from evals.parity.causes import Cause
from evals.schema import Kind

SAME = 0.9999  # a group whose least cosine is above this is not touched
FAINT = 0.995  # a whole side that is only touched so lightly


def suggestions(groups: Sequence[Agreement], kind: Kind, other_differs: bool) -> list[Cause]:
    """Guesses for one kind of items; `other_differs` tells whether the other kind does, too."""
    by_group = {(group.by, group.group): group for group in groups if group.kind == kind}
    everything = by_group["all", "all"]
    if kind == "image":
        return [_of_images(by_group, everything)]
    # Groups of lengths stand from the shortest to the longest (agreements).
    lengths = [group for (by, _), group in by_group.items() if by == "length"]
    touched = [group.cosine_min < SAME for group in lengths]
    # From some length on, and never below it.
    is_step = touched == sorted(touched) and any(touched) and not all(touched)
    if is_step:
        first = lengths[touched.index(True)].group
        return [_guess(kind, "truncation", f"only texts of {first} characters and more differ")]
    # A tokenizer that lacks a script, or normalises it in another way, spares the other languages.
    languages = [group for (by, _), group in by_group.items() if by == "language"]
    apart = [group.group for group in languages if group.cosine_min < SAME]
    if len(languages) > 2 and 0 < len(apart) <= len(languages) / 2:
        return [_guess(kind, "tokenizer", f"only texts in {', '.join(apart)} differ")]
    if everything.cosine_median > SAME:
        return [_single(everything)]
    # Rounding, fused kernels and an approximate activation all move each item a little.
    if everything.cosine_min > FAINT:
        return [_faint(kind)]
    words = "texts of all lengths and languages differ"
    if not other_differs:
        words += ", and images do not"
    return [_unknown(kind, words, "tokenizer, prompt, pooling and weights")]


def _of_images(by_group: dict[tuple[str, str], Agreement], everything: Agreement) -> Cause:
    # A square of the right size passes through every resize and crop as it is.
    square = by_group.get(("shape", "square"))
    if square is not None and square.cosine_min > SAME:
        return _guess("image", "resize or crop", "images differ unless they are square")
    if everything.cosine_median > SAME:
        return _single(everything)
    if everything.cosine_min > FAINT:
        return _faint("image")
    return _unknown("image", "images of all shapes differ", "pixel values, resize and weights")


def _single(everything: Agreement) -> Cause:
    words = f"fewer than half of the {everything.kind}s differ; most of all {everything.worst}"
    return _guess(everything.kind, "single items", words)


def _faint(kind: Kind) -> Cause:
    words = f"all {kind}s differ, and all of them little"
    return _guess(kind, "precision, kernels or activation", words)


def _unknown(kind: Kind, words: str, places: str) -> Cause:
    """A pattern that any fault of a whole tower leaves, those that were tried in vain included."""
    return _guess(kind, "no known cause", f"{words}; look at {places} first")


def _guess(kind: Kind, cause: str, words: str) -> Cause:
    return Cause(kind, "pattern", cause, words, share=0.0, tried=False)
