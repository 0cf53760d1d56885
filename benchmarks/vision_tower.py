"""Image towers beside timm's Eva, eager and compiled, and open_clip's: python -m benchmarks.vision_tower [--small].

Random weights, random pixels. v1's tower (ViT-B/16, 224 pixels) runs whole; v2's (ViT-L/14, 512 pixels) with fewer layers
under --small. open_clip's tower is timm's behind its own wrapper; only v1's size is among its configurations.
"""

import argparse
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from benchmarks.flops import image_flops
from benchmarks.harness import finish, largest_difference, matmul_rates, parse, race


def main() -> None:
    """Both models, each eager and compiled."""
    args = parse(__doc__ or "", _options)
    import torch

    from jina_clip.graphs import GraphedPass

    torch.manual_seed(0)
    cuda = args.device.startswith("cuda")
    dtype = torch.bfloat16 if cuda else torch.float32
    layers = args.layers or (2 if args.small else None)
    images = {"v1": 256, "v2": 32} if cuda else {"v1": 8, "v2": 2}
    laps, ratios, differences, figures = {}, {}, {}, {}
    rates = matmul_rates(args.device, "bfloat16" if cuda else "float32")
    rate = max(rates.values())
    for version, count in images.items():
        config, tower = _tower(version, layers, args.device, dtype)
        size = config.vision.image_size
        seen = (
            config.vision.grid * config.vision.patch_size
        )  # of 512 pixels at patch 14 the last 8 are not
        pixels = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1)).to(
            args.device, dtype
        )
        towers = {"ours": tower} | _peers(
            version, config, tower, whole=layers is None or version == "v1"
        )
        if cuda:
            towers["ours, CUDA graph"] = GraphedPass(tower)  # as `--cuda-graphs` does
        if args.compile:
            compiled = {"ours": deepcopy(tower)}
            compiled["ours"].compile_blocks()  # as `--compile` does
            for name, of in towers.items():
                if not name.startswith(("ours", "open_clip")):
                    compiled[name] = torch.compile(of, dynamic=False)
            towers |= {f"{name}, compiled": of for name, of in compiled.items()}
        sides = {name: size if "ours" in name else seen for name in towers}
        contenders: dict[str, Callable[[], Any]] = {
            name: _run(of, pixels, sides[name]) for name, of in towers.items()
        }
        with torch.inference_mode():
            found, rows = race(contenders, rounds=args.rounds, device=args.device)
        laps[version] = found
        for name in contenders:
            if not name.startswith("ours"):
                ours = "ours, compiled" if "compiled" in name else "ours"
                ratios[f"{version}: {name} / {ours}"] = found[name].best / found[ours].best
            if name != "ours":
                differences[f"{version}: {name}"] = (
                    largest_difference(rows["ours"], rows[name]),
                    1e-2 if cuda else 1e-5,
                )
        best = min(found[name].best for name in found if name.startswith("ours"))
        figures[f"{version}: images/s, ours at its best"] = count / best
        figures[f"{version}: share of the matmul rate, ours at its best"] = (
            count * image_flops(config.vision) / best / rate
        )
    figures |= {f"matmul rate, {name}, GFLOP/s": found / 1e9 for name, found in rates.items()}
    conditions = {
        "weights": "random",
        "dtype": str(dtype).removeprefix("torch."),
        "layers": f"v1 12, v2 {layers or 24}",
        "images a pass": images,
        "rows": "normalised",
        "open_clip": "its wrapper around timm, with jina-clip's rotary table"
        if _installed("open_clip")
        else "not installed",
    }
    finish(
        "vision_tower", args, conditions=conditions, laps=laps, ratios=ratios, differences=differences, figures=figures
    )  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layers", type=int, help="fewer layers for v2's tower")
    parser.add_argument(
        "--no-compile", dest="compile", action="store_false", help="leave the compiled towers out"
    )


def _tower(version: str, layers: int | None, device: str, dtype: Any) -> tuple[Any, Any]:
    import torch

    from jina_clip import V1, V2
    from jina_clip.api import ALIGN
    from jina_clip.vision import VisionTower

    config = V1 if version == "v1" else V2
    if layers and version == "v2":
        config = replace(config, vision=replace(config.vision, layers=layers))
    tower = VisionTower(config.vision, align=ALIGN if device.startswith("cuda") else 1)
    with torch.no_grad():
        for name, bias in tower.named_parameters():
            if name.endswith(("q_bias", "v_bias")):
                bias.normal_(std=0.1)
    return config, tower.to(device, dtype).eval()


def timm_eva(config: Any, tower: Any) -> Any:
    """timm's Eva of the same sizes, with the tower's weights under timm's names; every name must fit."""
    from timm.models.eva import Eva

    from jina_clip.weights import official_tensors

    vision = config.vision
    eva = Eva(
        img_size=vision.grid * vision.patch_size,
        patch_size=vision.patch_size,
        embed_dim=vision.width,
        depth=vision.layers,
        num_heads=vision.width // vision.head_width,
        mlp_ratio=vision.mlp_ratio,
        num_classes=0,
        global_pool="token",
        qkv_fused=False,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=True,
        use_rot_pos_emb=True,
        ref_feat_shape=(vision.pt_hw_seq_len,) * 2 if vision.intp_freq else None,
    )
    names = {
        "vision_model.": "",
        "mlp.w1": "mlp.fc1_g",
        "mlp.w2": "mlp.fc1_x",
        "mlp.w3": "mlp.fc2",
        "mlp.ffn_ln": "mlp.norm",
    }
    names |= {
        "attn.inner_attn_ln": "attn.norm",
        "attn.q_bias": "attn.q_proj.bias",
        "attn.v_bias": "attn.v_proj.bias",
    }
    state = {}
    for name, tensor in official_tensors(
        {"vision_model." + name: t for name, t in tower.state_dict().items()}, config
    ):
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        state[name] = tensor
    eva.load_state_dict(state)
    return eva.eval()


def _peers(version: str, config: Any, tower: Any, *, whole: bool) -> dict[str, Any]:
    import torch

    eva, vision = timm_eva(config, tower), config.vision
    device, dtype = tower.norm.weight.device, tower.norm.weight.dtype
    peers: dict[str, Any] = {"timm": eva.to(device, dtype)}
    if version == "v1" and whole and _installed("open_clip"):
        from open_clip.timm_model import TimmModel

        theirs = TimmModel(
            "eva02_base_patch16_clip_224", embed_dim=vision.width, pool="token", proj="none"
        )
        theirs.trunk.load_state_dict(eva.state_dict())
        theirs.trunk.rope = eva.rope  # its own is scaled to another grid
        peers["open_clip"] = theirs.to(device, dtype).eval()
    torch.compiler.reset()
    return peers


def _run(tower: Any, pixels: Any, side: int) -> Callable[[], Any]:
    import torch.nn.functional as F

    return lambda: F.normalize(tower(pixels[:, :, :side, :side]).float(), dim=1).cpu().numpy()


def _installed(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


if __name__ == "__main__":
    main()
