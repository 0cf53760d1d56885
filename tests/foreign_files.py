"""Result files and folders as mteb and CLIP_benchmark write them, for the tests that read them."""

import json
from pathlib import Path
from typing import Any

TASK: dict[str, Any] = {
    "task_name": "SciFact",
    "dataset_revision": "d" * 40,
    "mteb_version": "2.26.24",
    "evaluation_time": 1.0,
    "scores": {
        "test": [
            {
                "main_score": 0.25,
                "ndcg_at_10": 0.25,
                "hf_subset": "default",
                "languages": ["eng-Latn"],
            }
        ]
    },
}
# The keys of `dump` in clip_benchmark/cli.py, in its order.
CLIP: dict[str, Any] = {
    "dataset": "flickr30k",
    "model": "ViT-B-32",
    "pretrained": "laion2b_s34b_b79k",
    "task": "zeroshot_retrieval",
    "metrics": {"image_retrieval_recall@1": 0.5, "text_retrieval_recall@1": 0.75},
    "language": "en",
}


def write(path: Path, body: dict[str, Any], **fields: Any) -> Path:
    """A JSON file of `body` with other `fields`; the folders of the path are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body | fields))
    return path


def mteb_folder(root: Path, model: str = "org/theirs", revision: str = "e" * 40) -> Path:
    """A results folder with one task: results/ORG__MODEL/REVISION/TASK.json and model_meta.json."""
    folder = root / "results" / model.replace("/", "__") / revision
    write(folder / "model_meta.json", {"name": model, "revision": revision, "loader": None})
    write(folder / "SciFact.json", TASK)
    return root / "results"


# Turns the text after it around, where it is not shown as what it is.
ODD = "rev\u202eersed"


def files(root: Path) -> Path:
    """A folder of result files of both tools, one of them broken, and names that are markup."""
    mteb_folder(root / "mteb")
    dataset = {"dataset": "mscoco_captions"}
    write(root / "clip" / "markup.json", CLIP, model="<script>alert(1)</script>", **dataset)
    write(root / "clip" / "odd.json", CLIP, model=ODD)
    write(root / "clip" / "broken.json", CLIP, metrics={"acc1": 50})
    return root
