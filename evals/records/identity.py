"""Who was measured on what: the identity of a record's model and data.

A name is no identity: it is a folder's last part, or what somebody chose. Weights have a hash, and
so has data. What must be of one model, or of one data set, is compared by these.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from evals.paths import as_recorded

SHOWN = 12  # hex digits of a hash that people read
SHOWN_BESIDE = 8  # fewer, where a table has little room


@dataclass(frozen=True)
class ModelIdentity:
    """Which model a record measured: where it came from, the hash of its weights, its full width.

    `repo` and `revision` are a Hub repository and its commit, `folder` a local one, `spec` and
    `url` what other encoders load or ask (`URL#MODEL`). Of an adapter that was merged `folder` is
    its own, and `base` the place of the model below it. `weights` is a sha256 in hex, None where
    only the server has the weights. `name` is what the record is called, and proves nothing.
    """

    name: str
    repo: str | None = None
    revision: str | None = None
    folder: str | None = None
    spec: str | None = None
    url: str | None = None
    base: str | None = None
    weights: str | None = None
    width: int | None = None

    @classmethod
    def of(
        cls,
        name: str,
        source: Mapping[str, str | None],
        fingerprint: Mapping[str, str],
        width: int | None = None,
    ) -> "ModelIdentity":
        """The identity that follows from what an encoder says of its source and settings."""
        url = source.get("url")
        return cls(
            name,
            repo=source.get("repo") or None,
            revision=source.get("revision") or None,
            folder=source.get("folder") or None,
            # of an object in a program the class is all that is known of its place
            spec=source.get("spec") or source.get("object") or None,
            url=url + _of_server(source, fingerprint) if url else None,
            base=source.get("base") or None,
            weights=_weights(source, fingerprint),
            width=width,
        )

    @property
    def place(self) -> str:
        """Where the model came from, in words: `org/name@1a2b3c4d5e6f`, a folder, a spec or a URL."""
        if self.repo:
            return f"{self.repo}@{self.revision[:SHOWN]}" if self.revision else self.repo
        if self.base:
            return f"{self.base}+adapter:{self.folder}"
        return self.folder or self.spec or self.url or "an unknown place"

    @property
    def key(self) -> str:
        """What tells models apart: the hash of the weights, or the place where nobody knows one."""
        return f"weights {self.weights}" if self.weights else self.place

    @property
    def brief(self) -> str:
        """The first digits of the hash, or the place: what tells models of one name apart."""
        return self.weights[:SHOWN_BESIDE] if self.weights else self.place

    def same_model(self, model: "ModelIdentity") -> bool:
        """Whether both are one model: of one hash, or of one place where neither has a hash."""
        return self.key == model.key

    def __str__(self) -> str:
        """`mine (/runs/checkpoint-500, weights 1a2b3c4d5e6f, 1024 dimensions)`."""
        weights = f"weights {self.weights[:SHOWN]}" if self.weights else "unknown weights"
        width = f"{self.width} dimensions" if self.width else "an unknown width"
        return f"{self.name} ({self.place}, {weights}, {width})"


def labels(models: Iterable[ModelIdentity]) -> dict[tuple[str, str], str]:
    """What each model is called among the others, by its name and key.

    That is its name, followed by the hash or the place where several models have the name: two
    models must never look like one.
    """
    by_name: dict[str, dict[str, ModelIdentity]] = {}
    for model in models:
        by_name.setdefault(model.name, {})[model.key] = model
    names = {}
    for name, by_key in by_name.items():
        for key, model in by_key.items():
            names[name, key] = f"{name} ({model.brief})" if len(by_key) > 1 else name
    return names


@dataclass(frozen=True)
class DataIdentity:
    """Which data a record measured: the content hash of each subset."""

    contents: Mapping[str, str]

    def unlike(self, data: "DataIdentity") -> list[str]:
        """The subsets that `data` lacks or has with another content."""
        return [
            subset for subset, text in self.contents.items() if data.contents.get(subset) != text
        ]


@dataclass(frozen=True)
class Named:
    """A choice of models by the name that their records carry, or by the folder of the weights."""

    name: str | None = None
    folder: str | None = None

    @classmethod
    def of(cls, text: str) -> "Named":
        """What somebody wrote: the folder when there is one, else a name."""
        folder = Path(text).expanduser()
        return cls(folder=as_recorded(folder)) if folder.is_dir() else cls(name=text)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that such records carry, as far as that is known."""
        return (self.name,) if self.name else ()

    def accepts(self, model: ModelIdentity) -> bool:
        """Whether a record of this model is meant."""
        return model.name == self.name if self.name else model.folder == self.folder

    def __str__(self) -> str:
        return self.name or str(self.folder)


def _of_server(source: Mapping[str, str | None], fingerprint: Mapping[str, str]) -> str:
    """Which model of a server was asked, as `--model` has it: one URL serves several."""
    model, answers = source.get("model"), fingerprint.get("answers")
    return (f"#{model}" if model else "") + (f";answers={answers}" if answers else "")


def _weights(source: Mapping[str, str | None], fingerprint: Mapping[str, str]) -> str | None:
    """The hash of the weights: of the file that a tag led to, else that of the fingerprint."""
    for text in (source.get("sha256"), fingerprint.get("weights")):
        # open_clip's fingerprint says `tag openai` of weights that it has not fetched
        if text and not text.startswith("tag "):
            return text
    return None
