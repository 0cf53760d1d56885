"""What it costs to embed and keep a benchmark: image tiles, tokens, and bytes of stored vectors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.config.catalog import Benchmark
from evals.config.models import ModelRef
from evals.config.own_data import DataRef
from evals.embeddings.precision import BITS, bytes_per_vector
from evals.encoders.pricing import TILE_SIDE, Version, image_tokens, tiles
from evals.encoders.snapshots import snapshot
from evals.evaluation.load import load_item
from evals.schema import ConfigError, Data, InvalidError, MissingError, Side
from evals.settings import Settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MILLION = 1_000_000
# Texts that are tokenized at once: enough to use all cores, and few enough to keep in memory.
BATCH = 4096


class ImageCost(NamedTuple):
    """All images of a benchmark under one rule of pricing.

    That is the API's for a version of jina-clip, with images as they are or resized as advised.
    """

    rule: str
    images: int
    tiles: int
    tokens: int


class TextCost(NamedTuple):
    """The texts of one subset.

    `tokens` are those of the words, `special` those around each text; None without a tokenizer.
    """

    subset: str
    texts: int
    words: int
    tokens: int | None
    special: int | None

    @property
    def tokens_per_word(self) -> float | None:
        """The post on jina-clip-v1 puts it at 1.1 for English, on average."""
        # Without the special tokens: short texts would have more per word for that alone.
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


def benchmark_cost(
    item: Benchmark | DataRef, settings: Settings, tokenizer: "Tokenizer | None"
) -> Cost:
    """The images and texts of one benchmark, counted.

    Texts in tokens only when there is a tokenizer.
    """
    row, (parts, partial) = load_item(item, settings)
    sides = [side for part in parts.values() for side in part.sides if side.kind == "image"]
    images = image_costs(sizes(sides))
    return Cost(row.name, row.title, partial, images, text_costs(parts, tokenizer))


def sizes(sides: Sequence[Side]) -> Iterator[tuple[int, int]]:
    """Width and height of every distinct image, from its header."""
    from evals.data.images import pixel_size

    # By content: an image that several languages share is sent, and paid for, once.
    seen: set[str] = set()
    for side in sides:
        for index, item in enumerate(side.hashes):
            if item not in seen:
                seen.add(item)
                yield pixel_size(side.items, index)


def image_costs(image_sizes: Iterable[tuple[int, int]]) -> list[ImageCost]:
    """Under v1's and v2's rule as the images are, and under v2's as its post advises."""
    sizes_as_sent = list(image_sizes)
    costs = [_image_cost(version, sizes_as_sent, version) for version in TILE_SIDE]
    side = TILE_SIDE["v2"]
    # The advice: the longest side to 512, padded to a square. So every image is one tile.
    squares = [(side, side)] * len(sizes_as_sent)
    return [*costs, _image_cost(f"v2, resized to {side}x{side}", squares, "v2")]


def _image_cost(rule: str, image_sizes: Sequence[tuple[int, int]], version: Version) -> ImageCost:
    return ImageCost(
        rule,
        images=len(image_sizes),
        tiles=sum(tiles(*size, version) for size in image_sizes),
        tokens=sum(image_tokens(*size, version) for size in image_sizes),
    )


def text_costs(parts: Mapping[str, Data], tokenizer: "Tokenizer | None") -> list[TextCost]:
    """The distinct texts of each subset, uncut and without instruction.

    Words are what whitespace separates.
    """
    costs = []
    for subset, data in parts.items():
        # Distinct, as the store has them: equal captions are embedded once.
        sides = [side for side in data.sides if side.kind == "text"]
        texts = list(dict.fromkeys(text for side in sides for text in side.items))
        words = sum(len(text.split()) for text in texts)
        tokens = special = None
        if tokenizer is not None:
            tokens = _count_tokens(tokenizer, texts)
            special = len(texts) * tokenizer.num_special_tokens_to_add(False)
        costs.append(TextCost(subset, len(texts), words, tokens, special))
    return costs


def _count_tokens(tokenizer: "Tokenizer", texts: Sequence[str]) -> int:
    total = 0
    for start in range(0, len(texts), BATCH):
        encodings = tokenizer.encode_batch_fast(
            texts[start : start + BATCH], add_special_tokens=False
        )
        total += sum(len(encoding.ids) for encoding in encodings)
    return total


def read_tokenizer(ref: ModelRef) -> "Tokenizer":
    """The tokenizer of a jina-clip checkpoint; nothing else of it is read or fetched.

    ConfigError for other models, MissingError when it is not here and cannot be fetched,
    InvalidError when it is broken.
    """
    from tokenizers import Tokenizer

    if ref.encoder != "jina_clip":
        raise ConfigError(
            f"--model {ref.name}: only the tokenizer of a jina-clip model can be counted with. "
            "Leave it out."
        )
    folder = ref.folder or snapshot(
        str(ref.repo),
        ref.revision,
        only=["tokenizer.json"],
        local_way="--model with a local folder that holds tokenizer.json",
    )
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise MissingError(
            f"{file}: no such file. Give the folder of a checkpoint, which holds its tokenizer."
        )
    try:
        tokenizer = Tokenizer.from_file(str(file))
        # a template that names a token which the file lacks is noticed by no reading
        tokenizer.encode("a")
    except (KeyboardInterrupt, SystemExit):
        raise
    # the Rust library raises bare Exception, and where it panics not even that
    except BaseException as error:
        raise InvalidError(f"{file}: not a tokenizer.json ({error}). Copy it again.") from None
    # Some files ask for padding and truncation to 512, and both would falsify the count.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def storage(dims: Sequence[int]) -> list[Storage]:
    """Every dimension at every precision; bits fill whole bytes."""
    return [Storage(dim, name, bytes_per_vector(name, dim)) for dim in dims for name in BITS]
