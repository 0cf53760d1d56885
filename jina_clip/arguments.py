"""What callers hand to encode_text and encode_image, checked, and what they get back."""

import logging
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, SupportsIndex

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from jina_clip.config import ClipConfig
from jina_clip.images import shown

log = logging.getLogger("jina_clip")
Form = Literal["array", "tensor", "list"]
Rows = (
    Float[np.ndarray, "n d"]
    | Float[np.ndarray, " d"]
    | Float[Tensor, "n d"]
    | Float[Tensor, " d"]
    | list[Float[Tensor, " d"]]
)


class Items(NamedTuple):
    """Texts or images by position. `single`: the caller passed one alone, and gets one vector."""

    values: Sequence[Any]
    single: bool


def text_items(sentences: object) -> Items:
    """The texts of a call. ValueError names the first that is no text, is empty or no Unicode."""
    # All of them are looked at before the first is embedded: an error after an hour helps nobody.
    if isinstance(sentences, str):
        items = Items([sentences], single=True)
    else:
        items = Items(list(_by_position(sentences, "sentences")), single=False)
    for index, text in enumerate(items.values):
        if not isinstance(text, str):
            raise ValueError(f"text {index} is {shown(text)}, not a str")
        if not text:  # most often a missing value that became one on its way
            raise ValueError(f"text {index} is empty. Leave it out")
        if not text.isascii():
            _check_unicode(text, index)
    return items


def image_items(images: object) -> Items:
    """The images of a call. They are checked when read: a sequence may decode when indexed."""
    if isinstance(images, str | Path | Image.Image):
        return Items([images], single=True)
    return Items(_by_position(images, "images"), single=False)


def whole(value: SupportsIndex, argument: str) -> int:
    """A whole number, also one of numpy's; ValueError for anything else, True and False among it."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise ValueError(f"{argument} must be a whole number, not {value!r}")
    return operator.index(value)


def chosen_dim(config: ClipConfig, truncate_dim: SupportsIndex | None) -> int:
    """How many values of a row are kept: those asked for, else config.json's, else all.

    ValueError for a dimension that the model does not have, a warning for one that it was not
    trained for.
    """
    # Upstream slices beyond the width without a word, and takes 0 for no truncation.
    dim = config.truncate_dim or config.dim
    if truncate_dim is not None:
        dim = whole(truncate_dim, "truncate_dim")
    if not 1 <= dim <= config.dim:
        raise ValueError(f"truncate_dim must be between 1 and {config.dim}, not {dim}")
    if dim != config.dim and dim not in config.matryoshka_dimensions:
        trained = ", ".join(map(str, config.matryoshka_dimensions)) or f"{config.dim} only"
        warnings.warn(f"{dim} dimensions: this checkpoint was trained for {trained}", stacklevel=3)
    return dim


def chosen_batch(batch_size: SupportsIndex | None) -> int | None:
    """The most items of a pass, or None; ValueError when it would hold nothing."""
    size = None if batch_size is None else whole(batch_size, "batch_size")
    if size is not None and size < 1:
        raise ValueError(f"batch_size must be at least 1, not {size}")
    return size


def chosen_form(*, to_numpy: bool, to_tensor: bool) -> Form:
    """What the official flags ask for: a tensor wins, and neither is a list of tensors."""
    if to_tensor:
        return "tensor"
    return "array" if to_numpy else "list"


def finished(rows: Float[Tensor, "n d"], items: Items, *, normalize: bool, form: Form) -> Rows:
    """The rows on the host, normalised if wanted; of a single item the only one."""
    rows = (F.normalize(rows, dim=1) if normalize else rows).cpu().contiguous()
    if form == "list":
        return rows[0] if items.single else list(rows)
    values = rows[0] if items.single else rows
    return values.numpy() if form == "array" else values


@contextmanager
def at_position(index: int) -> Iterator[None]:
    """What is wrong with an image, with its place among the images."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"image {index}: {error}") from error
    except OSError as error:
        raise type(error)(f"image {index}: {error}") from error


@contextmanager
def progress(total: int, visible: bool | None) -> Iterator[Callable[[int], object]]:
    """A bar that counts what is finished; None shows it when the log is at INFO."""
    on = visible if visible is not None else log.isEnabledFor(logging.INFO)
    with tqdm(total=total, disable=not on, desc="encoding") as bar:
        yield bar.update


def _by_position(values: object, argument: str) -> Sequence[Any]:
    """What callers pass as many items, so that `[i]` gives the i-th one.

    A pandas Series finds by label and is listed; so is an array. ValueError for what has no order,
    no end or no items.
    """
    # Arrays, Series, DataFrames and tensors say how many dimensions they have.
    dimensions = getattr(values, "ndim", 1)
    if dimensions != 1:
        raise ValueError(f"{argument} has {dimensions} dimensions. Pass a list of items")
    kind = type(values).__name__
    if isinstance(values, bytes | bytearray | Mapping | Set):
        raise ValueError(f"{argument} is a {kind}, not a list. Pass list(…) of it")
    if isinstance(values, Sequence):  # not copied: it may decode an image whenever it is indexed
        return values
    if isinstance(values, Iterable) and isinstance(values, Sized):
        return list(values)
    raise ValueError(f"{argument} is a {kind}, not an item or a list of items. Pass list(…) of it")


def _check_unicode(text: str, index: int) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"text {index} cannot be written as UTF-8: {error.reason}") from None
