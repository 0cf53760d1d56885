"""Preprocessing equals the official pipeline on PIL."""

import json
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from jina_clip import CheckpointError, Preprocess
from jina_clip.preprocess import PREPROCESS_MODES
from tests.conftest import SHARED, needs_shared


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(noise, "RGBA" if mode in ("RGBA", "P", "LA") else None).convert(mode)


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth shades, one hard edge and a little noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    values = np.asarray(coarse, dtype=np.float32) + rng.normal(scale=5, size=(height, width, 3))
    values[height // 3 : height // 2, width // 4 : width // 2] = 255
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


SIZES = [(64, 64), (100, 64), (64, 131), (641, 480), (33, 500), (20, 20), (300, 299)]


@pytest.mark.parametrize("size", SIZES)
def test_pixels_equal_torchvision_to_the_bit(size):
    from torchvision import transforms

    image = picture(*size)
    how = Preprocess(size=64)
    official = transforms.Compose(
        [
            transforms.Resize(64, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(64),
            transforms.ToTensor(),
            transforms.Normalize(how.mean, how.std),
        ]
    )
    assert torch.equal(how(image), official(image))


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA", "CMYK"])
def test_images_become_rgb_before_they_are_resized(mode):
    image = picture(90, 70, mode)
    how = Preprocess(size=32)
    assert torch.equal(how(image), how(image.convert("RGB")))


@pytest.mark.parametrize("mode", PREPROCESS_MODES)
def test_squash_and_longest_modes(mode):
    image = Image.new("RGB", (80, 40), (255, 0, 0))
    squashed = Preprocess(size=32, resize_mode="squash").pixels(image, mode)
    assert torch.equal(squashed[0], torch.full((32, 32), 255, dtype=torch.uint8))
    letterbox = Preprocess(size=32, resize_mode="longest", fill_color=51).pixels(image, mode)
    assert torch.equal(letterbox[0, 8:24], torch.full((16, 32), 255, dtype=torch.uint8))
    assert letterbox[:, :8].unique().tolist() == letterbox[:, 24:].unique().tolist() == [51]


def test_the_odd_pixel_of_padding_is_right_and_below():
    wide = Preprocess(size=8, resize_mode="longest", fill_color=9).pixels(Image.new("RGB", (8, 5)))
    assert wide[0, :, 0].tolist() == [9, 0, 0, 0, 0, 0, 9, 9]
    tall = Preprocess(size=8, resize_mode="longest", fill_color=9).pixels(Image.new("RGB", (5, 8)))
    assert tall[0, 0].tolist() == [9, 0, 0, 0, 0, 0, 9, 9]


def test_a_single_image_is_its_pixels_normalised():
    how, image = Preprocess(size=64), picture(90, 70)
    values = how.pixels(image).to(torch.float32) / 255
    mean, std = (torch.tensor(of)[:, None, None] for of in (how.mean, how.std))
    assert torch.equal(how(image), (values - mean) / std)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_batch_is_normalised_as_its_images_are(layout):
    """All 256 values of every channel, in both layouts; the uint8 batch stays what it was."""
    how = Preprocess(size=16)
    images = [
        torch.arange(256).roll(i).to(torch.uint8).view(1, 16, 16).expand(3, 16, 16)
        for i in range(3)
    ]
    batch = torch.stack(images).contiguous(memory_format=layout)
    before = batch.clone()
    values = how.normalize(batch)
    mean, std = (torch.tensor(of)[:, None, None] for of in (how.mean, how.std))
    assert torch.equal(
        values, torch.stack([(image.to(torch.float32) / 255 - mean) / std for image in images])
    )
    assert values.is_contiguous() and torch.equal(batch, before)


@pytest.mark.gpu
def test_a_device_normalises_to_the_same_bits():
    how, batch = (
        Preprocess(size=16),
        torch.arange(256).to(torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16),
    )
    assert torch.equal(how.normalize(batch.to("cuda")).cpu(), how.normalize(batch))


@pytest.mark.parametrize("mode", PREPROCESS_MODES)
def test_pixels_keep_no_larger_image_alive(mode):
    """A panorama is cut to a square; a batch that waits must not hold the rest of it."""
    pixels = Preprocess(size=32).pixels(picture(2000, 100), mode)
    assert pixels.shape == (3, 32, 32) and pixels.permute(1, 2, 0).is_contiguous()
    assert pixels.untyped_storage().nbytes() == 3 * 32 * 32


@pytest.mark.parametrize("mode", PREPROCESS_MODES)
def test_the_image_stays_what_it_was(mode):
    image = picture(32, 32)
    before = image.tobytes()
    Preprocess(size=32).pixels(image, mode).zero_()
    assert image.tobytes() == before


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="preprocess mode 'quick' is not one of exact, fast"):
        Preprocess(size=8).pixels(picture(9, 9), "quick")


@pytest.mark.parametrize("resize_mode", ["shortest", "longest"])
@pytest.mark.parametrize("size", [(640, 480), (300, 420), (1700, 2200), (90, 60)])
def test_fast_stays_within_two_of_exact_on_photos(size, resize_mode):
    """Each of the two passes may round a value otherwise by one; the second carries on the first's."""
    how = Preprocess(size=224, resize_mode=resize_mode)
    exact, fast = (how.pixels(photo(*size), mode).int() for mode in PREPROCESS_MODES)
    assert (exact - fast).abs().max() <= 2
    assert (exact != fast).double().mean() < 0.01


@pytest.mark.parametrize("size", [(640, 480), (300, 420), (100, 900)])
def test_fast_resizes_the_width_first_whatever_the_shape(size):
    """Pillow 13 begins with the height where that is less work, which changes exact values by more than rounding."""
    image = photo(*size)
    fast = Preprocess(size=224, resize_mode="squash").pixels(image, "fast").permute(1, 2, 0).numpy()
    passes = image.resize((224, size[1]), Image.Resampling.BICUBIC).resize(
        (224, 224), Image.Resampling.BICUBIC
    )
    assert np.abs(np.asarray(passes).astype(int) - fast).max() <= 2


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", SIZES)
def test_fast_equals_torchvision_on_uint8(size, interpolation):
    from torchvision.transforms import InterpolationMode, v2

    image = picture(*size)
    resize = v2.Resize(64, InterpolationMode(interpolation), antialias=True)
    oracle = v2.Compose([v2.PILToTensor(), resize, v2.CenterCrop(64)])
    assert torch.equal(
        Preprocess(size=64, interpolation=interpolation).pixels(image, "fast"), oracle(image)
    )


def test_without_a_resize_both_modes_are_the_image():
    image = picture(40, 32)
    exact, fast = (Preprocess(size=32).pixels(image, mode) for mode in PREPROCESS_MODES)
    assert torch.equal(exact, fast)
    assert torch.equal(exact.permute(1, 2, 0), torch.from_numpy(np.array(image)[:, 4:36]))


def test_a_file_still_to_be_decoded_gives_the_same_pixels():
    buffer = BytesIO()
    picture(20, 10).save(buffer, "PNG")
    how, lazy = Preprocess(size=8), Image.open(BytesIO(buffer.getvalue()))
    assert torch.equal(how.pixels(lazy), how.pixels(Image.open(buffer).convert("RGB")))


def test_preprocessor_config_round_trips():
    official = {
        "size": 512,
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
        "resize_mode": "shortest",
        "interpolation": "bicubic",
        "fill_color": 0,
        "image_processor_type": "JinaCLIPImageProcessor",
    }
    assert Preprocess.from_dict(official).to_dict() == official
    assert Preprocess.from_dict({"size": [8, 8]}) == Preprocess(size=8)
    whole = Preprocess.from_dict({"size": 8, "mean": [0, 0, 0], "std": [1, 1, 1]})
    assert repr(whole.mean + whole.std) == "(0.0, 0.0, 0.0, 1.0, 1.0, 1.0)"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": [0, 0, 0]}, "size must be one integer, not None"),
        ({"size": [8, 9]}, "size must be one integer"),
        ({"size": True}, "size must be one integer"),
        ({"size": {"shortest_edge": 8}}, "size must be one integer"),
        ({"size": 8, "resize_mode": "stretch"}, "resize_mode 'stretch' is not known"),
        ({"size": 8, "interpolation": "lanczos"}, "interpolation 'lanczos' is not known"),
        ({"size": 8, "mean": 0.5}, "mean 0.5 and std .* must be three numbers each"),
        ({"size": 8, "std": ["1", "1", "1"]}, "must be three numbers each"),
        ({"size": 8, "std": [1, 1, 0]}, "must be three numbers each"),
        ({"size": 8, "std": [1, 1, 10**400]}, "must be three numbers each"),
        ({"size": 8, "fill_color": [0, 0, 0]}, r"fill_color \[0, 0, 0\] is not from 0 to 255"),
        (
            {"size": 8, "image_mean": [0, 0, 0], "do_resize": True},
            "do_resize, image_mean not known",
        ),
    ],
)
def test_settings_of_another_image_processor_are_refused_by_key(settings, message):
    """transformers' CLIPImageProcessor says image_mean and resample, and this pipeline would take CLIP's values instead."""
    with pytest.raises(CheckpointError, match=f"preprocessor_config.json: .*{message}"):
        Preprocess.from_dict(settings)


@pytest.mark.parametrize("size", [(1, 65_000), (65_000, 1), (3, 60_000)])
@pytest.mark.parametrize("mode", PREPROCESS_MODES)
def test_a_strip_that_would_fill_the_memory_is_refused(size, mode):
    """Its short side becomes 512 pixels, and its long one 33 million."""
    with pytest.raises(ValueError, match="after the resize, and more than 50,000,000 are refused"):
        Preprocess(size=512).pixels(Image.new("RGB", size), mode)


def test_a_panorama_is_no_strip():
    assert Preprocess(size=64).pixels(Image.new("RGB", (6400, 64))).shape == (3, 64, 64)
    assert Preprocess(size=64, resize_mode="squash").pixels(Image.new("RGB", (1, 9000))).any() == 0


@needs_shared
def test_pixels_equal_the_published_ones():
    """Values printed from a run of the official v2 processor on a 2400x1824 RGBA picture."""
    gold = json.loads((SHARED / "gold" / "gold.json").read_text())["jina-clip-v2"][
        "xiaoke_openvino_notebook"
    ]
    pixels = Preprocess(size=512)(Image.open(SHARED / "gold" / "images" / "image.png"))
    corner = gold["pixel_values_corner"]
    for channel, letter in enumerate("RGB"):
        assert pixels[channel, 0, :3].tolist() == pytest.approx(
            corner[f"{letter}_row0_first3"], abs=1e-4
        )
        assert pixels[channel, 0, -3:].tolist() == pytest.approx(
            corner[f"{letter}_row0_last3"], abs=1e-4
        )
    assert pixels[0, -1, :3].tolist() == pytest.approx(corner["R_lastrow_first3"], abs=1e-4)
