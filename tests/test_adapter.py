"""A PEFT adapter is merged as PEFT would merge it, and what is no plain LoRA is refused by its key."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from evals.config.models import resolve_model
from evals.encoders.jina import JinaEncoder
from evals.evaluation.load import build_encoder
from evals.records.identity import ModelIdentity
from evals.report.checkpoints import Pinned
from evals.schema import ConfigError, InvalidError, MissingError, Side
from evals.settings import Settings
from jina_clip import Checkpoint, CheckpointError, JinaCLIP
from jina_clip.adapter import Adapter
from jina_clip.model import expected_shapes
from jina_clip.weights import after_merging, official_tensors
from tests.checkpoints import edited

QKV = "text_model.transformer.roberta.encoder.layers.0.mixer.Wqkv"
WORDS = "text_model.transformer.roberta.embeddings.word_embeddings"
QUERY = "vision_model.blocks.1.attn.q_proj"
NORM = "vision_model.norm"
CONFIG = {
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 6,
    "target_modules": ["layers.0.mixer.Wqkv", "word_embeddings", "blocks.1.attn.q_proj"],
    "modules_to_save": [NORM],
    # as PEFT writes them
    "base_model_name_or_path": "jinaai/jina-clip-v2",
    "bias": "none",
    "init_lora_weights": True,
    "layers_to_transform": None,
    "lora_dropout": 0.1,
    "rank_pattern": {},
    "use_dora": False,
    "use_rslora": False,
}


def wrapped(name: str) -> str:
    return f"base_model.model.{name}"


def random_tensors(rank: int = 2) -> dict[str, Tensor]:
    """Of a model of 32 dimensions with 40 words."""
    rng = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng)

    tensors = {
        f"{QKV}.lora_A.weight": draw(rank, 32),
        f"{QKV}.lora_B.weight": draw(96, rank),
        f"{WORDS}.lora_embedding_A": draw(rank, 40),
        f"{WORDS}.lora_embedding_B": draw(32, rank),
        f"{QUERY}.lora_A.weight": draw(rank, 32),
        f"{QUERY}.lora_B.weight": draw(32, rank),
        f"{NORM}.weight": draw(32),
        f"{NORM}.bias": draw(32),
    }
    return {wrapped(name): tensor for name, tensor in tensors.items()}


@pytest.fixture
def base(checkpoint: Path, tmp_path: Path) -> Path:
    """A v2-like checkpoint whose own LoRA is not zero."""

    def randomise(config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        for name in tensors:
            if ".lora_" in name:
                tensors[name] = torch.full_like(tensors[name], 0.1)

    (tmp_path / "base").mkdir()
    return edited(checkpoint, tmp_path / "base", randomise)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An adapter of it."""
    return written(tmp_path / "lora-7", CONFIG, random_tensors())


def written(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def shapes(checkpoint: Path) -> dict[str, tuple[int, ...]]:
    """Of the weights that an adapter may change."""
    return after_merging(expected_shapes(Checkpoint.in_folder(checkpoint).config()))


def checked(
    config: dict[str, Any], tensors: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]
) -> Adapter:
    adapter = Adapter.from_bytes(json.dumps(config).encode(), save(tensors))
    adapter.check_fit(shapes)
    return adapter


def official(model: JinaCLIP) -> dict[str, Tensor]:
    """The weights under the official names, after merging."""
    tensors = dict(official_tensors(model.state_dict(), model.config))
    kept = {name: tensor for name, tensor in tensors.items() if ".lora_" not in name}
    return {
        name.replace(".parametrizations.weight.original", ".weight"): tensor
        for name, tensor in kept.items()
    }


def test_two_by_two_by_hand() -> None:
    """W + alpha / r B A, where B A = [[3, 6], [4, 8]]; the table of an Embedding gets its transpose."""
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 2, "target_modules": ["q", "words"]}
    matrices = {"q.lora_A.weight": [[1.0, 2.0]], "q.lora_B.weight": [[3.0], [4.0]]}
    matrices |= {"words.lora_embedding_A": [[1.0, 2.0]], "words.lora_embedding_B": [[3.0], [4.0]]}
    tensors = {f"base_model.model.{name}": torch.tensor(a) for name, a in matrices.items()}
    adapter = Adapter.from_bytes(json.dumps(config).encode(), save(tensors))
    adapter.check_fit({"q.weight": (2, 2), "words.weight": (2, 2), "q.bias": (2,)})
    assert adapter.merged("q.weight", torch.eye(2)).tolist() == [[7, 12], [8, 17]]
    assert adapter.merged("words.weight", torch.eye(2)).tolist() == [[7, 8], [12, 17]]
    assert adapter.merged("q.bias", torch.ones(2)).tolist() == [1, 1]


@pytest.mark.parametrize(("rslora", "scale"), [(False, 6 / 4), (True, 6 / 4**0.5)])
def test_the_scale_is_alpha_by_the_rank_or_by_its_root(base, tmp_path, rslora, scale) -> None:
    config, tensors = CONFIG | {"r": 4, "use_rslora": rslora}, random_tensors(rank=4)
    folder = written(tmp_path / "adapter", config, tensors)
    before = official(JinaCLIP.from_pretrained(base, device="cpu"))
    after = official(JinaCLIP.from_pretrained(base, adapter=folder, device="cpu"))
    a, b = (tensors[wrapped(f"{QKV}.lora_{side}.weight")] for side in "AB")
    torch.testing.assert_close(after[f"{QKV}.weight"], before[f"{QKV}.weight"] + b @ a * scale)


def test_what_the_adapter_does_not_name_stays_as_it_was(base, folder) -> None:
    before = official(JinaCLIP.from_pretrained(base, device="cpu"))
    after = official(JinaCLIP.from_pretrained(base, adapter=folder, device="cpu"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    modules = {f"{name}.weight" for name in (QKV, WORDS, QUERY, NORM)}
    assert changed == {*modules, f"{NORM}.bias"}
    assert torch.equal(after[f"{NORM}.bias"], random_tensors()[wrapped(f"{NORM}.bias")])


def test_a_merge_into_half_precision_is_summed_in_float32(base, folder) -> None:
    full = official(JinaCLIP.from_pretrained(base, adapter=folder, device="cpu"))
    half = official(JinaCLIP.from_pretrained(base, adapter=folder, device="cpu", dtype="bfloat16"))
    for name in (QKV, QUERY, WORDS):
        assert torch.equal(half[f"{name}.weight"], full[f"{name}.weight"].bfloat16())


def test_a_base_in_half_precision_is_widened_before_the_sum(checkpoint, folder, tmp_path) -> None:
    """What training changed is often smaller than a step of bfloat16."""
    half = JinaCLIP.from_pretrained(checkpoint, device="cpu")
    half = half.save_pretrained(tmp_path / "half", dtype="bfloat16")
    before = official(JinaCLIP.from_pretrained(half, device="cpu"))
    after = official(JinaCLIP.from_pretrained(half, adapter=folder, device="cpu"))
    a, b = (random_tensors()[wrapped(f"{QUERY}.lora_{side}.weight")] for side in "AB")
    change = after[f"{QUERY}.weight"] - before[f"{QUERY}.weight"]
    torch.testing.assert_close(change, b @ a * 3, rtol=0, atol=1e-5)


@pytest.mark.parametrize("version", ["checkpoint", "checkpoint_v1"])
@pytest.mark.parametrize("rslora", [False, True])
def test_peft_merges_the_same_weights(request, tmp_path, version, rslora) -> None:
    peft = pytest.importorskip("peft")
    folder = request.getfixturevalue(version)
    before = official(JinaCLIP.from_pretrained(folder, device="cpu"))
    config = peft.LoraConfig(
        r=3,
        lora_alpha=7,
        use_rslora=rslora,
        target_modules=["Wqkv", "q_proj", "word_embeddings", "mlp.w3"],
        modules_to_save=["vision_model.norm"],
    )
    tuned = peft.get_peft_model(as_modules(before), config)
    torch.manual_seed(0)
    for name, parameter in tuned.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            nn.init.normal_(parameter)
    tuned.save_pretrained(tmp_path / "adapter")
    expected = tuned.merge_and_unload().state_dict()
    merged = JinaCLIP.from_pretrained(folder, adapter=tmp_path / "adapter", device="cpu")
    tensors = official(merged)
    assert (
        sum(not torch.equal(tensors[name], before[name]) for name in tensors) == 2 + 2 + 2 + 1 + 2
    )
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected[name], msg=name)


def as_modules(tensors: dict[str, Tensor]) -> nn.Module:
    """Modules of these names, a Linear, an Embedding or a LayerNorm each, as PEFT looks for them."""
    root = nn.Module()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        parent = root
        for part in path[:-1]:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent._modules[part]
        module = parent._modules.get(path[-1]) if path else root
        if module is None:
            module = nn.Module()
            if last == "weight" and tensor.ndim == 2:
                rows, columns = tensor.shape
                is_table = "embeddings" in name
                kind = nn.Embedding(rows, columns) if is_table else nn.Linear(columns, rows)
                module = kind
            parent.add_module(path[-1], module)
        module.register_parameter(last, nn.Parameter(tensor.clone()))
    return root


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "LOHA"}, r"peft_type is 'LOHA'; only LORA"),
        ({"use_dora": True}, r"use_dora is True, which is no plain LoRA"),
        ({"bias": "lora_only"}, r"bias is 'lora_only', which is no plain LoRA"),
        ({"rank_pattern": {"Wqkv": 8}}, r"rank_pattern is .*, which is no plain LoRA"),
        ({"alpha_pattern": {"Wqkv": 8}}, r"alpha_pattern is"),
        ({"layers_to_transform": [0]}, r"layers_to_transform is \[0\]"),
        ({"exclude_modules": ["x"]}, r"exclude_modules is"),
        ({"fan_in_fan_out": True}, r"fan_in_fan_out is True"),
        ({"trainable_token_indices": [3]}, r"trainable_token_indices is \[3\]"),
        ({"init_lora_weights": "pissa"}, r"init_lora_weights is 'pissa', which changes the base"),
        ({"init_lora_weights": 1}, r"init_lora_weights is 1"),
        ({"surprise": 0}, r"surprise is 0, which is no plain LoRA\. Merge it with PEFT"),
        ({"r": 0}, r"adapter_config\.json\.r is 0"),
        ({"r": 3}, r"matrices of \S+ are \[2, \d+\] and \[\d+, 2\], where r is 3"),
        ({"lora_alpha": "6"}, r"lora_alpha is '6', not a positive number"),
        ({"use_rslora": "yes"}, r"use_rslora is 'yes', not true or false"),
        ({"target_modules": None}, r"target_modules is None, not a list"),
        (
            {"target_modules": [*CONFIG["target_modules"], "k_proj_"]},
            r"target_modules has 'k_proj_', which the base model has not",
        ),
        (
            {"target_modules": ["Wqkv", "word_embeddings", "q_proj"]},
            r"nothing for \S+layers\.1\.mixer\.Wqkv\.weight, which 'Wqkv' of target_modules means",
        ),
        (
            {"target_modules": CONFIG["target_modules"][1:]},
            r"layers\.0\.mixer\.Wqkv\.weight is not of target_modules",
        ),
        ({"modules_to_save": None}, r"vision_model\.norm\.bias is not of modules_to_save"),
        ({"modules_to_save": [NORM, "head"]}, r"modules_to_save has 'head', which the base"),
        (
            {"modules_to_save": ["norm", "norm2"]},
            r"nothing for \S+, which 'norm2' of modules_to_save",
        ),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_a_config_that_is_no_plain_lora_is_refused_by_its_key(shapes, change, message):
    with pytest.raises(CheckpointError, match=message):
        checked(CONFIG | change, random_tensors(), shapes)


Tensors = dict[str, Tensor]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(wrapped(f"{QKV}.lora_B.weight")), r"Wqkv\.lora_B\.weight is missing"),
        (lambda t: t.pop(wrapped(f"{QKV}.lora_A.weight")), r"Wqkv\.lora_B\.weight is no matrix"),
        (
            lambda t: t.update({wrapped(f"{QKV}.lora_magnitude_vector"): torch.ones(96)}),
            r"lora_magnitude_vector is no matrix of a plain LoRA pair",
        ),
        (lambda t: t.update({"surprise": torch.ones(1)}), r"surprise does not begin with base_mod"),
        (
            lambda t: t.update({wrapped("surprise.weight"): torch.ones(1)}),
            r"surprise\.weight is no weight of the base model",
        ),
        (
            lambda t: t.update({wrapped(f"{QKV}.lora_B.weight"): torch.ones(64, 2)}),
            r"Wqkv\.weight is \[64, 32\], in the base model \[96, 32\]",
        ),
        (
            lambda t: t.update({wrapped(f"{NORM}.bias"): torch.ones(31)}),
            r"norm\.bias is \[31\], in the base model \[32\]",
        ),
        (
            lambda t: t.update({wrapped(f"{QKV}.lora_A.weight"): torch.ones(2, 32).to(torch.int8)}),
            r"Wqkv\.lora_A\.weight is int8, which is no float",
        ),
        (lambda t: t.pop(wrapped(f"{NORM}.bias")), r"nothing for vision_model\.norm\.bias"),
        (dict.clear, r"holds no LoRA pair"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(
    shapes, change: Callable[[Tensors], object], message
) -> None:
    tensors = random_tensors()
    change(tensors)
    with pytest.raises(CheckpointError, match=message):
        checked(CONFIG, tensors, shapes)


def test_what_is_known_or_not_set_is_no_obstacle(shapes) -> None:
    """Releases of PEFT add settings, which are null unless somebody uses them.

    A pattern of targets is not run, since a hostile one would never end: the pairs say which
    modules are meant.
    """
    change = {"kasa_config": None, "init_lora_weights": "gaussian", "target_modules": "(.*.*)*x"}
    adapter = checked(CONFIG | change, random_tensors(), shapes)
    assert {f"{name}.weight" for name in (QKV, WORDS, QUERY)} == set(adapter.pairs)


def test_an_adapter_beside_the_weights_is_merged_when_it_is_named(base, folder) -> None:
    expected = JinaCLIP.from_pretrained(base, adapter=folder, device="cpu").encode_text("a cat")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(folder / name, base / name)
    with pytest.raises(CheckpointError, match="a PEFT adapter lies beside the weights"):
        JinaCLIP.from_pretrained(base, device="cpu")
    with pytest.raises(CheckpointError, match="a PEFT adapter lies beside the weights"):
        JinaCLIP.from_pretrained(base, adapter=folder, device="cpu")
    merged = JinaCLIP.from_pretrained(base, adapter=base, device="cpu")
    np.testing.assert_array_equal(merged.encode_text("a cat"), expected)


def test_a_folder_that_is_an_adapter_alone_says_so(base, folder) -> None:
    with pytest.raises(CheckpointError, match=r"lies alone here, .*--model BASE\+adapter:FOLDER"):
        JinaCLIP.from_pretrained(folder)
    with pytest.raises(FileNotFoundError, match=r"adapter_config\.json is missing"):
        JinaCLIP.from_pretrained(base, adapter=base)


def test_the_identity_is_that_of_the_base_and_both_files_of_the_adapter(base, folder) -> None:
    def identity() -> str:
        return Checkpoint.in_folder(base, folder).bound().weights_sha256

    plain, merged = Checkpoint.in_folder(base).bound().weights_sha256, identity()
    parts = {
        "adapter_config.json": sha256(folder / "adapter_config.json"),
        "adapter_model.safetensors": sha256(folder / "adapter_model.safetensors"),
        "base": sha256(base / "model.safetensors"),
    }
    assert parts["base"] == plain
    assert merged == hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    identities = {plain, merged}
    for path in (folder / "adapter_config.json", folder / "adapter_model.safetensors"):
        path.write_bytes(path.read_bytes() + b" ")
        identities.add(identity())
    assert len(identities) == 4


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_that_changes_after_it_was_hashed_stops_the_load_by_name(base, folder, name):
    bound = Checkpoint.in_folder(base, folder).bound()
    JinaCLIP.from_checkpoint(bound, device="cpu")
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(CheckpointError, match=f"{name} has changed since the run began"):
        JinaCLIP.from_checkpoint(bound, device="cpu")


def test_the_command_line_names_base_and_adapter_in_one(base, folder) -> None:
    ref = resolve_model(f"{base}+adapter:{folder}")
    assert (ref.name, ref.folder, ref.adapter) == ("base-lora-7", base, folder)
    assert not ref.name_chosen
    assert resolve_model(f"mine={base}+adapter:{folder}").name == "mine"
    assert resolve_model(f"org/model@v1+adapter:{folder}").repo == "org/model"
    assert resolve_model(f"tiny+adapter:{folder}").name == "tiny-lora-7"
    with pytest.raises(
        ConfigError, match="only jina-clip models take an adapter, and st:x is sent"
    ):
        resolve_model(f"st:x+adapter:{folder}")
    with pytest.raises(MissingError, match="no such folder of a PEFT adapter"):
        resolve_model(f"{base}+adapter:{folder}x")


def test_a_merged_model_is_measured_under_an_identity_of_its_own(base, folder) -> None:
    encoder = build_encoder(resolve_model(f"{base}+adapter:{folder}"), Settings(device="cpu"))
    assert isinstance(encoder, JinaEncoder)
    side = Side("text", ["a cat"], ["t0"], ["h0"])
    merged = JinaCLIP.from_pretrained(base, adapter=folder, device="cpu")
    np.testing.assert_allclose(encoder.encode(side)[0], merged.encode_text("a cat"), atol=1e-6)
    identity = ModelIdentity.of(encoder.name, encoder.source, encoder.fingerprint, encoder.dim)
    assert identity.place == f"{base}+adapter:{folder}"
    assert identity.weights == encoder.checkpoint.weights_sha256


def test_a_merged_model_is_not_the_published_one_that_it_was_made_of(base, folder) -> None:
    encoder = JinaEncoder(name="x", folder=base, adapter=folder, device="cpu")
    from_hub = encoder._source("org/model", "main")
    pinned = Pinned(("x",), 32, "org/model", base.name)
    assert not pinned.accepts(ModelIdentity.of("x", from_hub, {}, 32))
    assert from_hub == {"folder": str(folder), "base": f"org/model@{base.name}"}


def test_an_adapter_that_does_not_fit_is_refused_before_any_data_is_read(base, tmp_path) -> None:
    folder = written(tmp_path / "adapter", CONFIG | {"use_dora": True}, random_tensors())
    with pytest.raises(InvalidError, match=r"adapter_config\.json: use_dora is True") as refused:
        JinaEncoder(name="x", folder=base, adapter=folder, device="cpu")
    assert str(folder) in str(refused.value)
    tensors = random_tensors() | {wrapped("surprise.weight"): torch.ones(1)}
    written(folder, CONFIG, tensors)
    with pytest.raises(
        InvalidError, match=r"surprise\.weight is no weight of the base model\. Name the base"
    ) as refused:
        JinaEncoder(name="x", folder=base, adapter=folder, device="cpu")
    assert str(folder) in str(refused.value)


def test_a_merged_model_is_saved_as_a_checkpoint_of_its_own(base, folder, tmp_path) -> None:
    merged = JinaCLIP.from_pretrained(base, adapter=folder, device="cpu")
    again = JinaCLIP.from_pretrained(merged.save_pretrained(tmp_path / "saved"), device="cpu")
    np.testing.assert_array_equal(again.encode_text("a cat"), merged.encode_text("a cat"))
    assert load_file(tmp_path / "saved" / "model.safetensors")
