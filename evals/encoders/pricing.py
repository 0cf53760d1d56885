"""What an image costs at Jina's API: whole tiles that cover it, each at a fixed number of tokens.

Sources: the release posts of jina-clip-v1 (https://jina.ai/news/jina-clip-v1-a-truly-multimodal-embeddings-model-for-text-and-image)
and jina-clip-v2 (https://jina.ai/news/jina-clip-v2-multilingual-multimodal-embeddings-for-text-and-images). Of texts they say
nothing exact: only the server counts those.
"""

from typing import Literal

Version = Literal["v1", "v2"]
TILE_SIDE: dict[Version, int] = {"v1": 224, "v2": 512}  # pixels
TILE_TOKENS: dict[Version, int] = {"v1": 1_000, "v2": 4_000}


def version_of(model: str) -> Version | None:
    """The version of jina-clip that a model's name means; None for other models, whose price is not published here."""
    return next((version for version in TILE_SIDE if model == f"jina-clip-{version}"), None)


def tiles(width: int, height: int, version: Version) -> int:
    """Tiles that cover an image of that many pixels, partial ones included. ValueError for an image without pixels."""
    if width < 1 or height < 1:
        raise ValueError(f"an image of {width}x{height} pixels has no tiles")
    side = TILE_SIDE[version]
    return -(-width // side) * -(-height // side)


def image_tokens(width: int, height: int, version: Version) -> int:
    """Tokens that the API charges for an image of that many pixels: v1 750x500 is 12,000, v2 720x720 is 16,000."""
    return tiles(width, height, version) * TILE_TOKENS[version]
