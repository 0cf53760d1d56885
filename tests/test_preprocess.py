"""Preprocessing equals the official pipeline on PIL, and token ids equal the reference tokenizers'."""

import base64
import gzip
import http.server
import json
import threading
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from jina_clip import CheckpointError, Preprocess
from jina_clip.preprocess import batches_by_length, read_image, token_batch, tokenize
from tests.conftest import SHARED, needs_shared, word_tokenizer


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(noise, "RGBA" if mode in ("RGBA", "P", "LA") else None).convert(mode)


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


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA", "CMYK", "I;16"])
def test_images_become_rgb_before_they_are_resized(mode):
    image = picture(90, 70, "L").convert("I;16") if mode == "I;16" else picture(90, 70, mode)
    how = Preprocess(size=32)
    assert torch.equal(how(image), how(image.convert("RGB")))


def test_squash_and_longest_modes():
    image = Image.new("RGB", (80, 40), (255, 0, 0))
    squashed = Preprocess(size=32, mean=(0.0,) * 3, std=(1.0,) * 3, resize_mode="squash")(image)
    assert torch.equal(squashed[0], torch.ones(32, 32))
    letterbox = Preprocess(size=32, mean=(0.0,) * 3, std=(1.0,) * 3, resize_mode="longest", fill_color=51)(image)
    assert torch.equal(letterbox[0, 8:24], torch.ones(16, 32))
    assert torch.allclose(letterbox[:, :8], torch.tensor(0.2)) and torch.allclose(letterbox[:, 24:], torch.tensor(0.2))


def test_preprocessor_config_round_trips(tmp_path):
    official = {
        "size": 512,
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
        "resize_mode": "shortest",
        "interpolation": "bicubic",
        "fill_color": 0,
        "image_processor_type": "JinaCLIPImageProcessor",
    }
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(official))
    assert Preprocess.from_file(path).to_dict() == official


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "preprocessor_config.json: Expecting"),
        ('{"mean": [0,0,0]}', "size must be one integer"),
        ('{"size": 8, "resize_mode": "stretch"}', "resize_mode 'stretch' is not known"),
        ('{"size": 8, "interpolation": "lanczos"}', "interpolation 'lanczos' is not known"),
    ],
)
def test_a_preprocessor_config_of_another_kind_is_refused(tmp_path, content, message):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=message):
        Preprocess.from_file(path)


@pytest.fixture
def served_png():
    """A PNG behind a URL on loopback, and its bytes."""
    buffer = BytesIO()
    picture(20, 10).save(buffer, "PNG")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/cat.png" else 404)
            self.end_headers()
            self.wfile.write(buffer.getvalue() if self.path == "/cat.png" else b"")

        def log_message(self, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", buffer.getvalue()
        server.shutdown()


def test_images_come_from_paths_urls_data_uris_and_pil(served_png, tmp_path):
    url, png = served_png
    path = tmp_path / "cat.png"
    path.write_bytes(png)
    data_uri = "data:image/png;base64," + base64.b64encode(png).decode()
    sources = [path, str(path), f"{url}/cat.png", data_uri, Image.open(BytesIO(png)).convert("RGBA")]
    images = [read_image(source) for source in sources]
    assert all(image.mode == "RGB" for image in images)
    assert len({image.tobytes() for image in images}) == 1


def test_what_is_no_image_is_refused(served_png, tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(ValueError, match="not int"):
        read_image(3)
    with pytest.raises(FileNotFoundError, match=r"absent\.jpg"):
        read_image("absent.jpg")
    with pytest.raises(OSError, match=r"text\.jpg"):
        read_image(tmp_path / "text.jpg")
    with pytest.raises(OSError, match="404"):
        read_image(served_png[0] + "/absent.png")


def test_texts_are_cut_to_max_length_special_tokens_included():
    tokenizer = word_tokenizer()
    assert tokenize(tokenizer, ["a cat", "the dog runs on a red cat"], 5) == [[0, 4, 6, 2], [0, 5, 7, 9, 2]]
    assert tokenize(tokenizer, ["the dog runs on a red cat"], 100) == [[0, 5, 7, 9, 10, 4, 12, 6, 2]]


def test_batches_are_padded_on_the_right():
    batch = token_batch([[5, 6], [7]], 1, torch.device("cpu"))
    assert batch.tolist() == [[5, 6], [7, 1]]


def test_batches_hold_every_index_once_longest_first():
    assert batches_by_length([3, 9, 1, 5], 2) == [[1, 3], [0, 2]]
    assert batches_by_length([], 2) == []


@needs_shared
def test_xlm_roberta_ids_equal_the_published_ones():
    with gzip.open(SHARED / "xlmr_tokenizer" / "tokenizer.json.gz") as file:
        tokenizer = Tokenizer.from_str(file.read().decode())
    gold = json.loads((SHARED / "gold" / "gold.json").read_text())
    published = {text: ids for text, ids in gold["xlmr_token_ids"].items() if isinstance(ids, list)}
    seal = gold["jina-clip-v2"]["xiaoke_openvino_notebook"]
    published[seal["text"]] = seal["input_ids_unpadded"]
    assert len(published) == 3
    assert tokenize(tokenizer, list(published), 512) == list(published.values())


@needs_shared
def test_bert_ids_equal_transformers():
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    vocab = SHARED / "bert_base_uncased_vocab" / "vocab.txt"
    tokenizer = Tokenizer.from_str(BertWordPieceTokenizer(str(vocab), lowercase=True).to_str())
    texts = ["A blue cat, unbelievably!", "straße naïve 一只小海豹", ""]
    reference = BertTokenizer(vocab=str(vocab))
    assert tokenize(tokenizer, texts, 512) == [reference(text)["input_ids"] for text in texts]
    assert tokenize(tokenizer, ["hello world"], 512) == [[101, 7592, 2088, 102]]


@needs_shared
def test_pixels_equal_the_published_ones():
    """Values printed from a run of the official v2 processor on a 2400x1824 RGBA picture."""
    gold = json.loads((SHARED / "gold" / "gold.json").read_text())["jina-clip-v2"]["xiaoke_openvino_notebook"]
    pixels = Preprocess(size=512)(Image.open(SHARED / "gold" / "images" / "image.png"))
    corner = gold["pixel_values_corner"]
    for channel, letter in enumerate("RGB"):
        assert pixels[channel, 0, :3].tolist() == pytest.approx(corner[f"{letter}_row0_first3"], abs=1e-4)
        assert pixels[channel, 0, -3:].tolist() == pytest.approx(corner[f"{letter}_row0_last3"], abs=1e-4)
    assert pixels[0, -1, :3].tolist() == pytest.approx(corner["R_lastrow_first3"], abs=1e-4)
