"""The scores of an mteb task as entries of the Hub's `.eval_results/*.yaml`.

Source: https://huggingface.co/docs/hub/eval-results; mteb's own names of entries are in
mteb/results/_hf_integration.py.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry

MTEB_URL = "https://github.com/embeddings-benchmark/mteb/"


def task_entries(
    about: Mapping[str, Any],
    values: Mapping[tuple[str, str], float],
    *,
    whole_task: bool,
    date: str,
    notes: str = "",
) -> list["EvalResultEntry"]:
    """An entry per subset and split, in per cent, and one for the whole task where all of it was measured.

    `about` is what a manifest says under `mteb`, `values` the main scores in [0, 1] by subset and
    split, `date` is YYYY-MM-DD, `notes` what is to be said beside mteb's version.
    """
    from huggingface_hub import EvalResultEntry

    name = about["task"]
    version = f"Obtained using MTEB v{about['mteb_version']}"
    tasks = {f"{name}_{subset}_{split}": value for (subset, split), value in values.items()}
    if whole_task and about["splits"] == about["all_splits"]:
        # The Hub's entry for the task as a whole is the plain mean over subsets and splits.
        tasks[name] = fmean(values.values())
    return [
        EvalResultEntry(
            dataset_id=about["dataset"],
            dataset_revision=about["revision"],
            task_id=task_id,
            value=in_per_cent(value),
            date=date,
            source_url=MTEB_URL,
            source_name=version,
            notes=f"{version}; {notes}" if notes else version,
        )
        for task_id, value in tasks.items()
    ]


def in_per_cent(value: float) -> float:
    """A fraction as the Hub shows it, to five decimals: as many as mteb's leaderboard keeps."""
    return round(value * 100, 5)


def as_yaml(entries: Sequence["EvalResultEntry"]) -> bytes:
    """The file of some entries."""
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml

    content = eval_result_entries_to_yaml(list(entries))
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()
