"""Decides which records are of a published model: by commit or weights, never by a name.

A published row counts for the checkpoint that was published, which configs/published/models.yaml
names by a row of configs/models.yaml. Another model can stand in, and then a footnote says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated

from pydantic import Field, model_validator

from evals.config.models import ModelRow
from evals.config.models import models as catalog
from evals.config.rows import Count, Row, Text, nearest, read_rows
from evals.paths import configs
from evals.records.identity import ModelIdentity
from evals.report.names import Sha256
from evals.report.published_csv import slug
from evals.schema import ConfigError


class Model(Row):
    """A published model: the row of configs/models.yaml that it is, or why it is not run.

    `width` is the full width of its embeddings, `weights` the hashes of its weights where they are
    known.
    """

    name: str
    model: Text | None = None
    width: Count | None = None
    weights: Annotated[tuple[Sha256, ...], Field(strict=False)] = ()
    not_run: Text | None = None

    @model_validator(mode="after")
    def _run_or_not(self) -> "Model":
        if (self.model is None) == (self.not_run is None):
            raise ValueError("needs either `model` or `not_run`")
        if (self.model is None) != (self.width is None):
            raise ValueError("needs a `width` beside `model`, and only there")
        return self


@dataclass(frozen=True)
class Pinned:
    """The published checkpoint: a repository at a commit or a spec, or the very same weights.

    `names` are those that its records usually carry, the published one first.
    """

    names: tuple[str, ...]
    width: int
    repo: str | None = None
    revision: str | None = None
    spec: str | None = None
    weights: frozenset[str] = frozenset()

    def accepts(self, model: ModelIdentity) -> bool:
        """Whether a record is of this checkpoint, at its full width."""
        # Cut to fewer dimensions before they were stored, rows of the same weights are other rows.
        return model.width == self.width and (
            self.is_source(model) or model.weights in self.weights
        )

    def is_source(self, model: ModelIdentity) -> bool:
        """Whether a record's weights came from the published place."""
        if self.repo:
            # At that commit: a repo's main branch may hold other weights than those that were
            # published.
            return (model.repo, model.revision) == (self.repo, self.revision)
        # Rivals have no commit; open_clip's registry ties ARCH/TAG to one file.
        return self.spec is not None and model.spec == self.spec


@dataclass(frozen=True)
class StandIn:
    """One checkpoint that counts in the place of a published one."""

    checkpoint: ModelIdentity

    @property
    def names(self) -> tuple[str, ...]:
        """The name that its records carry."""
        return (self.checkpoint.name,)

    def accepts(self, model: ModelIdentity) -> bool:
        """Whether a record is of this checkpoint, whatever else carries its name."""
        return model.width == self.checkpoint.width and model.same_model(self.checkpoint)


@dataclass(frozen=True)
class AnyNamed:
    """All models whose records carry one of these names."""

    names: tuple[str, ...]

    def accepts(self, model: ModelIdentity) -> bool:
        """Whether a record carries one of the names."""
        return model.name in self.names


@cache
def models() -> dict[str, Model]:
    """Published models by key. ConfigError for one that names no row of configs/models.yaml."""
    return read_rows(configs() / "published" / "models.yaml", Model)


def model_of(name: str) -> Model:
    """The row of a published model. ConfigError when there is none."""
    key = slug(name)
    if key not in models():
        raise ConfigError(
            f"configs/published/models.yaml has no row {key!r}.{nearest(key, models())} "
            "Add one, or correct configs/tables."
        )
    return models()[key]


@cache
def pinned(model: Model) -> Pinned | None:
    """The checkpoint of a published model, None when it is not run.

    ConfigError when its row names no row of configs/models.yaml.
    """
    if model.model is None or model.width is None:
        return None
    rows = _catalog()
    if model.model not in rows:
        raise ConfigError(
            f"configs/published/models.yaml, row {model.name}: configs/models.yaml has no row "
            f"{model.model!r}.{nearest(model.model, rows)}"
        )
    row = rows[model.model]
    # evals.run calls records after the row, or after the Hub id
    hub_names = (row.repo.replace("/", "--"),) if row.repo else ()
    names = tuple(dict.fromkeys((model.name, row.name, *hub_names)))
    weights = frozenset(model.weights)
    return Pinned(names, model.width, row.repo, row.revision, row.spec, weights)


@cache
def _catalog() -> dict[str, ModelRow]:
    return catalog()


def runnable() -> dict[str, Pinned]:
    """The checkpoints of all published models that can be run, by published key."""
    checkpoints = {name: pinned(model) for name, model in models().items()}
    return {name: checkpoint for name, checkpoint in checkpoints.items() if checkpoint}


def is_published(model: ModelIdentity) -> bool:
    """Whether a record is of the published checkpoint whose name it carries, at its full width."""
    checkpoints = [pinned for pinned in runnable().values() if model.name in pinned.names]
    return any(checkpoint.accepts(model) for checkpoint in checkpoints)


def stand_ins(arguments: Sequence[str]) -> dict[str, str]:
    """What each `--as MODEL=NEW` says; NEW is the name of records or the folder of a checkpoint.

    ConfigError when a part of it is missing.
    """
    names = {}
    for argument in arguments:
        model, _, name = argument.partition("=")
        if not model or not name:
            raise ConfigError(
                f"--as {argument}: write MODEL=NEW, as in jina-clip-v2=my-checkpoint."
            )
        names[model] = name
    return names


def check_stand_ins(names: Mapping[str, str]) -> None:
    """ConfigError for a model of `--as` that the tables do not have."""
    there = [name for checkpoint in runnable().values() for name in checkpoint.names]
    for model in names:
        if model not in there:
            raise ConfigError(
                f"--as {model}=…: the tables have no model {model!r} that can be run."
                f"{nearest(model, dict.fromkeys(there))} They have {', '.join(runnable())}."
            )


def stand_in_of(checkpoint: Pinned, names: Mapping[str, str]) -> str | None:
    """Who stands in for a published checkpoint, as `--as` has it."""
    return next((names[name] for name in checkpoint.names if name in names), None)
