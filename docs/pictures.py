"""Makes the pictures of docs/images that our commands draw of the bundled data, as their pages show them.

python docs/pictures.py [--only fusion.png] [--data DIR]

Takes a few minutes on a CPU, and Chromium (the extra `dev` has what steers it) for pictures of pages.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from explaining import maxsim, scoring
from picturing import github, printed, run, screenshot, shrink, terminal

IMAGES = Path(__file__).parent / "images"
ROOT = Path(__file__).parents[1]
TINY = ROOT / "configs" / "tiny"
# By training step, in standard deviations of the weights
NOISE_AT = dict.fromkeys(range(100, 800, 100), 0.02) | {800: 0.1, 900: 0.2, 1000: 0.22}
SHAPE = re.compile(r"A (?:large|small) (\w+) (?P<shape>\w+) at the [\w ]+\.")
MTEB = "mteb.png"  # the only one of data that is not bundled


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


def overview(folder: Path, picture: Path) -> None:
    """The first page of the site, with the bundled model and one that has become worse."""
    noisy(folder / "checkpoint", 0.1, seed=1)
    run(folder, "evals.run", "scenes", "--model", "tiny", "--model", "new=checkpoint")
    run(folder, "evals.dashboard", "--out", "site")
    screenshot(folder / "site" / "index.html", picture, 1280, 780)


def mistakes(folder: Path, picture: Path) -> None:
    """The page of `evals.mistakes` with thumbnails."""
    sweep(folder)
    command = ["evals.mistakes", "tiny", "scenes.partial", "--html", "mistakes.html"]
    run(folder, *command, "--thumbnails")
    screenshot(folder / "mistakes.html", picture, 1280, 640)


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
    run(folder, "evals.watch", *watch, check=False)  # 1 says that it fell
    run(folder, "evals.dashboard", "--out", "watched")
    screenshot(folder / "watched" / "watched" / "noise.html", picture, 1240, 860)


def scenes(folder: Path, caption: int) -> list[tuple[str, str, bytes]]:
    """Each image of Scenes: its id, its first or second English caption (0 or 1), and its file."""
    import pyarrow.parquet as pq

    run(folder, "evals.items", "scenes", "--subsets", "en", "--to", "items.parquet")
    rows = pq.read_table(folder / "items.parquet").to_pylist()
    captions: dict[str, str] = {}
    for row in rows:
        if row["kind"] == "text":
            image, _, place = row["id"].partition("-en-")
            if place == str(caption):
                captions[image] = row["text"]
    return [
        (row["id"], captions[row["id"]], row["image"]) for row in rows if row["kind"] == "image"
    ]


def own_data(folder: Path, picture: Path) -> None:
    """A folder of images and a table of their captions, measured by one command."""
    photos = folder / "photos"
    photos.mkdir()
    lines = ["image,caption"]
    for name, caption, image in scenes(folder, caption=1)[:200]:
        (photos / f"{name}.png").write_bytes(image)
        lines.append(f'{name}.png,"{caption}"')
    (photos / "captions.csv").write_text("\n".join(lines) + "\n")
    listing = "captions.csv  scene-0000.png  scene-0001.png  …\n"
    start = "\n".join(lines[:3]) + "\n"
    command = "evals.run captions:photos --model tiny --dims 256,64"
    terminal(
        folder,
        picture,
        ("ls photos", listing),
        ("head -3 photos/captions.csv", start),
        (f"python -m {command}", printed(folder, *command.split())),
    )


def report(folder: Path, picture: Path) -> None:
    """A published table beside records that hold its numbers, one of them changed."""
    sys.path.insert(0, str(ROOT))
    from evals.report.names import Place
    from tests.published_toys import WIDTHS, write_record

    recalls = {"jina-clip-v2": (0.8153, 0.684), "jina-clip-v1": (0.789, 0.6605)}
    for model, (i2t, t2i) in recalls.items():
        values = {
            Place("coco", None, "en", direction, "R@5", None): value
            for direction, value in (("i2t", i2t), ("t2i", t2i))
        }
        width = WIDTHS.get(model, 1024)
        write_record(folder / "published", "coco", model, values, width=width)
    command = "evals.report --table v2post-coco --results published"
    terminal(folder, picture, (f"python -m {command}", printed(folder, *command.split())))


def gate(folder: Path, picture: Path) -> None:
    """The gate's comment on a model that has become worse."""
    noisy(folder / "checkpoint", 0.15, seed=1)
    run(folder, "evals.run", "scenes", "--model", "tiny", "--model", "new=checkpoint")
    words = ["--baseline", "ci", "--as", "tiny=new", "--markdown", "gate.md"]
    run(folder, "evals.regress", *words, check=False)  # 1 says that it regressed
    text = (folder / "gate.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    hidden = {*rows[10:], *(line for line in text.splitlines() if line.startswith("…"))}
    # The first rows tell what a page has room for, and nobody wants to see our folder.
    shown = "\n".join(line for line in text.splitlines() if line not in hidden)
    (folder / "gate.md").write_text(shown.replace(f"{folder}/", ""))
    github(folder, folder / "gate.md", picture, 960)


def classes(folder: Path, picture: Path) -> None:
    """Pictures of one shape, in a folder per shape: which is it?"""
    for name, caption, image in scenes(folder, caption=0):
        alone = SHAPE.fullmatch(caption)
        if alone:
            target = folder / "shapes" / alone["shape"]
            target.mkdir(parents=True, exist_ok=True)
            (target / f"{name}.png").write_bytes(image)
    run(folder, "evals.run", "labels:shapes", "--model", "tiny")
    command = "evals.run labels:shapes --model tiny --dims 256,64,16"
    names = "  ".join(sorted(path.name for path in (folder / "shapes").iterdir()))
    terminal(
        folder,
        picture,
        ("ls shapes", f"{names}\n"),
        (f"python -m {command}", printed(folder, *command.split())),
    )


def proof(folder: Path, picture: Path) -> None:
    """A record that is whole, and the same with one digit changed."""
    run(folder, "evals.run", "scenes", "--model", "tiny")
    whole = printed(folder, "evals.verify", "results/runs")
    [metrics] = (folder / "results").glob("runs/*/*/*/metrics.jsonl")
    text = metrics.read_text()
    value = str(json.loads(text.splitlines()[0])["value"])
    changed = value[:-1] + ("1" if value[-1] != "1" else "2")
    metrics.write_text(text.replace(value, changed, 1))
    broken = printed(folder, "evals.verify", "results/runs")
    verify = "python -m evals.verify results/runs"
    edit = f"sed -i '1s/{value}/{changed}/' results/runs/*/*/*/metrics.jsonl"
    terminal(folder, picture, (verify, whole), (f"{edit} && {verify}", broken))


def claims(folder: Path, picture: Path) -> None:
    """A card's table beside a record: rounded as cards do, one of its numbers half a point too high."""
    run(folder, "evals.run", "scenes", "--model", "tiny")
    [metrics] = (folder / "results").glob("runs/*/*/*/metrics.jsonl")
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    rows = ["model,benchmark,metric,value"]
    for line in lines:
        if line["metric"] == "R" and line["subset"] == "en":
            too_high = 0.5 if (line["direction"], line["k"]) == ("t2i", 1) else 0.0
            value = 100 * line["value"] + too_high
            rows.append(f"tiny,scenes/en,{line['direction']}/R@{line['k']},{value:.1f}")
    rows.append("tiny,flickr/en,t2i/R@1,30.0")
    (folder / "card.csv").write_text("\n".join(rows) + "\n")
    command = "evals.report --claims card.csv"
    listing = "\n".join([*rows[:3], "…"]) + "\n"
    text = printed(folder, *command.split())
    terminal(folder, picture, ("cat card.csv", listing), (f"python -m {command}", text))


def mteb_tasks(folder: Path, picture: Path) -> None:
    """Two tasks of mteb by `tiny`, from copies of their data."""
    command = "evals.run mteb:STSBenchmark mteb:SciFact --data copies --model tiny --dims 256,64"
    text = printed(folder, *command.split())
    terminal(folder, picture, (f"python -m {command}", text))


PICTURES: Mapping[str, Callable[[Path, Path], None]] = {
    "ci.png": gate,
    "claims.png": claims,
    "classification.png": classes,
    "comparison.png": comparison,
    "fusion.png": fusion,
    "matryoshka.png": matryoshka,
    "mistakes.png": mistakes,
    MTEB: mteb_tasks,
    "maxsim.png": maxsim,
    "own-data.png": own_data,
    "proof.png": proof,
    "report.png": report,
    "scoring.png": scoring,
    "site.png": overview,
    "watch-page.png": watched,
}


def main() -> None:
    """Make all pictures, or one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=sorted(PICTURES))
    parser.add_argument(
        "--data",
        type=Path,
        help=f"Folder with copies of mteb/stsbenchmark-sts and mteb/scifact: {MTEB} needs them.",
    )
    chosen = parser.parse_args()
    for picture, make in PICTURES.items():
        is_chosen = chosen.only == picture if chosen.only else picture != MTEB or chosen.data
        if not is_chosen:
            continue
        with tempfile.TemporaryDirectory() as name:
            if chosen.data:
                (Path(name) / "copies").symlink_to(chosen.data.resolve())
            make(Path(name), IMAGES / picture)
            shrink(IMAGES / picture)


if __name__ == "__main__":
    main()
