"""What a benchmark costs at Jina's API in tokens, by its published rules, and how much room vectors take. No prices: they change.

python -m evals.cost [BENCHMARK...] [--model PATH] [--data DIR] [--dims 1024,256] [--json]
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Options, dims_list
from evals.config.catalog import ModelRef, benchmark, resolve_model
from evals.embeddings.precision import BITS, bytes_per_vector
from evals.encoders.pricing import TILE_SIDE, Version, image_tokens, tiles
from evals.mrl_sweep import DIMS
from evals.run import check, load_parts
from evals.schema import ConfigError, Data, InvalidError, MissingError, Side

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MILLION = 1_000_000
BATCH = 4096  # texts that are tokenized at once
PROBE_SECONDS = 5
app = new_app()


class ImageCost(NamedTuple):
    """All images of a benchmark under one rule: the API's for a version of jina-clip, as they are or resized as advised."""

    rule: str
    images: int
    tiles: int
    tokens: int


class TextCost(NamedTuple):
    """The texts of one subset. `tokens` are those of the words, `special` those around each text; None without a tokenizer."""

    subset: str
    texts: int
    words: int
    tokens: int | None
    special: int | None

    @property
    def tokens_per_word(self) -> float | None:
        """What the post on jina-clip-v1 puts at 1.1 for English, on average."""
        return None if self.tokens is None or not self.words else self.tokens / self.words


class Cost(NamedTuple):
    """What one benchmark costs; `partial` says why it is not the whole of it."""

    benchmark: str
    title: str
    partial: dict[str, Any] | None
    images: list[ImageCost]
    texts: list[TextCost]


class Storage(NamedTuple):
    """Bytes of vectors of one dimension and precision, without an index or a calibration."""

    dim: int
    precision: str
    bytes_per_vector: int

    @property
    def bytes_per_million(self) -> int:
        """Of a million vectors."""
        return MILLION * self.bytes_per_vector


@app.command()
def cost(
    benchmarks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BENCHMARK...", help="Rows of configs/benchmarks.yaml; scenes unless given."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="jina-clip whose tokenizer counts the texts."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Local folder (or annotation file) instead of the Hub.")
    ] = None,
    subsets: Annotated[
        str | None, typer.Option(help="Languages to count, e.g. en,de; all unless given.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many images, by a seeded choice.")
    ] = None,
    allow_subset: Annotated[
        bool, typer.Option("--allow-subset", help="Accept data with fewer items than declared.")
    ] = False,
    dims: Annotated[
        str | None,
        typer.Option(help=f"Dimensions to store; {','.join(map(str, DIMS))} unless given."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Machine output on stdout; messages go to stderr.")
    ] = False,
) -> None:
    """Count image tiles and tokens, words and text tokens, and the bytes of a million vectors."""
    with reported(json=json) as log:
        from evals.views.cost import as_json, print_costs

        given = Options(data=data, subsets=subsets, limit=limit, allow_subset=allow_subset)
        rows = [benchmark(name) for name in dict.fromkeys(benchmarks or ["scenes"])]
        check(rows, [], given)
        stored = storage(dims_list(dims) or DIMS)
        tokenizer = read_tokenizer(resolve_model(model)) if model else None
        found = []
        for row in rows:
            parts, partial = load_parts(row, given)
            images = image_costs(sizes([part.images for part in parts.values()]))
            found.append(Cost(row.name, row.title, partial, images, text_costs(parts, tokenizer)))
        log.output(as_json(found, stored, model)) if json else print_costs(found, stored, model)


def sizes(sides: Sequence[Side]) -> Iterator[tuple[int, int]]:
    """Width and height of every distinct image, from its header: an image that languages share is sent once."""
    from evals.data.images import pixel_size

    seen: set[str] = set()
    for side in sides:
        for index, item in enumerate(side.hashes):
            if item not in seen:
                seen.add(item)
                yield pixel_size(side.items, index)


def image_costs(found: Iterable[tuple[int, int]]) -> list[ImageCost]:
    """Under v1's and v2's rule as the images are; and under v2's as its post advises: longest side to 512, padded to a square."""
    every = list(found)
    costs = [_image_cost(version, every, version) for version in TILE_SIDE]
    side = TILE_SIDE["v2"]
    return [*costs, _image_cost(f"v2, resized to {side}x{side}", [(side, side)] * len(every), "v2")]


def _image_cost(rule: str, every: Sequence[tuple[int, int]], version: Version) -> ImageCost:
    return ImageCost(
        rule,
        len(every),
        sum(tiles(*size, version) for size in every),
        sum(image_tokens(*size, version) for size in every),
    )


def text_costs(parts: Mapping[str, Data], tokenizer: "Tokenizer | None") -> list[TextCost]:
    """The distinct texts of each subset, uncut and without instruction; words are what whitespace separates."""
    costs = []
    for subset, data in parts.items():
        texts = list(dict.fromkeys(data.texts.items))
        tokens = None if tokenizer is None else _count_tokens(tokenizer, texts)
        special = (
            None if tokenizer is None else len(texts) * tokenizer.num_special_tokens_to_add(False)
        )
        costs.append(
            TextCost(subset, len(texts), sum(len(text.split()) for text in texts), tokens, special)
        )
    return costs


def _count_tokens(tokenizer: "Tokenizer", texts: Sequence[str]) -> int:
    batches = (texts[start : start + BATCH] for start in range(0, len(texts), BATCH))
    return sum(
        len(e.ids)
        for batch in batches
        for e in tokenizer.encode_batch_fast(batch, add_special_tokens=False)
    )


def read_tokenizer(ref: ModelRef) -> "Tokenizer":
    """The tokenizer of a jina-clip checkpoint; nothing else of it is read or fetched.

    ConfigError for other models, MissingError when it is not here and cannot be fetched, InvalidError when it is broken.
    """
    from tokenizers import Tokenizer

    if ref.encoder != "jina_clip":
        raise ConfigError(
            f"--model {ref.name}: only the tokenizer of a jina-clip model can be counted with. Leave it out."
        )
    file = ref.folder / "tokenizer.json" if ref.folder else _from_hub(str(ref.repo), ref.revision)
    if not file.is_file():
        raise MissingError(
            f"{file}: no such file. Give the folder of a checkpoint, which holds its tokenizer."
        )
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the Rust library raises bare Exception
        raise InvalidError(f"{file}: not a tokenizer.json ({error}). Copy it again.") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _from_hub(repo: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's

    silent = None
    try:  # one call without retries: hf_hub_download alone asks for 23 s before it believes that there is no network
        HfApi().model_info(repo, revision=revision, timeout=PROBE_SECONDS)
    except (OSError, HTTPError) as error:
        silent = error
    try:
        return Path(
            hf_hub_download(
                repo, "tokenizer.json", revision=revision, local_files_only=silent is not None
            )
        )
    except (OSError, HTTPError) as error:
        why = str(silent or error).strip().splitlines()[0]
        raise MissingError(
            f"{repo}: its tokenizer cannot be fetched ({why}). Give --model a local folder, or leave it out."
        ) from error


def storage(dims: Sequence[int]) -> list[Storage]:
    """Every dimension at every precision; bits fill whole bytes."""
    return [Storage(dim, name, bytes_per_vector(name, dim)) for dim in dims for name in BITS]


if __name__ == "__main__":
    exit_with(app)
