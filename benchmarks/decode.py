"""How fast image files become pixels, exact (Pillow) and fast (torch's uint8 kernel), and what the fast mode changes.

python -m benchmarks.decode [--small] [--device cuda] [--rounds N] [--json OUT] [--images DIR]

Every contender starts from the same bytes in memory and ends with batches at 512 pixels: uint8, as they are sent to a device,
or normalised float32 where its name says so. During the race torch computes with one thread: "1 thread" is one core. The rates
come from CPU seconds, which a busy machine changes less than the clock on the wall; the ratios are of wall time.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from benchmarks.harness import Lap, finish, largest_difference, parse, race
from jina_clip import V1, JinaCLIP, Preprocess
from jina_clip.prefetch import WORKERS, batches, prefetch
from jina_clip.vision import VisionTower

SIZE = 512
BATCH = 16  # images of a batch; only the first batch is kept, to be compared
EMBEDDED = 4  # images of each case that are embedded
TINY = Path(__file__).parents[1] / "configs" / "tiny"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
THREADS = f"{WORKERS} threads"
GIVEN = "images"
OPEN_CLIP = "open_clip, 1 thread, normalised"
TORCHVISION = "torchvision v2 uint8, 1 thread"

Transform = Callable[[Image.Image], torch.Tensor]


def main() -> None:
    """Race the pipelines on each kind of image, compare their pixels, then the embeddings of both modes."""
    args = parse(__doc__.split("\n")[0], _options)
    how = Preprocess(size=SIZE)
    corpus, peers = _corpus(args), _peers(how)
    laps: dict[str, dict[str, Lap]] = {}
    ratios: dict[str, float] = {}
    differences: dict[str, tuple[float, float]] = {}
    figures: dict[str, Any] = {}
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for case, files in corpus.items():
        runs = _ours(files, how, args.device) | {
            name: partial(_peer, files, peer) for name, peer in peers.items()
        }
        cpu: dict[str, float] = {}
        counted = {who: partial(_count, run, who, cpu) for who, run in runs.items()}
        laps[case], first = race(counted, rounds=args.rounds, device=args.device)
        ratios |= _ratios(case, laps[case])
        differences |= _differences(case, first)
        figures |= {
            f"{case}: images per CPU second, {who}": len(files) / seconds
            for who, seconds in cpu.items()
        }
        figures |= _changes(case, first)
    torch.set_num_threads(torch_threads)
    embedded = _embeddings(corpus, args.device)
    differences |= {what: (found, 1e-4) for what, (found, _) in embedded.items()}
    figures |= {
        f"{what}; of two images, on average": between for what, (_, between) in embedded.items()
    }
    conditions = {
        "images": str(args.images or "generated from seeds 0, 1, …"),
        "files": {
            case: f"{len(files)}, {sum(map(len, files)) / len(files) / 1e3:.0f} KB each"
            for case, files in corpus.items()
        },
        "size": SIZE,
        "batch": BATCH,
        "cores": len(os.sched_getaffinity(0)),
        "threads": WORKERS,
        "normalised": f"ours on {args.device}, open_clip on the CPU",
        "absent": [name for name in (OPEN_CLIP, TORCHVISION) if name not in peers],
        "compared": f"pixels of the first {BATCH} images of a case, embeddings of the first {EMBEDDED}",
    }
    finish(
        "decode",
        args,
        conditions=conditions,
        laps=laps,
        ratios=ratios,
        differences=differences,
        figures=figures,
    )


def photo(seed: int, width: int = 640, height: int = 480) -> Image.Image:
    """A picture with what matters to a decoder and a resize: shades at all scales, hard edges, and noise."""
    rng = np.random.default_rng(seed)
    values = np.full((height, width, 3), 128, dtype=np.float32)
    for cells, strength in ((4, 60), (16, 30), (64, 15), (160, 8)):
        coarse = rng.normal(scale=strength, size=(3, cells * height // width + 1, cells)).astype(
            np.float32
        )
        for channel, plane in enumerate(coarse):
            values[..., channel] += np.asarray(
                Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC)
            )
    image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, radius, sides = (
            int(rng.integers(low, high))
            for low, high in ((0, width), (0, height), (5, height // 4), (3, 8))
        )
        draw.regular_polygon((x, y, radius), sides, fill=tuple(rng.integers(0, 256, 3).tolist()))
    noisy = np.asarray(image, dtype=np.float32) + rng.normal(scale=4, size=(height, width, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def page(seed: int, width: int = 1700, height: int = 2200) -> Image.Image:
    """A page of a document at 200 dots an inch: black lines of words on white around one photo."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(28)
    for y in range(150, height - 150, 44):
        words = [
            bytes(
                rng.integers(ord("a"), ord("z") + 1, rng.integers(2, 10), dtype=np.uint8)
            ).decode()
            for _ in range(16)
        ]
        draw.text((150, y), " ".join(words)[:88], fill="black", font=font)
    image.paste(photo(seed), (width // 2 - 320, height // 2 - 240))
    return image


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="image files to read instead of generated ones"
    )


def _corpus(args: argparse.Namespace) -> dict[str, list[bytes]]:
    """Image files by case."""
    photos, pages = (16, 4) if args.small else (256, 32)
    if args.images:
        paths = sorted(path for path in args.images.rglob("*") if path.suffix.lower() in SUFFIXES)[
            :photos
        ]
        if not paths:
            raise SystemExit(f"{args.images}: no file that ends in {', '.join(sorted(SUFFIXES))}")
        return {GIVEN: [path.read_bytes() for path in paths]}
    drawn = [page(seed) for seed in range(pages)]
    return {
        "photos 640x480 JPEG": [_encoded(photo(seed), "JPEG") for seed in range(photos)],
        "pages 1700x2200 JPEG": [_encoded(image, "JPEG") for image in drawn],
        "pages 1700x2200 PNG": [_encoded(image, "PNG") for image in drawn],
    }


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return buffer.getvalue()


def _peers(how: Preprocess) -> dict[str, Transform]:
    """What others build; a package that is not installed leaves its name out."""
    peers: dict[str, Transform] = {}
    try:
        from open_clip import image_transform
    except ImportError:
        pass
    else:
        peers[OPEN_CLIP] = image_transform(
            how.size, is_train=False, mean=how.mean, std=how.std, interpolation="bicubic"
        )
    try:
        from torchvision.transforms import InterpolationMode, v2
    except ImportError:
        pass
    else:
        resize = v2.Resize(how.size, InterpolationMode.BICUBIC, antialias=True)
        peers[TORCHVISION] = v2.Compose(
            [v2.RGB(), v2.PILToTensor(), resize, v2.CenterCrop(how.size)]
        )
    return peers


def _ours(
    files: list[bytes], how: Preprocess, device: str
) -> dict[str, Callable[[], torch.Tensor]]:
    def run(mode: str, workers: int, normalised: bool) -> torch.Tensor:
        loaded = prefetch(
            lambda data: how.pixels(_opened(data), mode), files, workers=workers, ahead=2 * BATCH
        )
        pixels: Iterator[torch.Tensor] = batches(
            loaded, BATCH, pin=normalised and device.startswith("cuda")
        )
        if normalised:
            pixels = (how.normalize(batch.to(device, non_blocking=True)) for batch in pixels)
        return _first(pixels)

    runs: dict[str, Callable[[], torch.Tensor]] = {}
    for mode in ("exact", "fast"):
        for workers, title in ((0, "1 thread"), (WORKERS, THREADS)):
            runs[f"{mode}, {title}"] = partial(run, mode, workers, False)
            runs[f"{mode}, {title}, normalised"] = partial(run, mode, workers, True)
    return runs


def _peer(files: list[bytes], transform: Transform) -> torch.Tensor:
    images = (transform(_opened(data)) for data in files)
    return _first(torch.stack(some) for some in iter(lambda: list(islice(images, BATCH)), []))


def _count(run: Callable[[], torch.Tensor], who: str, cpu: dict[str, float]) -> torch.Tensor:
    """Run, and keep the fewest CPU seconds that a run of this contender took, all its threads together."""
    start = time.process_time()
    first = run()
    cpu[who] = min(cpu.get(who, float("inf")), time.process_time() - start)
    return first


def _opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def _first(ready: Iterable[torch.Tensor]) -> torch.Tensor:
    """The first batch; the others are made and dropped, as an encoder would."""
    first, *_ = (batch if i == 0 else None for i, batch in enumerate(ready))
    assert first is not None
    return first.cpu()


def _ratios(case: str, laps: dict[str, Lap]) -> dict[str, float]:
    pairs = {
        "fast over exact, 1 thread": ("exact, 1 thread", "fast, 1 thread"),
        f"exact, {THREADS} over 1": ("exact, 1 thread", f"exact, {THREADS}"),
        f"fast, {THREADS} over 1": ("fast, 1 thread", f"fast, {THREADS}"),
        "exact over open_clip, 1 thread, normalised": (OPEN_CLIP, "exact, 1 thread, normalised"),
        "fast over open_clip, 1 thread, normalised": (OPEN_CLIP, "fast, 1 thread, normalised"),
        "fast over torchvision v2 uint8, 1 thread": (TORCHVISION, "fast, 1 thread"),
    }
    return {
        f"{case}: {what}": laps[slow].best / laps[quick].best
        for what, (slow, quick) in pairs.items()
        if slow in laps
    }


def _differences(case: str, first: dict[str, torch.Tensor]) -> dict[str, tuple[float, float]]:
    """What must agree: nothing may depend on threads, exact is what open_clip makes, fast is within 2 of exact."""
    pairs = {
        f"{mode}, {THREADS} and 1": (f"{mode}, 1 thread", f"{mode}, {THREADS}", 0.0)
        for mode in ("exact", "fast")
    }
    pairs["exact and open_clip, normalised"] = ("exact, 1 thread, normalised", OPEN_CLIP, 1e-6)
    pairs["fast and torchvision v2 uint8"] = ("fast, 1 thread", TORCHVISION, 0.0)
    if case != GIVEN:  # a tall image may differ by more: see Preprocess.pixels
        pairs["fast and exact, uint8"] = ("fast, 1 thread", "exact, 1 thread", 2.0)
    return {
        f"{case}: {what}": (largest_difference(first[a], first[b]), allowed)
        for what, (a, b, allowed) in pairs.items()
        if b in first
    }


def _changes(case: str, first: dict[str, torch.Tensor]) -> dict[str, float]:
    apart = (first["fast, 1 thread"].int() - first["exact, 1 thread"].int()).abs()
    return {
        f"{case}: share of uint8 values that fast changes": (apart > 0).double().mean().item(),
        f"{case}: most that fast changes a uint8 value": float(apart.max()),
    }


def _embeddings(corpus: dict[str, list[bytes]], device: str) -> dict[str, tuple[float, float]]:
    """By case and tower: 1 - cosine of an image's embeddings in both modes, the largest; and that of two images, the mean."""
    tiny = JinaCLIP.from_pretrained(TINY, device=device, dtype="float32")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        random = VisionTower(V1.vision).to(device).eval()
    towers: dict[str, tuple[Preprocess, Callable[[torch.Tensor], torch.Tensor]]] = {
        "the tiny checkpoint": (tiny.preprocess, tiny.get_image_features),
        "the v1 tower with random weights": (Preprocess(size=V1.vision.image_size), random),
    }
    return {
        f"{case}: 1 - cosine of exact and fast, {name}": _apart(files[:EMBEDDED], *tower, device)
        for name, tower in towers.items()
        for case, files in corpus.items()
    }


@torch.inference_mode()
def _apart(
    files: list[bytes], how: Preprocess, tower: Callable[[torch.Tensor], torch.Tensor], device: str
) -> tuple[float, float]:
    rows = []
    for mode in ("exact", "fast"):
        pixels = torch.stack([how.pixels(_opened(data), mode) for data in files])
        rows.append(F.normalize(tower(how.normalize(pixels.to(device))).double(), dim=1))
    apart = 1 - rows[0] @ rows[1].T
    others = ~torch.eye(len(files), dtype=torch.bool, device=apart.device)
    return apart.diagonal().max().item(), apart[others].mean().item()


if __name__ == "__main__":
    main()
