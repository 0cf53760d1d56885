"""Makes the pictures of docs/images that our commands draw of the bundled data, as their pages show them.

python docs/pictures.py [--only fusion.png]

Takes a few minutes on a CPU, and Chromium (the extra `dev` has what steers it) for pictures of pages.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
TINY = Path(__file__).parents[1] / "configs" / "tiny"
MOST_BYTES = 100_000
COLOURS = 64  # more than our charts and pages have; photographs would need 256
# By training step, in standard deviations of the weights
NOISE_AT = dict.fromkeys(range(100, 800, 100), 0.02) | {800: 0.1, 900: 0.2, 1000: 0.22}
ARGUMENTS = ["--no-sandbox", "--disable-gpu"]


def run(folder: Path, module: str, *words: str) -> None:
    """`python -m MODULE WORDS` in a folder; CalledProcessError where it fails."""
    subprocess.run([sys.executable, "-m", module, *words], cwd=folder, check=True)


def screenshot(page: Path, picture: Path, width: int, height: int) -> None:
    """The upper part of a page, as a window of so many pixels shows it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        window = browser.new_page(viewport={"width": width, "height": height})
        window.goto(page.as_uri())
        # Charts are drawn by a script after the page is there.
        window.wait_for_load_state("networkidle")
        window.screenshot(path=picture)
        browser.close()


def sweep(folder: Path) -> None:
    """The record that the others look at, once."""
    if not (folder / "results").exists():
        run(folder, "evals.mrl_sweep", "--dims", "32,64,128,256", "--subsets", "en", "--no-figures")


def comparison(folder: Path, picture: Path) -> None:
    """The page of `evals.compare --html`."""
    sweep(folder)
    named = ["tiny", "tiny@64", "--benchmarks", "scenes.partial"]
    run(folder, "evals.compare", *named, "--html", "comparison.html", "--no-figures")
    screenshot(folder / "comparison.html", picture, 900, 780)


def matryoshka(folder: Path, picture: Path) -> None:
    """The page of the site that shows what fewer dimensions keep."""
    sweep(folder)
    run(folder, "evals.dashboard", "--out", "site")
    screenshot(folder / "site" / "matryoshka.html", picture, 1240, 980)


def fusion(folder: Path, picture: Path) -> None:
    """The figure of `evals.fusion`."""
    run(folder, "evals.fusion", "scenes", "--subsets", "en", "--figures", "fusion")
    [figure] = (folder / "fusion").glob("*alpha-en*.png")
    shutil.copy(figure, picture)


def noisy(folder: Path, noise: float, seed: int) -> None:
    """The bundled model with noise in its weights, of so many standard deviations of each."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    shutil.copytree(TINY, folder)
    file = folder / "model.safetensors"
    with safe_open(file, "pt") as weights:
        metadata = weights.metadata()
        tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    drawn = torch.Generator().manual_seed(seed)
    for name, tensor in tensors.items():
        if tensor.ndim > 1:
            tensors[name] = tensor + noise * tensor.std() * torch.randn(
                tensor.shape, generator=drawn
            )
    save_file(tensors, file, metadata)


def watched(folder: Path, picture: Path) -> None:
    """The site's page of a run in which nothing is learned, and noise breaks the last checkpoints."""
    for step, noise in NOISE_AT.items():
        noisy(folder / "noise" / f"step-{step}", noise, seed=step)
    watch = ["noise", "--once", "--settle", "0", "--go-on", "--baseline", "tiny"]
    # 1 says that it fell
    subprocess.run([sys.executable, "-m", "evals.watch", *watch], cwd=folder, check=False)
    run(folder, "evals.dashboard", "--out", "watched")
    screenshot(folder / "watched" / "watched" / "noise.html", picture, 1240, 860)


PICTURES: Mapping[str, Callable[[Path, Path], None]] = {
    "comparison.png": comparison,
    "fusion.png": fusion,
    "matryoshka.png": matryoshka,
    "watch-page.png": watched,
}


def shrink(picture: Path) -> None:
    """Fewer colours, so that a clone stays small; ValueError where that is not enough."""
    from PIL import Image

    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(COLOURS)
    small.save(picture, optimize=True)
    size = picture.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{picture}: {size:,} bytes, and {MOST_BYTES:,} are the most.")


def main() -> None:
    """Make all pictures, or one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=sorted(PICTURES))
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as name:
        for picture, make in PICTURES.items():
            if only in (None, picture):
                make(Path(name), IMAGES / picture)
                shrink(IMAGES / picture)


if __name__ == "__main__":
    main()
