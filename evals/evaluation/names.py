"""One name, one model: a name that records of other weights carry already is told before anything is measured."""

from collections.abc import Mapping
from pathlib import Path

from evals.records.record import Run, list_runs, read_run
from evals.schema import ConfigError, Encoder, EncoderInfo, InvalidError

PLACES = ("folder", "repo", "spec", "url")  # entries of a source that tell where weights are


def check_name(encoder: Encoder, results: Path, *, chosen: bool) -> str | None:
    """Whether the newest record of this name is of the same model: None, or a warning in words.

    A model whose weights change in their place, as those of a training run do, keeps its name: it
    has a history. Weights from another place are another model: ConfigError, unless the name was
    `chosen` by the user.
    """
    previous = _newest(results, encoder.name)
    weights = encoder.fingerprint.get("weights")
    if previous is None or weights is None:
        return None
    recorded = previous.manifest["encoder"]
    recorded_weights = recorded["fingerprint"].get("weights")
    if recorded_weights in (None, weights):
        return None
    difference = (
        f"{previous.path} is of other weights under the name {encoder.name} "
        f"({str(recorded_weights)[:12]}, now {weights[:12]})"
    )
    here = _place(EncoderInfo.read(encoder).source)
    there = _place(recorded.get("source") or {})
    if here == there or chosen:
        return f"warning: {difference}."
    raise ConfigError(
        f"{difference}: those from {there or 'elsewhere'}, these from {here or 'elsewhere'}. "
        f"Two models need two names: --model NAME={here or 'MODEL'}."
    )


def _newest(results: Path, model: str) -> Run | None:
    """The newest record of the model that can be read.

    A broken one is named by whoever reads its numbers.
    """
    for path in sorted(list_runs(results, model=model), key=lambda path: path.name, reverse=True):
        try:
            return read_run(path)
        except InvalidError:
            continue
    return None


def _place(source: Mapping[str, str | None]) -> str:
    return next((str(source[name]) for name in PLACES if source.get(name)), "")
