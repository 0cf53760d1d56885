"""Tasks of mteb without mteb: which splits and subsets are meant, where their data lies, and what their failures mean."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evals.hub import probe
from evals.schema import ConfigError, EvalError, InvalidError, MissingError

# What tasks raise on data, or on rows, that are not what they expect.
_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def split_name(name: str) -> tuple[str, str | None]:
    """`MSMARCO/dev` as task and split; without a split the task's own are meant."""
    task, _, split = name.partition("/")
    if not task or (split == "" and "/" in name):
        raise ConfigError(f"mteb:{name} names no task. Write mteb:TASK or mteb:TASK/SPLIT.")
    return task, split or None


def choose(task: Any, split: str | None, subsets: Sequence[str] | None) -> None:
    """Limit the task to a split and to some of its subsets; ConfigError for subsets that it does not have."""
    name, known = task.metadata.name, list(task.metadata.hf_subsets)
    if task.is_aggregate and (split or subsets):
        if subsets or [split] != list(task.metadata.eval_splits):
            raise ConfigError(
                f"{name} is a mean of whole tasks: it has no --subsets and no other split than its own."
            )
        return
    if unknown := set(subsets or ()) - set(known):
        raise ConfigError(
            f"{name} has no subset {', '.join(sorted(unknown))}. It has {', '.join(known)}."
        )
    if split:
        task.filter_eval_splits([split])
    if subsets:
        task.hf_subsets = [subset for subset in known if subset in subsets]


def partial_of(task: Any) -> dict[str, Any] | None:
    """The subsets of a task that is measured on some only."""
    whole = task.is_aggregate or set(task.hf_subsets) == set(task.metadata.hf_subsets)
    return None if whole else {"subsets": list(task.hf_subsets)}


def benchmark_key(task: Any) -> str:
    """`mteb.TASK`, with the splits where they are not the task's own, and `.partial` where subsets are missing."""
    splits = list(task.eval_splits)
    other = "" if set(splits) == set(task.metadata.eval_splits) else "." + "+".join(splits)
    return f"mteb.{task.metadata.name}{other}{'.partial' if partial_of(task) else ''}"


@contextmanager
def loaded(task: Any, data: Path | None) -> Iterator[dict[str, str]]:
    """Load the data of a task, from below `data` when given, and drop it at the end; yields where it came from.

    `data` holds repos as the Hub does, `data/mteb/scifact/…`; MissingError when the task's is not there. Data that is loaded
    already is used as it is and kept.
    """
    repo, revision = task.metadata.dataset["path"], task.metadata.dataset["revision"]
    if task.data_loaded:
        yield {"layout": "memory", "repo": repo}
        return
    origin = {"layout": "hub", "repo": repo, "revision": revision}
    try:
        if data is not None:
            folder = data.expanduser().resolve() / repo
            if not folder.is_dir():
                raise MissingError(
                    f"{folder}: no such folder. Put a copy of the data set {repo} there, or leave out --data."
                )
            own = task.metadata.model_copy(deep=True)  # the metadata belongs to the class
            own.dataset["path"] = str(folder)
            task.metadata = own
            origin = {"layout": "folder", "repo": repo, "path": str(folder)}
            with _own_cache(folder):
                task.load_data()
        else:
            # Not from the cache of `datasets`: offline it may leave out the candidates of a reranking task without a word.
            if type(task).__module__.startswith("mteb.tasks.") and (
                reason := probe(repo, revision, kind="dataset")
            ):
                raise MissingError(
                    f"{repo} at {revision} cannot be had: {reason}. Connect to the network, or put a copy below a folder "
                    "given with --data."
                )
            task.load_data()
        yield origin
    finally:
        if task.data_loaded:
            task.unload_data()
        vars(task).pop("metadata", None)


@contextmanager
def _own_cache(folder: Path) -> Iterator[None]:
    """`datasets` keeps what it made of local files and does not notice when they change: another state has another cache."""
    import datasets  # type: ignore[import-untyped]

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    default = datasets.config.HF_DATASETS_CACHE
    key = hashlib.sha256(repr(state).encode()).hexdigest()[:32]
    datasets.config.HF_DATASETS_CACHE = Path(default) / "local_folders" / key
    try:
        yield
    finally:
        datasets.config.HF_DATASETS_CACHE = default


@contextmanager
def replaced(task: Any, methods: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """The task with methods of ours in place of its own."""
    vars(task).update(methods)
    try:
        yield
    finally:
        for name in methods:
            vars(task).pop(name, None)


@contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Every failure names its task: errors of ours keep their kind, no network or files is missing, the rest is invalid."""
    import pyarrow as pa
    from datasets.exceptions import DatasetsError  # type: ignore[import-untyped]
    from huggingface_hub.errors import HfHubHTTPError

    unreachable: tuple[type[BaseException], ...] = (
        HfHubHTTPError.__bases__
    )  # OSError, and the errors of whichever HTTP client the hub uses
    try:
        yield
    except EvalError as error:
        raise type(error)(f"mteb:{name}: {error}") from error
    except unreachable as error:
        raise MissingError(
            f"mteb:{name}: {_told(error)}. Check the network, or put a copy of the data set below a folder given with --data."
        ) from error
    except (DatasetsError, pa.ArrowException, *_BROKEN) as error:
        raise InvalidError(f"mteb:{name}: {_told(error)}.") from error


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().rstrip('.')}"
