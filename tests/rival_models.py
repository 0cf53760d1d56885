"""Random models of open_clip and sentence-transformers, small enough to make, in the files that users have."""

import json
from pathlib import Path

import pytest
import torch

SMALL = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def tokenizer():
    from transformers import PreTrainedTokenizerFast

    from tests.conftest import word_tokenizer

    special = dict(
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer(pad=0), model_max_length=12, **special
    )


@pytest.fixture(scope="session")
def text_model(tmp_path_factory) -> Path:
    """A random BERT of 16 dimensions with mean pooling and a prompt for queries."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel

    bert, folder = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("st") / "text"
    torch.manual_seed(0)
    BertModel(
        BertConfig(vocab_size=40, max_position_embeddings=12, pad_token_id=0, **SMALL)
    ).save_pretrained(bert)
    tokenizer().save_pretrained(bert)
    modules = [Transformer(str(bert)), Pooling(16), Normalize()]
    SentenceTransformer(
        modules=modules, prompts={"query": "the red ", "document": ""}, device="cpu"
    ).save(str(folder))
    return folder


@pytest.fixture(scope="session")
def several_model(tmp_path_factory) -> Path:
    """A random ColBERT in the library's layout: 8 values per token, "the" skipped in documents."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.base.modules.dense import Dense
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from transformers import BertConfig, BertModel

    bert, folder = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("st") / "several"
    torch.manual_seed(0)
    BertModel(
        BertConfig(vocab_size=40, max_position_embeddings=12, pad_token_id=0, **SMALL)
    ).save_pretrained(bert)
    tokenizer().save_pretrained(bert)
    tokens = dict(module_input_name="token_embeddings")
    modules = [
        Transformer(str(bert), query_length=6, document_length=10),
        Dense(16, 8, bias=False, activation_function=torch.nn.Identity(), **tokens),
        MultiVectorMask(skiplist_words=["the"]),
        Normalize(**tokens),
    ]
    MultiVectorEncoder(
        modules=modules, prompts={"query": "the red ", "document": ""}, device="cpu"
    ).save(str(folder))
    return folder


@pytest.fixture(scope="session")
def pali_model(tmp_path_factory) -> Path:
    """A random ColPali of 8 dimensions as transformers saves it; a page has 8 vectors."""
    from transformers import (
        ColPaliConfig,
        ColPaliForRetrieval,
        ColPaliProcessor,
        GemmaConfig,
        PaliGemmaConfig,
        SiglipImageProcessor,
        SiglipVisionConfig,
    )

    folder = tmp_path_factory.mktemp("st") / "pali"
    words = tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<image>"]})
    words.model_max_length = 64
    vision = SiglipVisionConfig(image_size=16, patch_size=8, projection_dim=16, **SMALL)
    text = GemmaConfig(
        vocab_size=64,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        pad_token_id=0,
        **SMALL,
    )
    both = PaliGemmaConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=16,
        hidden_size=16,
    )
    torch.manual_seed(0)
    ColPaliForRetrieval(ColPaliConfig(vlm_config=both, embedding_dim=8)).save_pretrained(folder)
    pixels = SiglipImageProcessor(size={"height": 16, "width": 16})
    pixels.image_seq_length = 4
    ColPaliProcessor(image_processor=pixels, tokenizer=words).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reader_model(tmp_path_factory) -> Path:
    """A random LLaVA of 8 values per vector that reads a text, an image, or both by a chat template.

    An image has 4 vectors; a text beside it changes what comes after the first of the two.
    """
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.base.modules.dense import Dense
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaModel,
        LlavaProcessor,
    )

    llava, folder = tmp_path_factory.mktemp("llava"), tmp_path_factory.mktemp("st") / "reader"
    words = tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<image>"]})
    words.model_max_length = 64
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=16, patch_size=8, projection_dim=16, **SMALL),
        text_config=LlamaConfig(vocab_size=64, max_position_embeddings=64, pad_token_id=0, **SMALL),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    torch.manual_seed(0)
    model = LlavaModel(config)
    with torch.no_grad():
        # As they start, weights are so small that no vector depends on what comes before it.
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.normal_(std=0.5)
    model.save_pretrained(llava)
    LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
        ),
        tokenizer=words,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template="{% for message in messages %}{% for part in message.content %}"
        "{{ '<image>' if part.type == 'image' else part.text }} {% endfor %}{% endfor %}",
    ).save_pretrained(llava)
    tokens = dict(module_input_name="token_embeddings")
    modules = [
        Transformer(str(llava)),
        Dense(16, 8, bias=False, activation_function=torch.nn.Identity(), **tokens),
        MultiVectorMask(),
        Normalize(**tokens),
    ]
    MultiVectorEncoder(
        modules=modules, prompts={"query": "the red ", "document": ""}, device="cpu"
    ).save(str(folder))
    return folder


@pytest.fixture(scope="session")
def clip_model(tmp_path_factory) -> Path:
    """A random CLIP of 12 dimensions."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import CLIPModel
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPProcessor
    from transformers import CLIPModel as Towers

    clip, folder = tmp_path_factory.mktemp("clip"), tmp_path_factory.mktemp("st") / "clip"
    text = dict(
        vocab_size=40,
        max_position_embeddings=12,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        **SMALL,
    )
    vision = dict(image_size=16, patch_size=8, **SMALL)
    torch.manual_seed(0)
    Towers(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(
        clip
    )
    pixels = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(image_processor=pixels, tokenizer=tokenizer()).save_pretrained(clip)
    SentenceTransformer(modules=[CLIPModel(str(clip))], device="cpu").save(str(folder))
    return folder


def config_file(path: Path, config: dict) -> Path:
    """An architecture's config in a file, made known to open_clip by its stem."""
    import open_clip

    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    return path


def weights_file(path: Path, arch: str, seed: int = 0) -> Path:
    """A random checkpoint of an architecture that open_clip knows."""
    import open_clip

    torch.manual_seed(seed)
    model = open_clip.create_model(arch, pretrained_text=False)
    with torch.no_grad():
        # as they start, the projections of a tiny model nearly drown the differences between items
        for weight in model.parameters():
            weight.normal_(std=0.3)
    torch.save(model.state_dict(), path)
    return path


def nllb_spec(folder: Path, tokenizer, arch: str) -> str:
    """`ARCH/PRETRAINED` of a random model with that tokenizer, in files of the folder."""
    tokenizer.save_pretrained(folder / "tokenizer")
    text = {**TINY["text_cfg"], "vocab_size": 64, "hf_tokenizer_name": str(folder / "tokenizer")}
    config = config_file(folder / f"{arch}.json", {**TINY, "text_cfg": text})
    return f"{config}/{weights_file(folder / 'weights.pt', arch)}"


@pytest.fixture(scope="session")
def vit(tmp_path_factory) -> str:
    """A random ViT of two layers, as `ARCH/PRETRAINED` of two files."""
    folder = tmp_path_factory.mktemp("open_clip")
    config = config_file(folder / "toy-vit.json", TINY)
    return f"{config}/{weights_file(folder / 'weights.pt', 'toy-vit')}"


@pytest.fixture(scope="session")
def nllb(tmp_path_factory) -> str:
    """A random model whose tokenizer puts the language in front, as nllb-clip has it."""
    from transformers import NllbTokenizer

    vocab = {
        word: i
        for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *"▁abcdefghijklmnopqrstuvwxyz"])
    }
    tokenizer = NllbTokenizer(vocab=vocab, merges=[], extra_special_tokens=["eng_Latn", "deu_Latn"])
    return nllb_spec(tmp_path_factory.mktemp("nllb"), tokenizer, "toy-nllb")
