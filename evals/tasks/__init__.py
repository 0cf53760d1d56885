"""What is measured from embeddings: one module per kind of task, each a `Task` of scores.py."""

from importlib import import_module
from typing import cast

from evals.schema import AnyEncoder, ConfigError, is_multi_vector
from evals.tasks.scores import Task

# Each is the name of its module.
TASKS = ("image_text", "classification", "fusion", "retrieval", "text_pairs")

# What scores the same data by MaxSim, from several vectors per item.
LATE = {"image_text": "late_captions", "retrieval": "late_retrieval"}


def task_for(name: str, encoder: AnyEncoder) -> Task:
    """The task of that name as it is measured by such a model.

    Raises KeyError for a name that is none, ConfigError for one that MaxSim cannot serve.
    """
    task = task_of(name)
    if not is_multi_vector(encoder):
        return task
    if name not in LATE:
        raise ConfigError(
            f"{encoder.name} gives several vectors per item, which MaxSim compares to rank "
            f"documents; {name} needs one row per item. Choose another model."
        )
    return cast(Task, import_module(f"evals.tasks.{LATE[name]}"))


def task_of(name: str) -> Task:
    """The task of that name. Raises KeyError for one that is none."""
    if name not in TASKS:
        raise KeyError(name)
    # Imported when it is asked for: the modules need numba and torch, this room's names do not.
    return cast(Task, import_module(f"evals.tasks.{name}"))
