"""One name, one model: refuses a name that records of another model carry already."""

from pathlib import Path

from evals.records.identity import SHOWN, ModelIdentity
from evals.records.places import read_placed
from evals.records.record import Run, list_runs
from evals.schema import ConfigError, Encoder, EncoderInfo, InvalidError


def check_name(encoder: Encoder, results: Path, *, chosen: bool) -> str | None:
    """Whether the newest record of this name is of the same model: None, or a warning in words.

    A model whose weights change in their place, as those of a training run do, keeps its name: it
    has a history. Weights from another place are another model, and so is another model of a
    server: ConfigError, unless the name was `chosen` by the user.
    """
    previous = _newest(results, encoder.name)
    if previous is None:
        return None
    here, there = _identity(encoder), previous.manifest.model_identity
    if _are_one(here, there):
        return None
    difference = (
        f"{previous.path} is of another model under the name {encoder.name} "
        f"({_brief(there)}, now {_brief(here)})"
    )
    # From the same place, as the next checkpoint of a training run: history, and worth a word.
    if here.place == there.place or chosen:
        return f"warning: {difference}."
    spec = here.place if here.folder or here.repo else "MODEL"
    raise ConfigError(
        f"{difference}: that from {there.place}, this from {here.place}. "
        f"Two models need two names: --model NAME={spec}."
    )


def _identity(encoder: Encoder) -> ModelIdentity:
    """Who the encoder is before it is loaded; its width may cost a request, and tells nothing."""
    return ModelIdentity.of(encoder.name, EncoderInfo.read(encoder).source, encoder.fingerprint)


def _are_one(here: ModelIdentity, there: ModelIdentity) -> bool:
    """By weights where both are known, else by place."""
    # Of a server they never are, and of open_clip's tags only once the file was downloaded.
    if here.weights and there.weights:
        return here.weights == there.weights
    return here.place == there.place


def _brief(model: ModelIdentity) -> str:
    return model.weights[:SHOWN] if model.weights else model.place


def _newest(results: Path, model: str) -> Run | None:
    """The newest record of the model that can be read and lies in its place.

    A broken one is named by whoever reads its numbers.
    """
    for path in sorted(list_runs(results, model=model), key=lambda path: path.name, reverse=True):
        try:
            return read_placed(path)
        # To look for a name is no reason to fail on an old record.
        except InvalidError:
            continue
    return None
