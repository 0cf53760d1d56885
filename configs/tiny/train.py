"""Trains configs/tiny, a jina-clip-v2-shaped model of a few megabytes, on the train split of Scenes: minutes on two CPU cores.

python configs/tiny/train.py
"""

# ruff: noqa: T201 - a script that prints what it does

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor
from tqdm import tqdm

from evals.data.scene_drawing import render
from evals.data.scenes import LANGUAGES, captions, load_scenes, train_scene
from evals.schema import Source
from jina_clip import ClipConfig, JinaCLIP
from jina_clip.tokens import token_batch, tokenize

# Shapes: n scenes, b pairs of a batch, d dimensions.

FOLDER = Path(__file__).parent
SEED = 0
DIMS = (8, 16, 32, 64, 128, 256)
WIDTH = DIMS[-1]
IMAGE = 64
VOCABULARY = 1000  # pieces, <mask> comes on top
TOKENIZER_SCENES = 4_000
SCENES = 40_000
BATCH = 64
STEPS = 1_200
WARMUP = 100
PEAK_RATE = 5e-4
DECAY = 0.05
MAX_SCALE = 100.0
INSTRUCTION = "Represent the query for retrieving evidence documents: "


class Examples(NamedTuple):
    """Pictures, and for each the token ids of every caption in every language."""

    pixels: UInt8[Tensor, "n 3 64 64"]
    ids: list[list[list[int]]]


class Batch(NamedTuple):
    """Matching rows of token ids and normalised pixels."""

    input_ids: Int[Tensor, "b t"]
    pixel_values: Float[Tensor, "b 3 64 64"]


def main() -> None:
    """Train, save beside this file, load what was saved and print its recall on the test split."""
    torch.set_num_threads(2)
    torch.manual_seed(SEED)
    started = time.perf_counter()
    tokenizer = train_tokenizer(text for i in range(TOKENIZER_SCENES) for text in _texts(i))
    model = JinaCLIP(tiny_config(tokenizer.get_vocab_size()), tokenizer=tokenizer)
    print(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {tokenizer.get_vocab_size()} tokens"
    )
    examples = draw_examples(tokenizer, SCENES)
    print(f"{SCENES} scenes drawn after {time.perf_counter() - started:.0f} s")
    _initialise(model, examples.pixels[:512])
    train(model, examples)
    print(f"trained after {time.perf_counter() - started:.0f} s")
    model.save_pretrained(FOLDER)
    print_recall(JinaCLIP.from_pretrained(FOLDER, device="cpu"))


def train_tokenizer(texts: Iterator[str]) -> Tokenizer:
    """A SentencePiece-like tokenizer with the special tokens of XLM-RoBERTa, learned from `texts`."""
    # BPE, not XLM-R's Unigram: the latter's trainer gives other pieces every time.
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))  # noqa: S106
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator([INSTRUCTION, *texts], trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def tiny_config(vocabulary: int) -> ClipConfig:
    """The official config.json of jina-clip-v2 with smaller numbers."""
    text = {
        "default_instruction_task": None,
        "default_lora_task": "retrieval.query",
        "embed_dim": WIDTH,
        "hf_model_config_kwargs": {
            "hidden_size": WIDTH,
            "intermediate_size": 512,
            "load_trained_adapters": False,
            "lora_adaptations": ["retrieval.query"],
            "lora_alpha": 4,
            "lora_dropout_p": 0.0,
            "lora_main_params_trainable": False,
            "lora_rank": 4,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "task_instructions": {"retrieval.query": INSTRUCTION},
            "use_flash_attn": True,
            "vocab_size": vocabulary,
        },
        "hf_model_name_or_path": "jinaai/jina-embeddings-v3",
        "model_type": "jina_clip_text",
        "pooler_type": "mean_pooler",
        "proj_bias": False,
        "proj_type": None,
    }
    vision = {
        "embed_dim": WIDTH,
        "fused_layer_norm": False,
        "head_width": 64,
        "image_size": IMAGE,
        "intp_freq": True,
        "layers": 3,
        "ls_init_value": None,
        "mlp_ratio": 2.6667,
        "model_type": "jina_clip_vision",
        "naive_swiglu": True,
        "patch_dropout": 0.1,
        "patch_size": 16,
        "post_norm": False,
        "proj_type": None,
        "pt_hw_seq_len": 16,
        "qkv_bias": True,
        "rope_embeddings": True,
        "subln": True,
        "width": WIDTH,
        "x_attention": True,
    }
    return ClipConfig.from_dict(
        {
            "add_projections": False,
            "architectures": ["JinaCLIPModel"],
            "initializer_factor": 1.0,
            "logit_scale_init_value": 2.6592,
            "matryoshka_dimensions": list(DIMS),
            "model_type": "jina_clip",
            "projection_dim": WIDTH,
            "text_config": text,
            "torch_dtype": "bfloat16",
            "truncate_dim": None,
            "vision_config": vision,
        }
    )


def draw_examples(tokenizer: Tokenizer, n: int) -> Examples:
    """The first n scenes of the train split, rendered and tokenised once."""
    pixels = torch.empty(n, 3, IMAGE, IMAGE, dtype=torch.uint8)
    ids = []
    for i in tqdm(range(n), desc="drawing", unit="scene", disable=None):
        pixels[i] = torch.from_numpy(np.array(render(train_scene(i)))).permute(2, 0, 1)
        ids.append(tokenize(tokenizer, _texts(i), 512))
    return Examples(pixels, ids)


def train(model: JinaCLIP, examples: Examples) -> None:
    """AdamW with warmup and a cosine to zero; matrices decay, vectors and the logit scale do not."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate)
    model.train()
    with tqdm(
        _batches(model, examples), total=STEPS, desc="training", unit="step", disable=None
    ) as steps:
        for step, batch in enumerate(steps):
            loss = matryoshka_loss(
                model.get_text_features(batch.input_ids),
                model.get_image_features(batch.pixel_values),
                model.logit_scale.exp(),
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=float(np.log(MAX_SCALE)))
            if step % 50 == 0 or step == STEPS - 1:
                steps.write(
                    f"step {step} loss {loss.item():.3f} scale {model.logit_scale.exp().item():.1f}"
                )
    model.eval()


def matryoshka_loss(
    texts: Float[Tensor, "b d"], images: Float[Tensor, "b d"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE of matching rows at every truncated width (arXiv:2205.13147), weighted by the width's cube.

    Scenes are simple: with equal weights eight values hold nearly all, and a sweep would have nothing to show.
    """
    target = torch.arange(len(texts))
    loss = torch.zeros(())
    for dim in DIMS:
        logits = scale * F.normalize(texts[:, :dim], dim=1) @ F.normalize(images[:, :dim], dim=1).T
        loss = (
            loss
            + dim**3
            / sum(d**3 for d in DIMS)
            * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
            / 2
        )
    return loss


def print_recall(model: JinaCLIP) -> None:
    """Recall on the test split per language and width, both directions; for information, without ties in expectation."""
    images = torch.as_tensor(
        model.encode_image(
            list(load_scenes(Source(("en",), "test"))["en"].images.items),
            normalize_embeddings=False,
        )
    )
    print("language  dim  t2i R@1     R@5    R@10 i2t R@1     R@5    R@10")
    for language in LANGUAGES:
        data = load_scenes(Source((language,), "test"))[language]
        texts = torch.as_tensor(
            model.encode_text(list(data.texts.items), normalize_embeddings=False)
        )
        gold = torch.from_numpy(data.image_of_text)
        for dim in DIMS:
            scores = F.normalize(texts[:, :dim], dim=1) @ F.normalize(images[:, :dim], dim=1).T
            own = scores.gather(1, gold[:, None])
            t2i = (scores > own).sum(dim=1)
            best = own.view(-1, 2, 1).amax(dim=1)
            i2t = (best < scores.T).sum(dim=1)
            found = [(ranks < k).float().mean().item() for ranks in (t2i, i2t) for k in (1, 5, 10)]
            print(f"{language:8} {dim:4}  " + "".join(f"{share:8.3f}" for share in found))


def _texts(i: int) -> list[str]:
    return [text for language in LANGUAGES for text in captions(train_scene(i), language)]


def _batches(model: JinaCLIP, examples: Examples) -> Iterator[Batch]:
    rng = random.Random(SEED)
    twins: list[int] = []
    for _ in range(STEPS):
        if len(twins) < BATCH // 2:
            twins = rng.sample(range(0, len(examples.ids), 2), len(examples.ids) // 2)
        rows = [
            row for first in twins[: BATCH // 2] for row in (first, first + 1)
        ]  # near twins teach the details
        twins = twins[BATCH // 2 :]
        ids = [rng.choice(examples.ids[i]) for i in rows]
        yield Batch(
            token_batch(ids, model.config.text.pad_token_id, torch.device("cpu")),
            _normalised(model, examples.pixels[rows]),
        )


def _rate(step: int) -> float:
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.5 + 0.5 * float(np.cos(np.pi * (step - WARMUP) / (STEPS - WARMUP)))


@torch.no_grad()
def _initialise(model: JinaCLIP, pixels: UInt8[Tensor, "n 3 64 64"]) -> None:
    """Starts with small residuals, and with patches that are standardised: else all pictures, mostly plain, look alike."""
    for name, value in model.named_parameters():
        if name.endswith("word_embeddings.weight"):
            value.mul_(0.05)  # torch's standard deviation of 1 drowns the updates
        elif name.endswith("token_type_embeddings.weight"):
            value.zero_()
        elif name.endswith(("out_proj.weight", "fc2.weight", "attn.proj.weight", "w3.weight")):
            value.mul_(0.2)
        elif name.endswith("pos_embed"):
            value.mul_(15.0)
    weight, bias = (
        model.get_parameter(f"vision_model.patch_embed.proj.{name}") for name in ("weight", "bias")
    )
    patches = (
        F.conv2d(_normalised(model, pixels), weight, bias, stride=weight.shape[-1])
        .transpose(0, 1)
        .flatten(1)
    )
    mean, deviation = patches.mean(dim=1), patches.std(dim=1)
    weight.div_(deviation[:, None, None, None])
    bias.sub_(mean).div_(deviation)


def _normalised(model: JinaCLIP, pixels: UInt8[Tensor, "b 3 64 64"]) -> Float[Tensor, "b 3 64 64"]:
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (model.preprocess.mean, model.preprocess.std)
    )
    return (pixels.float() / 255 - mean) / std


if __name__ == "__main__":
    main()
