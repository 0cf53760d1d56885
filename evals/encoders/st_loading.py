"""Loads a sentence-transformers model whole or not at all, and without the log of its libraries."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from evals.encoders.st_folder import COPY_AGAIN, FOREIGN_CODE, first_line, gives_several
from evals.schema import ConfigError, InvalidError, MissingError

# What the library raises on a folder that is not the model it says it is.
BROKEN = (
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)


def load_whole(folder: Path, *, device: str, dtype: torch.dtype) -> Any:
    """The SentenceTransformer or MultiVectorEncoder of a folder, in that dtype, with every weight from its files.

    MissingError: a library that it needs is not installed. ConfigError: it needs code of its own.
    InvalidError: it cannot be loaded, or lacks weights.
    """
    with _loading_reports() as reports:
        model = _load(folder, device=device, dtype=dtype)
    missing = {name for report in reports for name in report["missing_keys"]}
    # BERT checkpoints often come without their pooler, and most models pool tokens themselves.
    if not _uses_pooler(model):
        missing = {name for name in missing if "pooler." not in name}
    if missing:
        raise InvalidError(
            f"{folder}: the checkpoint lacks {min(missing)} "
            f"({len(missing)} weights are missing). {COPY_AGAIN}"
        )
    # models without a transformer do not heed the dtype they are loaded with
    return model if model.dtype in (None, dtype) else model.to(dtype)


def _load(folder: Path, *, device: str, dtype: torch.dtype) -> Any:
    import sentence_transformers as library

    several = gives_several(folder)
    loader = library.MultiVectorEncoder if several else library.SentenceTransformer
    try:
        # transformers 5 takes the checkpoint's dtype by default: half precision on a CPU, too
        return loader(
            str(folder), device=device, local_files_only=True, model_kwargs={"dtype": dtype}
        )
    except torch.OutOfMemoryError:
        raise
    except ImportError as error:
        raise MissingError(f"{folder}: {first_line(error)}. Install it.") from error
    except BROKEN as error:
        if "trust_remote_code" in str(error):
            raise ConfigError(f"{folder}: its architecture {FOREIGN_CODE}") from error
        raise InvalidError(
            f"{folder}: sentence-transformers cannot load it: {first_line(error)}. {COPY_AGAIN}"
        ) from error


@contextmanager
def _loading_reports() -> Iterator[list[dict[str, Any]]]:
    """What transformers reports of the models that it loads meanwhile, and nothing of it in its log.

    It makes up missing weights at random and only logs their names. The report that it returns on
    request is the same whatever the user has silenced.
    """
    from transformers import PreTrainedModel
    from transformers.utils import logging

    original = PreTrainedModel.__dict__["from_pretrained"]
    reports: list[dict[str, Any]] = []

    def load_and_report(cls: Any, *args: Any, **options: Any) -> Any:
        # Not the log: users turn it off, and its words change with each release.
        options["output_loading_info"] = True
        model, report = original.__func__(cls, *args, **options)
        reports.append(report)
        return model

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    PreTrainedModel.from_pretrained = classmethod(load_and_report)  # type: ignore[assignment]
    try:
        yield reports
    finally:
        PreTrainedModel.from_pretrained = original  # type: ignore[method-assign]
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _uses_pooler(model: Any) -> bool:
    """Whether rows come from the pooler of a transformer, and not from the library's own pooling."""
    outputs: set[str | None] = set()
    for module in model.modules():
        if hasattr(module, "modality_config"):
            outputs |= {way["method_output_name"] for way in module.modality_config.values()}
    return "pooler_output" in outputs
