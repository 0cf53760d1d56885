"""Text towers beside transformers' JinaEmbeddingsV3Model and a plain padded forward: python -m benchmarks.text_tower [--small].

Random weights, random token ids, lengths as in captions (about 14 tokens) and in SciFact (mean 375, measured with
XLM-RoBERTa's tokenizer; not cut). The plain padded forward
stands for the published code without flash-attn: batches of 32 in the order given, padded, softmax attention spelled out, and
each LoRA pair added to its weight in every forward pass. v1 has no model in transformers; there it stands alone.
"""

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks.flops import text_flops
from benchmarks.harness import finish, largest_difference, matmul_rates, parse, race

BATCH = 32
LENGTHS = {
    "captions": (14.0, 0.35, 5, 77),
    "documents": (375.0, 0.38, 73, 2256),
    "mixed to 8k": (900.0, 1.2, 8, 8192),
}


def main() -> None:
    """Both models, each at caption and document lengths; on CUDA also at lengths up to 8,192."""
    args = parse(__doc__ or "", _options)
    import torch

    torch.manual_seed(0)
    cuda = args.device.startswith("cuda")
    dtype = torch.bfloat16 if cuda else torch.float32
    layers = args.layers or (1 if args.small else None)
    counts = (
        {"captions": 256, "documents": 64} if args.small else {"captions": 2048, "documents": 256}
    )
    counts |= {"mixed to 8k": 256} if cuda else {}
    laps, ratios, differences, figures = {}, {}, {}, {}
    rates = matmul_rates(args.device, "bfloat16" if cuda else "float32")
    rate = max(rates.values())
    for version in ("v2", "v1"):
        config, model = _model(version, layers, args.device, dtype)
        peers = _peers(version, config, model)
        for kind, count in counts.items():
            texts = _texts(kind, max(1, int(count * args.share)), config.vocab_size)
            case = f"{version} {kind}"
            contenders: dict[str, Callable[[], Any]] = {
                "ours": lambda model=model, texts=texts: _ours(model, texts)
            }
            fitting = {name: peer for name, peer in peers.items() if _fits(name, kind)}
            contenders |= {
                name: lambda peer=peer, texts=texts: peer(texts) for name, peer in fitting.items()
            }
            with torch.inference_mode():
                found, rows = race(contenders, rounds=args.rounds, device=args.device)
            laps[case] = found
            for name in fitting:
                ratios[f"{case}: {name} / ours"] = found[name].best / found["ours"].best
                differences[f"{case}: {name}"] = (
                    largest_difference(rows["ours"], rows[name]),
                    5e-3 if cuda else 1e-5,
                )
            tokens = [len(text) for text in texts]
            flops = text_flops(config, tokens)
            figures[f"{case}: tokens/s"] = sum(tokens) / found["ours"].best
            figures[f"{case}: share of the matmul rate"] = flops / found["ours"].best / rate
        del model, peers
    figures |= {f"matmul rate, {name}, GFLOP/s": found / 1e9 for name, found in rates.items()}
    conditions = {
        "weights": "random",
        "dtype": str(dtype).removeprefix("torch."),
        "layers": layers or "all (v2 24, v1 12)",
        "vocabulary": "8,000 entries" if args.small else "full",
        "texts": counts,
        "peer batches": BATCH,
        "rows": "normalised",
    }
    finish(
        "text_tower", args, conditions=conditions, laps=laps, ratios=ratios, differences=differences, figures=figures
    )  # fmt: skip


def _fits(peer: str, kind: str) -> bool:
    """Not where softmax is spelled out over 32 texts padded to 8,192 tokens: one tensor of it takes 44 GiB."""
    return kind != "mixed to 8k" or not peer.startswith("plain")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layers", type=int, help="fewer layers than the model has")
    parser.add_argument("--share", type=float, default=1.0, help="this share of the texts")


def _model(version: str, layers: int | None, device: str, dtype: Any) -> tuple[Any, Any]:
    from dataclasses import replace

    import torch

    from jina_clip import V1, V2, JinaCLIP
    from jina_clip.attention_backends import resolve_attention

    preset = V1 if version == "v1" else V2
    text, vision = preset.text, replace(preset.vision, layers=1)
    if layers:
        text = replace(text, num_hidden_layers=layers, vocab_size=8000)
    backend = resolve_attention("auto", text, torch.device(device), dtype)
    model = JinaCLIP(replace(preset, text=text, vision=vision), attention=backend)
    return text, model.to(device, dtype).eval()


def _texts(kind: str, count: int, vocabulary: int) -> list[list[int]]:
    """Log-normal lengths with the mean of the real ones, in random order."""
    import numpy as np

    rng = np.random.default_rng(7)
    mean, spread, least, most = LENGTHS[kind]
    lengths = (
        np.exp(rng.normal(np.log(mean) - spread**2 / 2, spread, count))
        .clip(least, most)
        .astype(int)
    )
    return [rng.integers(4, vocabulary, length).tolist() for length in lengths]


def _ours(model: Any, texts: list[list[int]]) -> Any:
    return _normalised(model.text_rows(texts))


def _normalised(rows: Any) -> Any:
    import torch.nn.functional as F

    return F.normalize(rows.float(), dim=1).cpu().numpy()


def _peers(version: str, config: Any, model: Any) -> dict[str, Callable[[list[list[int]]], Any]]:
    peers: dict[str, Callable[[list[list[int]]], Any]] = {}
    if version == "v2":
        theirs = _transformers(config, model)
        peers["transformers, sorted"] = lambda texts: _in_batches(
            theirs, texts, config.pad_token_id, ordered=True
        )
        peers["transformers, unsorted"] = lambda texts: _in_batches(
            theirs, texts, config.pad_token_id, ordered=False
        )
    plain = _plain(config, model.text_model)
    name = "plain padded" if not config.lora_adaptations else "plain padded, LoRA each time"
    peers[name] = lambda texts: _in_batches(plain, texts, config.pad_token_id, ordered=False)
    return peers


def _in_batches(
    forward: Callable[..., Any], texts: list[list[int]], pad: int, *, ordered: bool
) -> Any:
    """Batches of 32, padded to their longest text, mean-pooled."""
    import torch

    order = (
        sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        if ordered
        else list(range(len(texts)))
    )
    rows = []
    for start in range(0, len(order), BATCH):
        batch = [texts[i] for i in order[start : start + BATCH]]
        ids = torch.full((len(batch), max(map(len, batch))), pad)
        for row, tokens in zip(ids, batch, strict=True):
            row[: len(tokens)] = torch.tensor(tokens)
        keep = ids != pad
        hidden, keep = forward(ids, keep)
        weights = keep[..., None].float()
        rows.append((hidden.float() * weights).sum(1) / weights.sum(1))
    return _normalised(torch.cat(rows)[torch.tensor(order).argsort()])


def _transformers(config: Any, model: Any) -> Callable[..., Any]:
    """JinaEmbeddingsV3Model with our weights, as transformers runs it by default (SDPA)."""
    from transformers import JinaEmbeddingsV3Config, JinaEmbeddingsV3Model

    sizes = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size".split()
    theirs = JinaEmbeddingsV3Model(
        JinaEmbeddingsV3Config(**{name: getattr(config, name) for name in sizes}),
        add_pooling_layer=False,
    )
    renamed = [
        ("emb_ln", "embeddings.LayerNorm"),
        ("encoder.layers", "layers"),
        ("mixer.out_proj", "self_attn.o_proj"),
    ]
    renamed += [("norm1", "post_attention_layernorm"), ("norm2", "post_mlp_layernorm")]
    state = {}
    for name, tensor in model.text_model.state_dict().items():
        for ours, peer in renamed:
            name = name.replace(ours, peer)
        if "mixer.Wqkv" in name:
            parts = zip("qkv", tensor.chunk(3), strict=True)
            state |= {
                name.replace("mixer.Wqkv", f"self_attn.{letter}_proj"): part
                for letter, part in parts
            }
        else:
            state[name] = tensor
    left = theirs.load_state_dict(state, strict=False)
    if left.unexpected_keys or any(
        "rotary" not in name and "position_ids" not in name for name in left.missing_keys
    ):
        raise SystemExit(f"transformers' model does not take our weights: {left}")
    theirs = theirs.to(model.device, model.text_model.emb_ln.weight.dtype).eval()

    def forward(ids: Any, keep: Any) -> tuple[Any, Any]:
        ids, keep = ids.to(model.device), keep.to(model.device)
        return theirs(input_ids=ids, attention_mask=keep.long()).last_hidden_state, keep

    return forward


def _plain(config: Any, tower: Any) -> Callable[..., Any]:
    """The formulas spelled out on our tower's modules: eager attention over padded texts, LoRA added in every pass."""
    import torch
    import torch.nn.functional as F

    from jina_clip.attention import alibi_bias

    rank, scale = config.lora_rank, config.lora_alpha / max(1, config.lora_rank)
    pairs = {}
    if config.lora_adaptations:
        for name, module in tower.named_modules():
            if isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
                rows, columns = (
                    module.weight.shape
                )  # zeros, so that the outputs can be compared; the work is the same
                pairs[name] = (
                    module.weight.new_zeros(rows, rank),
                    module.weight.new_zeros(rank, columns),
                )

    def weight(name: str) -> Any:
        module = tower.get_submodule(name)
        if name not in pairs:
            return module.weight
        b, a = pairs[name]
        return module.weight + (b @ a) * scale

    def linear(name: str, x: Any) -> Any:
        return F.linear(x, weight(name), tower.get_submodule(name).bias)

    def forward(ids: Any, keep: Any) -> tuple[Any, Any]:
        ids, keep = ids.to(tower.device), keep.to(tower.device)
        x = (
            F.embedding(ids, weight("embeddings.word_embeddings"))
            + weight("embeddings.token_type_embeddings")[0]
        )
        x = tower.emb_ln(x)
        heads, length = config.num_attention_heads, ids.shape[1]
        bias = torch.zeros(1, 1, 1, length, device=x.device).masked_fill(
            ~keep[:, None, None], float("-inf")
        )
        if tower.slopes is not None:
            bias = bias + alibi_bias(tower.slopes, length, x.device)
        else:
            frequencies = config.rotary_emb_base ** -(
                torch.arange(0, x.shape[-1] // heads, 2, device=x.device) / (x.shape[-1] // heads)
            )
            angles = torch.outer(torch.arange(length, device=x.device), frequencies).repeat(1, 2)
            cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for i, layer in enumerate(tower.encoder.layers):
            at = f"encoder.layers.{i}."
            q, k, v = (
                linear(at + "mixer.Wqkv", x).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
            )
            if tower.slopes is None:
                q, k = (
                    y * cos + torch.cat([-y.chunk(2, -1)[1], y.chunk(2, -1)[0]], -1) * sin
                    for y in (q, k)
                )
            scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5 + bias
            mixed = scores.softmax(-1).to(v.dtype) @ v
            x = layer.norm1(linear(at + "mixer.out_proj", mixed.transpose(1, 2).flatten(2)) + x)
            if config.mlp_type == "glu":
                gate, value = linear(at + "mlp.gated_layers", x).chunk(2, -1)
                x = layer.norm2(linear(at + "mlp.wo", F.gelu(gate) * value) + x)
            else:
                x = layer.norm2(linear(at + "mlp.fc2", F.gelu(linear(at + "mlp.fc1", x))) + x)
        return x, keep

    return forward


if __name__ == "__main__":
    main()
