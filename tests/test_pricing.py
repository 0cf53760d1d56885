"""Images cost whole tiles, as the release posts of both models say."""

import pytest

from evals.encoders import pricing


@pytest.mark.parametrize(
    "width, height, version, tiles, tokens",
    [
        (512, 512, "v2", 1, 4_000),
        (513, 512, "v2", 2, 8_000),
        (720, 720, "v2", 4, 16_000),
        (1080, 1080, "v2", 9, 36_000),
        (1, 1, "v2", 1, 4_000),
        (750, 500, "v1", 12, 12_000),
        (224, 224, "v1", 1, 1_000),
    ],
)
def test_images_cost_whole_tiles(width, height, version, tiles, tokens):
    assert pricing.tiles(width, height, version) == tiles
    assert pricing.image_tokens(width, height, version) == tokens


def test_only_jina_clip_has_a_published_price_and_an_image_has_pixels():
    assert [pricing.version_of(model) for model in ("jina-clip-v1", "jina-clip-v2", "bge-m3")] == [
        "v1",
        "v2",
        None,
    ]
    with pytest.raises(ValueError, match="0x5 pixels has no tiles"):
        pricing.tiles(0, 5, "v2")
