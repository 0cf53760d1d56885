"""Tasks of mteb without mteb: which splits are meant, where data lies, what failures mean."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evals.hub import probe
from evals.records.manifest import PARTIAL
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
    """`MSMARCO/dev` as task and split; without a split (None) the task's own are meant.

    Raises ConfigError for a name without a task, or with a slash and no split.
    """
    task, slash, split = name.partition("/")
    if not task or (slash and not split):
        raise ConfigError(f"mteb:{name} names no task. Write mteb:TASK or mteb:TASK/SPLIT.")
    return task, split or None


def choose(task: Any, split: str | None, subsets: Sequence[str] | None) -> None:
    """Limit the task to a split and to some of its subsets.

    Raises ConfigError for subsets that it does not have.
    """
    name = task.metadata.name
    task_subsets = list(task.metadata.hf_subsets)
    if task.is_aggregate:
        other_split = split is not None and [split] != list(task.metadata.eval_splits)
        if subsets or other_split:
            raise ConfigError(
                f"{name} is a mean of whole tasks: it has no --subsets and no other split than "
                "its own."
            )
        return
    unknown = set(subsets or ()) - set(task_subsets)
    if unknown:
        raise ConfigError(
            f"{name} has no subset {', '.join(sorted(unknown))}. It has {', '.join(task_subsets)}."
        )
    if split:
        task.filter_eval_splits([split])
    # In the order of the task, whatever that of the command line: the record is the same then.
    if subsets:
        task.hf_subsets = [subset for subset in task_subsets if subset in subsets]


def partial_of(task: Any) -> dict[str, Any] | None:
    """The subsets of a task that is measured on some only; None for a whole task."""
    if task.is_aggregate or set(task.hf_subsets) == set(task.metadata.hf_subsets):
        return None
    return {"subsets": list(task.hf_subsets)}


def benchmark_key(task: Any) -> str:
    """`mteb.TASK`, with `.SPLITS` where they are not its own, `.partial` where subsets lack."""
    key = f"mteb.{task.metadata.name}"
    splits = list(task.eval_splits)
    if set(splits) != set(task.metadata.eval_splits):
        # A key of its own: the newest record of a benchmark must be of the splits that its papers
        # have.
        key += "." + "+".join(splits)
    return key + PARTIAL if partial_of(task) else key


@contextmanager
def loaded(task: Any, data: Path | None) -> Iterator[dict[str, str]]:
    """Load the data of a task and drop it at the end; yields where it came from.

    `data` is a folder that holds repos as the Hub does, `data/mteb/scifact/…`; without it they
    come from the Hub. Data that is loaded already is used as it is. Raises MissingError when the
    task's repo is in neither.
    """
    repo, revision = task.metadata.dataset["path"], task.metadata.dataset["revision"]
    if task.data_loaded:
        yield {"layout": "memory", "repo": repo}
        return
    try:
        if data is None:
            _load_from_hub(task, repo, revision)
            yield {"layout": "hub", "repo": repo, "revision": revision}
        else:
            folder = _load_from_folder(task, repo, data)
            yield {"layout": "folder", "repo": repo, "path": str(folder)}
    finally:
        # The next task of a suite needs the memory.
        if task.data_loaded:
            task.unload_data()
        vars(task).pop("metadata", None)


@contextmanager
def replaced(task: Any, methods: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """The task with methods of ours in place of its own."""
    # On the object, which hides those of its class; the class serves other models too.
    vars(task).update(methods)
    try:
        yield
    finally:
        for name in methods:
            vars(task).pop(name, None)


@contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Every failure names its task, and has a kind.

    Errors of ours keep theirs, no network or files is MissingError, and the rest InvalidError.
    """
    import pyarrow as pa
    from datasets.exceptions import DatasetsError  # type: ignore[import-untyped]
    from huggingface_hub.errors import HfHubHTTPError

    # OSError, and the errors of whichever HTTP client huggingface_hub uses in this version.
    unreachable: tuple[type[BaseException], ...] = HfHubHTTPError.__bases__
    try:
        yield
    except EvalError as error:
        raise type(error)(f"mteb:{name}: {error}") from error
    except unreachable as error:
        raise MissingError(
            f"mteb:{name}: {_described(error)}. Check the network, or put a copy of the data set "
            "below a folder given with --data."
        ) from error
    except (DatasetsError, pa.ArrowException, *_BROKEN) as error:
        raise InvalidError(f"mteb:{name}: {_described(error)}.") from error


def _load_from_hub(task: Any, repo: str, revision: str) -> None:
    # A toy task of a test has no repo.
    if type(task).__module__.startswith("mteb.tasks."):
        # Offline `datasets` answers from its cache, which may lack the candidates of a reranking
        # task without a word: so the Hub is asked first.
        reason = probe(repo, revision, kind="dataset")
        if reason:
            raise MissingError(
                f"{repo} at {revision} cannot be had: {reason}. Connect to the network, or put a "
                "copy below a folder given with --data."
            )
    task.load_data()


def _load_from_folder(task: Any, repo: str, data: Path) -> Path:
    """Load the repo's copy below `data` and return its folder."""
    folder = data.expanduser().resolve() / repo
    if not folder.is_dir():
        raise MissingError(
            f"{folder}: no such folder. Put a copy of the data set {repo} there, or leave out "
            "--data."
        )
    metadata = task.metadata.model_copy(deep=True)  # the task's belongs to its class
    metadata.dataset["path"] = str(folder)
    task.metadata = metadata
    with _cache_of(folder):
        task.load_data()
    return folder


@contextmanager
def _cache_of(folder: Path) -> Iterator[None]:
    """A cache for the present state of a folder.

    `datasets` keeps what it made of local files and does not notice when they change.
    """
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


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().rstrip('.')}"
