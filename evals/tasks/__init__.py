"""What is measured from embeddings: one file with `score` a kind of task."""

from collections.abc import Callable
from typing import Any


def _image_text(*args: Any, **options: Any) -> Any:
    from evals.tasks.image_text import score

    return score(*args, **options)


TASKS: dict[str, Callable[..., Any]] = {"image_text": _image_text}
