"""Where a benchmark's row is read from: the Hub, or the folder that `--data` names."""

from collections.abc import Sequence
from pathlib import Path

from evals.config.catalog import Benchmark
from evals.schema import CaptionProtocol, ClassPrompts, Source


def source_of(row: Benchmark, subsets: Sequence[str], data: Path | None) -> Source:
    """Where these subsets of a row are read from, and what its captions or classes are."""
    return Source(
        subsets=tuple(subsets),
        split=row.split,
        folder=_folder(row, data) if data else None,
        repo=row.hub.repo if row.hub else None,
        revision=row.hub.revision if row.hub else None,
        protocol=CaptionProtocol(**row.protocol.model_dump()),
        prompts=class_prompts(row),
    )


def _folder(row: Benchmark, data: Path) -> Path:
    # `evals.data prepare --to DIR` makes a folder per benchmark, and DIR serves for all of them.
    inside = data.expanduser() / (row.folder or row.name)
    return inside if inside.is_dir() else data.expanduser()


def class_prompts(row: Benchmark) -> ClassPrompts | None:
    """What the row says of its classes; None for captioned images."""
    classes = row.classes
    if classes is None:
        return None
    return ClassPrompts(
        classes.count,
        classes.names,
        classes.templates,
        classes.wordnet,
        multilabel=row.metric == "mAP",
    )
