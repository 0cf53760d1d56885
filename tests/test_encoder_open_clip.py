"""The open_clip encoder gives open_clip's own rows, scores what CLIP_benchmark scores, and its fingerprint tells the weights."""

import hashlib
import json
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from evals.embeddings.store import Store
from evals.encoders import build
from evals.encoders.flores import FLORES, flores
from evals.encoders.open_clip import IMAGES, TEXTS, OpenClipEncoder
from evals.schema import ConfigError, Encoder, ImageText, InvalidError, MissingError, Side
from evals.tasks.image_text import score
from tests.conftest import word_tokenizer
from tests.rival_models import TINY, nllb_spec, weights_file
from tests.toys import text_side

CROSSMODAL = (
    "ar bn cs da de el en es fa fi fil fr he hi hr hu id it ja ko mi nl no pl pt quz ro ru sv sw te th tr uk vi zh"
).split()
XTD = "es it ko pl ru tr zh en de fr jp".split()


@pytest.fixture
def spec(vit) -> str:
    return vit


@pytest.fixture(scope="module")
def reference(vit):
    """The same model, as open_clip loads it: model, preprocessing and tokenizer."""
    _, weights = vit.split(".json/")
    model, _, preprocess = open_clip.create_model_and_transforms("toy-vit", pretrained=weights)
    return model.eval(), preprocess, open_clip.get_tokenizer("toy-vit")


def encoder(spec: str, **options) -> OpenClipEncoder:
    return OpenClipEncoder(name="toy", spec=spec, device="cpu", **options)


def pictures(n: int, mode: str = "RGB") -> Side:
    """Noise in as many colours and shapes."""
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(
            np.clip(
                rng.integers(0, 256, 3) + rng.integers(-60, 60, (30 + i % 7, 50, 3)), 0, 255
            ).astype(np.uint8)
        ).convert(mode)
        for i in range(n)
    ]
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    return Side("image", images, [f"i{i}" for i in range(n)], hashes)


def sentences(n: int) -> Side:
    words = "red green blue dog cat car tree house runs stands by a the river road".split()
    rng = np.random.default_rng(1)
    return text_side([f"{i} {' '.join(rng.choice(words, 5 + i % 14))}" for i in range(n)])


def test_rows_of_images_are_those_of_open_clip(spec, reference):
    model, preprocess, _ = reference
    side = pictures(IMAGES + 3)  # the last pass is not a full one
    with torch.no_grad():
        expected = F.normalize(
            torch.cat([model.encode_image(preprocess(image)[None]) for image in side.items]), dim=1
        )
    rows = encoder(spec).encode(side)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(encoder(spec, batch_images=2).encode(side), rows, atol=1e-6)
    assert np.linalg.norm(rows[0] - rows[1]) > 0.01


def test_rows_of_texts_are_those_of_open_clip(spec, reference):
    model, _, tokenizer = reference
    side = sentences(TEXTS + 2)
    with torch.no_grad():
        expected = F.normalize(model.encode_text(tokenizer(list(side.items))), dim=1)
    rows = encoder(spec).encode(side)
    np.testing.assert_allclose(rows, expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_texts_that_are_cut_are_counted_without_the_weights(spec, reference):
    model, (_, _, tokenizer) = encoder(spec), reference
    # `!` before another sign is token 0, which is also the padding.
    texts = ["dog " * 14, "dog " * 15, "!(" * 8, "!(" * 7, "", "dog " * 300]
    tokens = [len(tokenizer.encode(text)) + 2 for text in texts]
    assert tokenizer.encode("!(")[0] == 0
    assert model.truncated(text_side(texts)) == sum(n > 16 for n in tokens) > 1
    assert "_loaded" not in vars(model)
    # What is behind the end of its context is not read.
    longer = [f"{text} cat" for text in texts]
    rows, others = model.encode(text_side(texts)), model.encode(text_side(longer))
    reads_on = (np.abs(rows - others).max(1) > 1e-6).tolist()
    assert reads_on == [n < 16 for n in tokens]


def test_texts_are_tokenized_once_to_be_counted(spec, monkeypatch):
    model, passes = encoder(spec), []
    kind = type(model.tokenizer)
    tokenize = kind.__call__

    def counted(self, texts, context_length=None):
        passes.append(len(texts))
        return tokenize(self, texts, context_length)

    monkeypatch.setattr(kind, "__call__", counted)
    model.truncated(sentences(TEXTS + 2))
    # One text for the padding and one that is cut for sure, then each text once.
    assert passes == [1, 1, TEXTS, 2]


def test_a_tokenizer_that_is_not_at_hand_is_the_reason_why_nothing_is_counted(spec, monkeypatch):
    model = encoder(spec)
    monkeypatch.setattr(model._library, "get_tokenizer", _no_network)
    with pytest.raises(MissingError, match=r"no tokenizer \(no network\)"):
        model.truncated(text_side(["dog"]))


def _no_network(*arguments):
    raise OSError("no network")


def test_modes_become_rgb_before_they_are_resized(spec):
    side = pictures(2, "P")
    as_rgb = Side("image", [image.convert("RGB") for image in side.items], side.ids, side.hashes)
    np.testing.assert_array_equal(encoder(spec).encode(side), encoder(spec).encode(as_rgb))


def test_nothing_gives_no_rows_and_the_rows_of_bfloat16_are_float32(spec):
    assert encoder(spec).encode(pictures(3).select([])).shape == (0, 32)
    for side in (pictures(3), sentences(3)):
        rows = encoder(spec, dtype="bfloat16").encode(side)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, encoder(spec).encode(side), atol=0.1)


def test_recall_is_that_of_clip_benchmark(spec, reference):
    from clip_benchmark.metrics.zeroshot_retrieval import evaluate

    model, preprocess, tokenizer = reference
    images, texts = pictures(30), sentences(60)
    pairs = np.repeat(np.arange(30), 2)
    batches = [
        (
            torch.stack([preprocess(images.items[i]) for i in part]),
            [[texts.items[2 * i], texts.items[2 * i + 1]] for i in part],
        )
        for part in np.split(np.arange(30), 3)
    ]
    theirs = evaluate(model, batches, tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10])
    toy = encoder(spec)
    data = ImageText(images, texts, pairs, {"layout": "toy"})
    for ours in score([toy.encode(images), toy.encode(texts)], data, dims=[32]):
        name = {"t2i": "image", "i2t": "text"}[ours.direction]
        for k in (1, 5, 10):
            assert ours.values[f"R@{k}"].value == pytest.approx(
                theirs[f"{name}_retrieval_recall@{k}"], abs=1e-6
            )
    assert 0 < theirs["image_retrieval_recall@10"] < 1


def test_the_store_takes_it_and_encodes_once(spec, tmp_path):
    toy = build(
        "open_clip",
        {"name": "toy", "spec": spec, "folder": None},
        {"device": "cpu"},
        {"device": None},
    )
    assert isinstance(toy, Encoder)
    store = Store(tmp_path)
    assert store.embed(toy, sentences(5)).encoded == 5
    assert store.embed(toy, sentences(5)).encoded == 0


def test_the_fingerprint_is_there_before_the_weights_are_loaded(spec, reference):
    toy = encoder(spec)
    assert toy.dim == 32
    assert "_loaded" not in vars(toy)
    assert toy.batches == {}
    assert toy.fingerprint["image.preprocess"] == repr(reference[1])
    assert toy.fingerprint["text.tokenizer"] == "SimpleTokenizer"
    assert toy.fingerprint["text.context_length"] == "16"
    toy.encode(pictures(1))
    assert toy.source["sha256"] == toy.fingerprint["weights"]
    assert toy.batches == {"texts": [256], "images": [32]}


def test_the_fingerprint_follows_the_weights_and_the_dtype(spec, tmp_path):
    config, _ = spec.split(".json/")
    file = weights_file(tmp_path / "weights.pt", "toy-vit", seed=1)
    first = encoder(f"{config}.json/{file}").fingerprint
    weights_file(file, "toy-vit", seed=2)
    second = encoder(f"{config}.json/{file}").fingerprint
    assert {name for name in first if first[name] != second[name]} == {"weights"}
    assert encoder(f"{config}.json/{file}", dtype="bfloat16").fingerprint["dtype"] == "bfloat16"


def test_weights_that_are_replaced_before_they_are_loaded_stop_the_run(spec, tmp_path):
    config, _ = spec.split(".json/")
    file = weights_file(tmp_path / "weights.pt", "toy-vit", seed=1)
    toy = encoder(f"{config}.json/{file}")
    weights_file(file, "toy-vit", seed=2)
    with pytest.raises(InvalidError, match=r"weights\.pt: was changed"):
        toy.encode(pictures(1))
    other = encoder(f"{config}.json/{file}")
    file.write_bytes(b"half a file")
    with pytest.raises(InvalidError, match=r"weights\.pt: was changed"):
        other.encode(pictures(1))


def test_a_tokenizer_in_a_folder_is_hashed_and_stops_the_run_when_it_changes(nllb, tmp_path):
    toy = encoder(nllb)
    file = Path(nllb.split(".json/")[0]).parent / "tokenizer" / "tokenizer.json"
    saved = file.read_bytes()
    file.write_bytes(saved.replace(b'"m"', b'"M"'))
    try:
        changed = encoder(nllb).fingerprint
        assert {name for name in changed if changed[name] != toy.fingerprint[name]} == {
            "text.tokenizer"
        }
        with pytest.raises(InvalidError, match=r"tokenizer\.json: was changed"):
            toy.encode(spoken("en"))
    finally:
        file.write_bytes(saved)


@pytest.mark.parametrize(
    "spec", ["ViT-B-32/laion2b_s34b_b79k", "ViT-B-16-SigLIP/webli", "RN50-quickgelu/yfcc15m"]
)
def test_a_tag_is_fingerprinted_without_the_network(spec):
    toy = encoder(spec)
    arch, tag = spec.split("/")
    assert toy.fingerprint["weights"] == f"tag {tag}"
    assert ("CenterCrop" in toy.fingerprint["image.preprocess"]) == (
        arch != "ViT-B-16-SigLIP"
    )  # which squeezes
    assert ("image.timm" in toy.fingerprint) == (arch == "ViT-B-16-SigLIP")
    assert toy.source["repo"] or toy.source["url"]


def test_a_relative_checkpoint_of_a_known_architecture_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.pt").write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    for spec in ("ViT-B-32/x.pt", "ViT-B-32/./x.pt", f"ViT-B-32/{tmp_path}/x.pt"):
        assert encoder(spec).fingerprint["weights"] == expected
    assert encoder("ViT-B-32/x.pt").dim == 512


def test_a_file_is_given_images_as_the_tags_of_its_architecture_are(tmp_path, monkeypatch):
    file = tmp_path / "x.pt"
    file.write_bytes(b"weights")
    tagged, local = encoder("ViT-B-16-SigLIP/webli"), encoder(f"ViT-B-16-SigLIP/{file}")
    assert local.fingerprint["image.preprocess"] == tagged.fingerprint["image.preprocess"]

    model, way = open_clip.create_model("toy-vit"), {}
    built = lambda *_, **options: way.update(options) or (model, None, options)  # noqa: E731
    monkeypatch.setattr(open_clip, "create_model_and_transforms", built)
    local.encode(text_side(["no image"]).select([]))
    assert (way["image_mean"], way["image_resize_mode"]) == ((0.5, 0.5, 0.5), "squash")

    with pytest.raises(ConfigError, match="ViT-H-14 prepare images in several ways"):
        encoder(f"ViT-H-14/{file}")


@pytest.mark.parametrize(
    "spec, error, names",
    [
        ("ViT-B-33/laion2b_s34b_b79k", ConfigError, ["'ViT-B-33'", "ViT-B-32"]),
        ("ViT-B-32/laion2b_s34b_b78k", ConfigError, ["'laion2b_s34b_b78k'", "laion2b_s34b_b79k"]),
        ("ViT-B-32", ConfigError, ["ARCH/PRETRAINED"]),
        ("ViT-B-32//no/weights.pt", MissingError, ["/no/weights.pt"]),
        ("ViT-B-32/weights.safetensors", MissingError, ["weights.safetensors"]),
        ("ViT-B-32/openai", ConfigError, ["ViT-B-32-quickgelu/openai"]),  # open_clip only warns
        ("/no/config.json/x", MissingError, ["/no/config.json"]),
    ],
)
def test_what_there_is_not_is_refused_by_name(spec, error, names):
    with pytest.raises(error) as caught:
        encoder(spec)
    assert all(name in str(caught.value) for name in names)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "text, about", [("{", "not JSON"), ("[]", "embed_dim"), ('{"embed_dim": 3}', "vision_cfg")]
)
def test_a_broken_model_config_is_refused(tmp_path, text, about):
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(InvalidError, match=about):
        encoder(f"{tmp_path}/broken.json/x.pt")


def test_a_config_under_the_name_of_another_model_is_refused(tmp_path):
    (tmp_path / "ViT-B-32.json").write_text(json.dumps(TINY))
    with pytest.raises(ConfigError, match="Rename"):
        encoder(f"{tmp_path}/ViT-B-32.json/x.pt")


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_that_would_run_code_or_is_of_another_model_is_refused(spec, tmp_path):
    config, weights = spec.split(".json/")
    state = torch.load(weights, weights_only=True)
    trap = tmp_path / "ran"
    bad = {
        "trap.pt": lambda file: torch.save({"state_dict": Trap(trap)}, file),
        "plain.pkl": lambda file: file.write_bytes(pickle.dumps(Trap(trap), protocol=2)),
        "empty.pt": lambda file: file.write_bytes(b""),
        "other.pt": lambda file: torch.save(dict(list(state.items())[:-2]), file),
        "list.pt": lambda file: torch.save([1, 2], file),
        "cut.pt": lambda file: file.write_bytes(Path(weights).read_bytes()[:9999]),
        "cut.safetensors": lambda file: file.write_bytes(b"123456789"),
    }
    for name, write in bad.items():
        write(tmp_path / name)
        with pytest.raises(InvalidError, match=name):
            encoder(f"{config}.json/{tmp_path / name}").encode(pictures(1))
    assert not trap.exists()


def test_a_tag_that_cannot_be_downloaded_is_missing(monkeypatch):
    def unreachable(*_, **__):
        raise FileNotFoundError("Failed to download file. Last error: no route to host")

    monkeypatch.setattr(open_clip, "download_pretrained", unreachable)
    with pytest.raises(MissingError, match=r"ViT-B-32/laion2b_e16.*no route to host.*HF_HOME"):
        encoder("ViT-B-32/laion2b_e16").encode(pictures(1))


def test_a_text_tower_whose_config_cannot_be_fetched_is_missing(spec, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("We couldn't connect to the Hub")

    toy = encoder(spec)
    monkeypatch.setattr(open_clip, "create_model_and_transforms", unreachable)
    monkeypatch.setattr(open_clip, "get_tokenizer", unreachable)
    with pytest.raises(MissingError, match=r"toy-vit: cannot be built .*connect.*HF_HOME"):
        toy.encode(pictures(1))
    with pytest.raises(MissingError, match=r"toy-vit: no tokenizer .*connect"):
        _ = toy.tokenizer


def test_a_broken_image_is_reported_and_leaves_no_thread(spec):
    class Broken(list):
        def __getitem__(self, index):
            raise InvalidError(f"image {index} is broken.")

    toy, before = encoder(spec), threading.active_count()
    with pytest.raises(InvalidError, match="image 0"):
        toy.encode(Side("image", Broken([0] * 99), ["i"] * 99, ["h"] * 99))
    assert threading.active_count() == before


def test_a_machine_without_open_clip_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingError, match=r"jina-clip-evals\[rivals\]"):
        encoder("ViT-B-32/laion2b_e16")


@pytest.mark.parametrize("device", ["tpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(spec, device):
    with pytest.raises(ConfigError, match=device):
        OpenClipEncoder(name="toy", spec=spec, device=device)


def test_every_language_of_crossmodal_and_xtd_has_a_code_that_nllb_knows():
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

    codes = {language: flores(language) for language in {*CROSSMODAL, *XTD}}
    assert codes.keys() == FLORES.keys()
    assert set(codes.values()) <= set(FAIRSEQ_LANGUAGE_CODES)
    assert len(set(codes.values())) == len(codes) - 1  # jp and ja are one
    expected = "zho_Hans nob_Latn pes_Arab tgl_Latn quy_Latn arb_Arab swh_Latn jpn_Jpan".split()
    assert [codes[language] for language in "zh no fa fil quz ar sw jp".split()] == expected
    assert flores("eng_Latn") == "eng_Latn"


@pytest.mark.parametrize("language", [None, "", "xx", "english", "ENG_Latn"])
def test_a_language_without_a_code_is_refused(language):
    with pytest.raises(ConfigError, match="FLORES"):
        flores(language)


def spoken(language: str | None) -> Side:
    side = text_side(["hand", "arm"])
    return Side("text", side.items, side.ids, side.hashes, language=language)


def test_texts_of_an_nllb_model_are_read_in_their_language(nllb, spec, tmp_path):
    toy = encoder(nllb)
    assert toy.by_language
    assert not encoder(spec).by_language
    english, german = toy.encode(spoken("en")), toy.encode(spoken("de"))
    assert np.abs(english - german).max() > 1e-3
    np.testing.assert_array_equal(
        toy.encode(spoken("eng_Latn")), english
    )  # and not the language of the call before
    store = Store(tmp_path)
    assert [store.embed(toy, spoken(language)).encoded for language in ("en", "de", "en")] == [
        2,
        2,
        0,
    ]


def test_an_nllb_model_refuses_texts_whose_language_it_cannot_tell(nllb):
    for language in (None, "xx", "fr"):  # the toy tokenizer has no French
        with pytest.raises(ConfigError, match="language"):
            encoder(nllb).encode(spoken(language))


def test_a_tokenizer_that_knows_a_language_and_ignores_it_is_refused(tmp_path):
    from transformers import PreTrainedTokenizerFast

    words = PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer("hand arm eng_Latn"), unk_token="<unk>", pad_token="<pad>"
    )
    with pytest.raises(InvalidError, match="no languages"):
        encoder(nllb_spec(tmp_path, words, "mute-nllb")).encode(spoken("en"))
