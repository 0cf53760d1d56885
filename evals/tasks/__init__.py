"""What is measured from embeddings: one module per kind of task, each a `Task` of scores.py."""

from importlib import import_module
from typing import cast

from evals.tasks.scores import Task

# Each is the name of its module.
TASKS = ("image_text", "classification", "fusion", "retrieval", "text_pairs")


def task_of(name: str) -> Task:
    """The task of that name. Raises KeyError for one that is none."""
    if name not in TASKS:
        raise KeyError(name)
    # Imported when it is asked for: the modules need numba and torch, this room's names do not.
    return cast(Task, import_module(f"evals.tasks.{name}"))
