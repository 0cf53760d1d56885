"""Checks an answer of an embeddings API as a whole: one row per input, in the order of the inputs.

Shapes: n rows, d dimensions.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float


class Answer(NamedTuple):
    """The rows as the server gives them, and its model and tokens if it tells them."""

    rows: Float[np.ndarray, "n d"]
    model: str | None
    tokens: int | None


def read_answer(answer: Any, count: int) -> Answer:
    """The answer to `count` inputs. Its rows may come in any order, as their `index` says.

    ValueError says what is wrong with it.
    """
    entries = _entries(answer, count)
    vectors = _in_order(entries)
    rows = _matrix(vectors)
    model, usage = answer.get("model"), answer.get("usage")
    return Answer(rows, model if isinstance(model, str) else None, _tokens(usage))


def _entries(answer: Any, count: int) -> list[dict[str, Any]]:
    entries = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("no list `data` of objects")
    # A row short, and every later text would get its neighbour's row.
    if len(entries) != count:
        raise ValueError(f"{len(entries)} embeddings for {count} inputs")
    return entries


def _in_order(entries: list[dict[str, Any]]) -> list[Any]:
    vectors: dict[int, Any] = {}
    for entry in entries:
        index = entry.get("index")
        if type(index) is int:  # True is an int, too
            vectors[index] = entry.get("embedding")
    places = range(len(entries))
    if vectors.keys() != set(places):
        raise ValueError(f"embeddings whose `index` is not 0 to {places.stop - 1}, each once")
    return [vectors[place] for place in places]


def _matrix(vectors: list[Any]) -> Float[np.ndarray, "n d"]:
    for vector in vectors:
        if not isinstance(vector, list) or not vector or not {*map(type, vector)} <= {int, float}:
            raise ValueError("an `embedding` that is no list of numbers")
    # numpy would refuse ragged lists, too, without saying which widths there are.
    widths = sorted({len(vector) for vector in vectors})
    if len(widths) > 1:
        raise ValueError(f"embeddings of several widths ({', '.join(map(str, widths))})")
    rows = np.array(vectors, np.float64)
    # rows are stored in float32; NaN fails this comparison, too
    if not (np.abs(rows) <= np.finfo(np.float32).max).all():
        raise ValueError("numbers that are not finite")
    return rows


def _tokens(usage: Any) -> int | None:
    """Jina's `total_tokens`, or OpenAI's `prompt_tokens` where there is no total."""
    if not isinstance(usage, dict):
        return None
    tokens = usage.get("total_tokens", usage.get("prompt_tokens"))
    return tokens if type(tokens) is int else None
