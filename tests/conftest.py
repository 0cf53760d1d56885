"""Fixtures that more than one room needs: tiny random checkpoints in the official layout, and where shared data lies."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from jina_clip import ClipConfig, JinaCLIP
from tests.api_service import service, waits  # noqa: F401 - fixtures for every file
from tests.faults import SEED
from tests.hub import hub  # noqa: F401 - a fixture for every file
from tests.ranking import small_blocks  # noqa: F401 - a fixture of several files
from tests.rival_models import (  # noqa: F401 - of several files
    clip_model,
    nllb,
    pali_model,
    reader_model,
    several_model,
    text_model,
    vit,
)

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the development data is not on this machine"
)


# How busy a machine is says nothing of the code; all else stays as it is here or under CI.
settings.register_profile(
    "busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")

SINGLE = "faults: single cases"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("faults"):
        item.user_properties.append((SINGLE, 1))
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("takes a CUDA card")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many faults were tried, by kind, and from which seed on.

    A test says `record_property("faults: KIND", COUNT)`, or is marked `faults` and counts as one.
    """
    counts: dict[str, int] = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        properties = [entry for entry in report.user_properties if entry[0].startswith("faults")]
        for key, count in properties:
            if len(properties) > 1 and key == SINGLE:
                continue
            kind = key.partition(": ")[2] or report.nodeid.partition("[")[0]
            counts[kind] = counts.get(kind, 0) + count
    if counts:
        terminalreporter.section("faults", sep="-")
        terminalreporter.write_line(f"seed {SEED}, {sum(counts.values()):,} faults tried")
        for kind, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:7,}  {kind}")


def official_config(
    version: str, text: dict[str, Any], vision: dict[str, Any], **top: Any
) -> dict[str, Any]:
    """A config.json in the official layout for a small model of v1's or v2's kind."""
    backbone = {"v1": "jinaai/jina-bert-flash-implementation", "v2": "jinaai/jina-embeddings-v3"}[
        version
    ]
    lora = (
        {"lora_adaptations": ["retrieval.query"], "lora_alpha": 4, "lora_rank": 4}
        if version == "v2"
        else {}
    )
    instruction = {"retrieval.query": "Represent the query for retrieving evidence documents: "}
    return {
        "model_type": "jina_clip",
        "torch_dtype": "float32",
        "text_config": {
            "embed_dim": text["hidden_size"],
            "hf_model_name_or_path": backbone,
            "hf_model_config_kwargs": {
                **lora,
                **({"task_instructions": instruction} if lora else {}),
                **text,
            },
            "default_lora_task": "retrieval.query" if lora else None,
            "pooler_type": "mean_pooler",
            "proj_type": None,
        },
        "vision_config": {
            "embed_dim": vision["width"],
            "mlp_ratio": 2.6667,
            "qkv_bias": True,
            "rope_embeddings": True,
            "subln": True,
            "naive_swiglu": True,
            **vision,
        },
        **top,
    }


def golden_config(version: str) -> dict[str, Any]:
    """The config of golden/vN_tiny.json in the official layout."""
    sizes = json.loads((GOLDEN / f"{version}_tiny.json").read_text())
    return official_config(version, sizes["text"], sizes["vision"])


def word_tokenizer(
    words: str = "a the cat dog sits runs on under red blue", *, pad: int = 1
) -> Tokenizer:
    """A tokenizer with a word list, XLM-R's special ids and its template."""
    special = ["<s>", "<pad>", "</s>", "<unk>"] if pad == 1 else ["<pad>", "<unk>", "<s>", "</s>"]
    vocab = {token: i for i, token in enumerate([*special, *words.split()])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", vocab["<s>"]), ("</s>", vocab["</s>"])]
    )
    return tokenizer


SMALL_TEXT = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
SMALL_VISION = {
    "width": 32,
    "head_width": 16,
    "layers": 2,
    "image_size": 32,
    "patch_size": 8,
    "pt_hw_seq_len": 4,
}


def small_model(version: str = "v2", seed: int = 0) -> JinaCLIP:
    """A random model of 32 dimensions with a word tokenizer."""
    torch.manual_seed(seed)
    dims = {"matryoshka_dimensions": [8, 16, 32]} if version == "v2" else {}
    config = official_config(
        version, SMALL_TEXT, {**SMALL_VISION, "intp_freq": version == "v2"}, **dims
    )
    return JinaCLIP(
        ClipConfig.from_dict(config), tokenizer=word_tokenizer(pad=1 if version == "v2" else 0)
    ).eval()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random v2-like checkpoint folder of 32 dimensions."""
    return small_model("v2").save_pretrained(tmp_path_factory.mktemp("checkpoints") / "small-v2")


@pytest.fixture(scope="session")
def checkpoint_v1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random v1-like checkpoint folder of 32 dimensions."""
    return small_model("v1").save_pretrained(tmp_path_factory.mktemp("checkpoints") / "small-v1")


@pytest.fixture(scope="session")
def scenes_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of `tiny` on Scenes in English and German at 256 and 64 dimensions, ROOT/runs beside ROOT/store."""
    from evals.config.choice import choose
    from evals.jobs import evaluate_all
    from evals.settings import Settings

    root = tmp_path_factory.mktemp("scenes")
    languages = ("en", "de")
    settings = Settings(subsets=languages, results=root / "runs", store=root / "store")
    work, _ = choose(["scenes"], [], subsets=languages)
    (outcome,), failures = evaluate_all(work, ["tiny"], lambda width: (width, 64), settings)
    assert not failures
    return outcome.path
