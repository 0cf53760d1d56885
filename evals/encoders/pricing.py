"""What an image costs at Jina's API: whole tiles that cover it, each at a fixed number of tokens.

Sources are the release posts of the two models. Of texts they say nothing exact: only the server
counts those.

https://jina.ai/news/jina-clip-v1-a-truly-multimodal-embeddings-model-for-text-and-image
https://jina.ai/news/jina-clip-v2-multilingual-multimodal-embeddings-for-text-and-images
"""

from typing import Literal

Version = Literal["v1", "v2"]
TILE_SIDE: dict[Version, int] = {"v1": 224, "v2": 512}  # pixels
TILE_TOKENS: dict[Version, int] = {"v1": 1_000, "v2": 4_000}


def version_of(model: str) -> Version | None:
    """The version of jina-clip that a model's name means; None for models without such a price."""
    return next((version for version in TILE_SIDE if model == f"jina-clip-{version}"), None)


def tiles(width: int, height: int, version: Version) -> int:
    """Tiles that cover an image, partial ones included. ValueError for one without pixels."""
    if width < 1 or height < 1:
        raise ValueError(f"an image of {width}x{height} pixels has no tiles")
    side = TILE_SIDE[version]
    # Both rounded up: a tile that is touched is paid for.
    return -(-width // side) * -(-height // side)


def image_tokens(width: int, height: int, version: Version) -> int:
    """Tokens that the API charges for an image: for 750x500 pixels v1 charges 12,000."""
    return tiles(width, height, version) * TILE_TOKENS[version]
