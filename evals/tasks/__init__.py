"""What is measured from embeddings: one module a kind of task, with `sides` and `score` as in evals.tasks.scores.Task."""

from importlib import import_module
from typing import cast

from evals.tasks.scores import Task

TASKS = ("image_text", "classification", "fusion")  # each is the name of its module


def task_of(name: str) -> Task:
    """The task of that name."""
    if name not in TASKS:
        raise KeyError(name)
    return cast(Task, import_module(f"evals.tasks.{name}"))
