"""Models in a program's memory, as encoders: objects with encode methods, or finished rows."""

import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from evals.schema import ConfigError, InvalidError, Role, Side

NUMBERS = "fiu"  # numpy's kinds of real numbers: strings would be parsed, and truths are no rows
BATCH = 256  # items that an object gets at once; it may split them as it likes


class ObjectEncoder:
    """An object with `encode_text` and `encode_image`, or with `encode`, as an encoder.

    Each takes a list, of texts or of images. Rows come back as an array or a tensor of shape (n, d),
    float of any width. Queries and documents that are told apart (`Side.role`) are texts for
    `encode_query` and `encode_document`. `weights` says which weights the object has: a string that
    changes with them, or a function of the object that gives one; None where nobody knows, and then
    its rows must not be kept. A torch module in training mode is evaluated in evaluation mode and
    put back. Raises ConfigError for an object without these methods, and for a
    sentence-transformers model that is made for another similarity than the cosine.
    """

    def __init__(
        self, model: Any, *, name: str, weights: str | Callable[[Any], str] | None
    ) -> None:
        self._methods = {kind: _method(model, kind) for kind in ("text", "image")}
        self.model, self.name = model, name
        identity = weights(model) if callable(weights) else weights
        # What the caller's word for the weights need not know of: where and how they are run.
        self.fingerprint: Mapping[str, str] = {
            **({} if identity is None else {"weights": identity}),
            "object": f"{type(model).__module__}.{type(model).__qualname__}",
            **_module_entries(model),
            "image.pillow": importlib.metadata.version("pillow"),
        }
        self.source = {"object": self.fingerprint["object"], "similarity": _similarity(model, name)}
        # An object does not say how wide its rows are: one text tells.
        self.dim = self._rows("text", ["a photo"]).shape[1]

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        """One row per item, float32.

        InvalidError when the object gives another number of rows, ConfigError for a role of texts
        that it has no method for: the record would say that an instruction was given.
        """
        parts = [
            self._rows(side.kind, list(side.items[start : start + BATCH]), side.role)
            for start in range(0, len(side), BATCH)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def _method_of(self, kind: str, role: Role | None) -> Callable[[list[Any]], Any]:
        if role is None or kind == "image":
            return self._methods[kind]
        method = getattr(self.model, f"encode_{role}", None)
        if not callable(method):
            raise ConfigError(
                f"{self.name} has no encode_{role}, so it cannot give a {role} an instruction. "
                "Leave instruction=True out, or give the model encode_query and encode_document."
            )
        encode: Callable[[list[Any]], Any] = method
        return encode

    def _rows(
        self, kind: str, items: list[Any], role: Role | None = None
    ) -> Float[np.ndarray, "n d"]:
        method = self._method_of(kind, role)
        # Dropout would make other rows each time. `is True`: a mock or a proxy may answer anything.
        was_training = getattr(self.model, "training", False) is True
        # Part by part: train() would also wake the parts that their owner has frozen.
        modes = [(part, part.training) for part in self.model.modules()] if was_training else []
        if was_training:
            self.model.eval()
        try:
            rows = self._array(method(items))
        finally:
            for part, training in modes:
                part.training = training
        if rows.ndim != 2 or len(rows) != len(items):
            raise InvalidError(
                f"{self.name}: gave rows of shape {rows.shape} for {len(items)} {kind}s, "
                f"not ({len(items)}, d)."
            )
        return rows

    def _array(self, rows: Any) -> Float[np.ndarray, "..."]:
        """What the object gave, on the CPU and in float32."""
        if hasattr(rows, "detach"):  # a tensor; torch is imported by whoever made it
            rows = rows.detach().float().cpu().numpy()
        try:
            return numbers(rows)
        except (TypeError, ValueError) as error:
            kind = type(rows).__name__
            raise InvalidError(
                f"{self.name}: gave no rows of numbers but {kind}: {error}."
            ) from error


class ArrayEncoder:
    """Rows that are there already, by the ids of the items, as an encoder: it looks them up.

    `rows` maps "image" and "text" to float arrays of shape (n, d), `ids` to the id of each row;
    `source` says where they came from.
    """

    def __init__(
        self,
        rows: Mapping[str, np.ndarray],
        ids: Mapping[str, Sequence[str]],
        *,
        name: str,
        source: Mapping[str, str | None] | None = None,
    ) -> None:
        for kind, array in rows.items():
            if array.ndim != 2 or array.dtype.kind not in NUMBERS:
                raise InvalidError(
                    f"{name}: the rows of {kind}s are {array.dtype} of shape {array.shape}. Give "
                    "numbers of shape (n, d)."
                )
        # Images and texts are compared with each other, and so must be of one width.
        widths = {array.shape[1] for array in rows.values()}
        if len(widths) != 1:
            raise InvalidError(f"{name}: images and texts have rows of {sorted(widths)} values.")
        self.name, self.dim, self.source = name, widths.pop(), dict(source or {})
        digest = hashlib.sha256()
        self._rows: dict[tuple[str, str], np.ndarray] = {}
        for kind, array in rows.items():
            # where the rows of images end is a part of it
            digest.update(f"{kind} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array, np.float32).tobytes())
            self._rows |= {(kind, item): row for item, row in zip(ids[kind], array, strict=True)}
        self.fingerprint: Mapping[str, str] = {"weights": digest.hexdigest(), "object": "rows"}

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        """The rows of the items, float32; InvalidError names an item without one."""
        missing = [item for item in side.ids if (side.kind, item) not in self._rows]
        if missing:
            shown = ", ".join(map(repr, missing[:3]))
            raise InvalidError(
                f"{self.name}: {len(missing):,} of {len(side):,} {side.kind}s have no row: {shown}. "
                "`python -m evals.items` lists the ids."
            )
        rows = [self._rows[side.kind, item] for item in side.ids]
        return np.array(rows, np.float32).reshape(len(side), self.dim)

    def knows(self, sides: Sequence[Side]) -> bool:
        """Whether there is a row for every item of these sides."""
        return all((side.kind, item) in self._rows for side in sides for item in side.ids)

    def check(self, side: Side) -> None:
        """Whether equal items have equal rows, because only one row per content is kept.

        InvalidError names two items for which it is not so: which of the rows counts would depend
        on the order.
        """
        first: dict[str, str] = {}
        for item, content in zip(side.ids, side.hashes, strict=True):
            twin = first.setdefault(content, item)
            if twin == item:
                continue  # NaN differs from itself, and has an error of its own
            row, twin_row = (self._rows.get((side.kind, name)) for name in (item, twin))
            if row is not None and twin_row is not None and not np.array_equal(row, twin_row):
                raise InvalidError(
                    f"{self.name}: the {side.kind}s {twin!r} and {item!r} are equal, and their rows "
                    "are not. Give both the same row."
                )


def numbers(rows: Any) -> Float[np.ndarray, "..."]:
    """Rows as float32. TypeError for what is no real number: of complex ones half would be lost."""
    array = np.asarray(rows)
    if array.dtype.kind not in NUMBERS:
        # a list of tensors, say, of which numpy makes objects
        array = np.asarray([np.asarray(row) for row in rows])
    if array.dtype.kind not in NUMBERS:
        raise TypeError(f"they are {array.dtype}")
    return array.astype(np.float32)


def weights_hash(module: Any) -> str:
    """A sha256 (hex) over a torch module's `state_dict`: names, dtypes, shapes and values.

    It tells the weights apart, not the code around them: a change of the tokenizer or of the
    preprocessing needs another string. Raises ConfigError for an object without `state_dict`.
    """
    if not hasattr(module, "state_dict"):
        raise ConfigError(
            f"{type(module).__name__} has no state_dict to hash. "
            "Give weights= a string that changes with its weights."
        )
    import torch

    digest = hashlib.sha256()
    # Sorted: the order of registration is no part of the weights.
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        # As bytes: numpy has no bfloat16.
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _module_entries(model: Any) -> dict[str, str]:
    """Where a torch module computes, and in which dtypes; nothing of other objects is known."""
    parameters = getattr(model, "parameters", None)
    tensors = list(parameters()) if callable(parameters) and hasattr(model, "state_dict") else []
    if not tensors:
        return {}
    import torch

    from evals.encoders.devices import rounding

    device = tensors[0].device
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors}
    return {
        "dtype": ",".join(sorted(dtypes)),
        "device": device.type,
        "torch": torch.__version__,
        **rounding(str(device)),
    }


def _method(model: Any, kind: str) -> Callable[[list[Any]], Any]:
    for name in (f"encode_{kind}", "encode"):
        method = getattr(model, name, None)
        if callable(method):
            encode: Callable[[list[Any]], Any] = method
            return encode
    raise ConfigError(
        f"{type(model).__name__} has neither encode_{kind} nor encode. Give a name, a folder, "
        "an evals.Encoder, or an object with encode_text and encode_image."
    )


def _similarity(model: Any, name: str) -> str:
    """The cosine; ConfigError for a sentence-transformers model that is made for another one."""
    similarity: str = getattr(model, "similarity_fn_name", None) or "cosine"
    if similarity != "cosine":
        raise ConfigError(
            f"{name} is made to be compared by {similarity}, and rows are compared by cosine here. "
            'To measure it by cosine all the same, set its similarity_fn_name = "cosine".'
        )
    return similarity
