"""The two models and the items of a command line: settings of each model, a part of a benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.config.choice import choose_row
from evals.config.models import resolve_model
from evals.evaluation.load import build_encoder, load_item
from evals.parity.probe import Probe, Runner
from evals.parity.shaped import shaped_sides
from evals.schema import ConfigError, Role
from evals.settings import ENCODER_SETTINGS, Settings
from evals.tasks import task_of

ROLES: Mapping[str, Role | None] = {"query": "query", "document": "document", "none": None}
TRUTHS = {"true": True, "false": False}


def runner_of(spec: str, settings: Sequence[str], role: Role | None = None) -> Runner:
    """The model of a spec, run with settings of its own, `KEY=VALUE` each.

    ConfigError for a setting that there is not, or a value that it cannot have; and what the
    encoder raises.
    """
    # The options of evals.run, but for one of the two models alone.
    values: dict[str, Any] = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or name not in (*ENCODER_SETTINGS, "role"):
            raise ConfigError(
                f"{setting}: write KEY=VALUE with one of {', '.join((*ENCODER_SETTINGS, 'role'))}."
            )
        values[name] = _value(name, value)
    role = values.pop("role", role)
    encoder = build_encoder(resolve_model(spec), replace(Settings(), **values))
    # A server's rows as it sends them: whether it normalises is one of the questions.
    if hasattr(encoder, "keeps_norms"):
        encoder.keeps_norms = True
    label = " ".join([spec, *settings])
    return Runner(label, encoder, role, dict(setting.split("=", 1) for setting in settings))


def _value(name: str, value: str) -> Any:
    """The value of a setting, as its field in `Settings` has it."""
    if name == "role":
        if value not in ROLES:
            raise ConfigError(f"role={value}: use {', '.join(ROLES)}.")
        return ROLES[value]
    default = getattr(Settings(), name)
    if isinstance(default, bool):
        if value not in TRUTHS:
            raise ConfigError(f"{name}={value}: use true or false.")
        return TRUTHS[value]
    if name in ("max_length", "batch_tokens", "batch_images"):
        if not value.isdecimal() or int(value) < 1:
            raise ConfigError(f"{name}={value}: give a whole number of 1 or more.")
        return int(value)
    return value


def probe_of(
    benchmark: str, data: Path | None, subsets: tuple[str, ...] | None, limit: int
) -> Probe:
    """Some items of a benchmark, and the shaped items of the kinds that it has.

    Raises what choosing and loading the benchmark raise.
    """
    item = choose_row(benchmark)
    settings = Settings(data=data, subsets=subsets, limit=limit, allow_subset=data is not None)
    row, parts = load_item(item, settings)
    # A benchmark of texts alone is for models that have no image tower.
    kinds = {
        side.kind for subset in parts.subsets.values() for side in task_of(row.task).sides(subset)
    }
    shaped = {kind: side for kind, side in shaped_sides().items() if kind in kinds}
    return Probe(row.name, row.task, parts.subsets, shaped, parts.partial)
