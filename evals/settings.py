"""How an evaluation is made: where the data is, how the model runs, and where results go."""

from dataclasses import dataclass
from pathlib import Path

from evals.bucket import Location, folder_of, location
from evals.schema import ConfigError

CHOICES = {
    "dtype": ("float32", "bfloat16", "float16", "float8"),
    "attention": ("auto", "sdpa", "triton", "varlen", "flash_attn", "flash_attn_4"),
    "preprocess": ("exact", "fast"),
}
ENCODER_SETTINGS = (
    "device",
    "dtype",
    "attention",
    "preprocess",
    "compile",
    "cuda_graphs",
    "max_length",
    "batch_tokens",
    "batch_images",
)


@dataclass(frozen=True)
class Settings:
    """What a run is given beside its benchmark and model; every field is recorded in the manifest.

    None leaves the choice to the model or the benchmark. `limit` counts images, `max_length` and
    `batch_tokens` tokens, `batch_images` images, `keep_top` documents per query. The command line's
    help says what each field means (evals.cli.options). Raises ConfigError for a value that is none of the known ones.
    """

    data: Path | None = None
    name: str | None = None
    split: str | None = None
    columns: str | None = None
    subsets: tuple[str, ...] | None = None
    limit: int | None = None
    allow_subset: bool = False
    device: str | None = None
    dtype: str | None = None
    max_length: int = 512
    instruction: bool = False
    attention: str = "auto"
    preprocess: str = "exact"
    compile: bool = False
    cuda_graphs: bool = False
    batch_tokens: int | None = None
    batch_images: int | None = None
    keep_top: int | None = None
    keep_embeddings: bool = False
    measures: tuple[str, ...] | None = None
    results: Location = Path("results/runs")
    store: Location = Path("results/store")

    def __post_init__(self) -> None:
        # Frozen as it is: what a text names is settled once.
        object.__setattr__(self, "store", location(self.store))
        object.__setattr__(self, "results", location(self.results))
        # Here and not in the options alone: programs and notebooks make Settings, too.
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise ConfigError(f"--{name} {value}: use {', '.join(choices)}.")

    @property
    def records(self) -> Path:
        """The folder of records: `results`, or the cache of the bucket there."""
        return folder_of(self.results)
