"""Checkpoints in and out: what is loaded is what was hashed, and what is no whole jina-clip model is refused by name."""

import errno
import json
import os
import shutil
import socket

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evals.analysis.cost import read_tokenizer
from evals.config.models import ModelRef
from evals.schema import InvalidError
from jina_clip import Checkpoint, CheckpointError, JinaCLIP
from jina_clip.checkpoint import FILES
from jina_clip.hub import fetch
from tests.checkpoints import edited, sharded
from tests.conftest import small_model, word_tokenizer
from tests.hub import COMMIT

TEXTS = ["a cat", "the dog runs under a red cat on a blue dog", "a", "the cat sits"]


def test_lora_is_merged_as_the_official_code_applies_it(checkpoint, tmp_path):
    """W + B A * alpha / rank for a Linear, W + A B * alpha / rank for an Embedding."""
    rng = torch.Generator().manual_seed(0)

    def randomise(config, tensors):
        config["text_config"]["hf_model_config_kwargs"]["lora_alpha"] = 6
        for name in tensors:
            if ".lora_" in name:
                tensors[name] = torch.randn(tensors[name].shape, generator=rng)

    folder = edited(checkpoint, tmp_path, randomise)
    raw = load_file(folder / "model.safetensors")
    state = JinaCLIP.from_pretrained(folder, device="cpu").state_dict()
    roberta = "text_model.transformer.roberta."
    for stem in (
        "encoder.layers.1.mixer.Wqkv",
        "encoder.layers.0.mlp.fc2",
        "embeddings.word_embeddings",
    ):
        original, a, b = (
            raw[f"{roberta}{stem}.parametrizations.weight.{part}"]
            for part in ("original", "0.lora_A", "0.lora_B")
        )
        delta = a[0] @ b[0] if "embeddings" in stem else b[0] @ a[0]
        torch.testing.assert_close(state[f"text_model.{stem}.weight"], original + delta * 6 / 4)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_saved_model_is_a_checkpoint_like_any_other(version, tmp_path):
    model = small_model(version)
    folder = model.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
    ]
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o644
    again = JinaCLIP.from_pretrained(folder, device="cpu")
    assert again.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    np.testing.assert_array_equal(again.encode_text(TEXTS), model.encode_text(TEXTS))


def test_weights_are_stored_in_the_dtype_asked_for(tmp_path):
    folder = small_model().save_pretrained(tmp_path, dtype="bfloat16")
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "bfloat16"
    tensors = load_file(folder / "model.safetensors")
    assert tensors.pop("logit_scale").dtype == torch.float32  # exp() of it scales every score
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert (
        JinaCLIP.from_pretrained(folder, device="cpu").vision_model.pos_embed.dtype == torch.float32
    )  # CPU default
    assert (
        JinaCLIP.from_pretrained(
            folder, device="cpu", dtype="bfloat16"
        ).vision_model.pos_embed.dtype
        == torch.bfloat16
    )


def test_a_weight_beyond_float16_is_refused_by_name_in_float16_alone(tmp_path):
    model = small_model()
    with torch.no_grad():
        model.vision_model.pos_embed[0, 0, 0] = -70_000
    folder = model.save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"pos_embed holds 7e\+04, and float16 no more than 65,504"
    ):
        JinaCLIP.from_pretrained(folder, device="cpu", dtype="float16")
    for dtype in ("float32", "bfloat16"):
        JinaCLIP.from_pretrained(folder, device="cpu", dtype=dtype)
    with torch.no_grad():
        model.vision_model.pos_embed[0, 0, 0] = 65_504
    folder = model.save_pretrained(tmp_path)
    loaded = JinaCLIP.from_pretrained(folder, device="cpu", dtype="float16")
    assert loaded.vision_model.pos_embed[0, 0, 0] == 65_504


WRONG = "vision_model.blocks.0.attn.q_bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _, tensors: tensors.pop(WRONG), f"missing: {WRONG}"),
        (lambda _, tensors: tensors.update(surprise=torch.zeros(1)), "not known: surprise"),
        (
            lambda _, tensors: tensors.update({WRONG: torch.zeros(7)}),
            r"misshapen: .*q_bias is \[7\], the config asks for \[32\]",
        ),
        (
            lambda config, _: config["vision_config"].update(layers=3),
            r"missing: vision_model\.blocks\.2.* and \d+ more",
        ),
        (
            lambda _, tensors: tensors.update({WRONG: tensors[WRONG].to(torch.int8)}),
            r"quantised: .*q_bias is I8",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(checkpoint, tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        JinaCLIP.from_pretrained(edited(checkpoint, tmp_path, change), device="cpu")


def test_computed_tables_in_a_checkpoint_are_passed_over(checkpoint, tmp_path):
    folder = edited(
        checkpoint,
        tmp_path,
        lambda _, tensors: tensors.update({"vision_model.rope.freqs_cos": torch.zeros(2)}),
    )
    JinaCLIP.from_pretrained(folder, device="cpu")


def test_a_truncated_file_is_refused(checkpoint, tmp_path):
    folder = edited(checkpoint, tmp_path, lambda *_: None)
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        JinaCLIP.from_pretrained(folder, device="cpu")


def test_a_missing_file_is_named(checkpoint, tmp_path):
    folder = edited(checkpoint, tmp_path, lambda *_: None)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json is missing"):
        JinaCLIP.from_pretrained(folder)
    with pytest.raises(FileNotFoundError, match="neither a folder nor a Hub id"):
        JinaCLIP.from_pretrained("./no-such-folder")


def test_a_local_folder_never_touches_the_network(checkpoint, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    JinaCLIP.from_pretrained(checkpoint, device="cpu").encode_text("a cat")


def test_nothing_is_initialised_at_random_before_loading(checkpoint, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("random numbers were drawn in memory")

    monkeypatch.setattr(
        torch.Tensor, "uniform_", lambda tensor, *a, **k: tensor if tensor.is_meta else refuse()
    )
    monkeypatch.setattr(
        torch.Tensor, "normal_", lambda tensor, *a, **k: tensor if tensor.is_meta else refuse()
    )
    JinaCLIP.from_pretrained(checkpoint, device="cpu")


def test_files_that_do_not_fit_each_other_are_refused(checkpoint, tmp_path):
    def shrink(config, tensors):
        config["text_config"]["hf_model_config_kwargs"]["vocab_size"] = 10

    with pytest.raises(
        CheckpointError, match=r"tokenizer\.json has the id 13, config\.json a vocabulary of 10"
    ):
        JinaCLIP.from_pretrained(edited(checkpoint, tmp_path, shrink), device="cpu")
    (tmp_path / "preprocessor_config.json").write_text('{"size": 64}')
    with pytest.raises(CheckpointError, match=r"images of 64 pixels, config\.json takes 32"):
        JinaCLIP.from_pretrained(tmp_path, device="cpu")


def test_the_second_of_two_adapters_is_merged_when_the_config_says_so(checkpoint, tmp_path):
    def second(config, tensors):
        kwargs = config["text_config"]["hf_model_config_kwargs"]
        kwargs["lora_adaptations"] = ["separation", "retrieval.query"]
        for name in [name for name in tensors if ".lora_" in name]:
            first = torch.full_like(tensors[name], 9.0)
            tensors[name] = torch.cat([first, torch.ones_like(first)])

    state = JinaCLIP.from_pretrained(
        edited(checkpoint, tmp_path, second), device="cpu"
    ).state_dict()
    plain = JinaCLIP.from_pretrained(checkpoint, device="cpu").state_dict()
    name = "text_model.encoder.layers.0.mlp.fc1.weight"
    torch.testing.assert_close(state[name], plain[name] + 4.0)  # rank 4 of ones, alpha / rank 1


def test_a_hub_id_fetches_the_four_files_at_the_commit(hub, checkpoint):
    hub.files = {path.name: path.read_bytes() for path in checkpoint.iterdir()} | {
        "modeling.py": b"raise SystemExit"
    }
    hub.cut = 1  # the first download of the weights breaks off and is taken up again
    folder = fetch("org/model", None)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert folder.name == COMMIT
    assert JinaCLIP.from_pretrained("org/model", revision=COMMIT, device="cpu").config.dim == 32


def test_the_hubs_cache_serves_when_the_hub_is_gone(hub, checkpoint):
    hub.files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    fetched = fetch("org/model", None)
    hub.status = 503
    assert fetch("org/model", None) == fetched


@pytest.mark.parametrize("status", [401, 404])
def test_a_repo_that_cannot_be_had_is_missing_at_once(hub, status):
    hub.status = status
    with pytest.raises(
        FileNotFoundError, match="org/model is not in the Hub's cache and cannot be fetched"
    ):
        fetch("org/model", COMMIT)


def test_a_repo_without_weights_is_refused_by_file(hub, checkpoint):
    hub.files = {"config.json": (checkpoint / "config.json").read_bytes()}
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        JinaCLIP.from_pretrained("org/model")


def test_shards_give_the_rows_of_one_file(checkpoint, tmp_path):
    folder = sharded(checkpoint, tmp_path / "shards")
    one_file = JinaCLIP.from_pretrained(checkpoint, device="cpu")
    shards = JinaCLIP.from_pretrained(folder, device="cpu")
    np.testing.assert_array_equal(shards.encode_text(TEXTS), one_file.encode_text(TEXTS))
    bound = Checkpoint.in_folder(folder).bound()
    assert set(bound.sha256) == {path.name for path in folder.iterdir()}
    assert bound.weights_sha256 not in bound.sha256.values()


def change_index(folder, change) -> None:
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index["weight_map"])
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files.clear(), r"index\.json: weight_map lists no tensors"),
        (
            lambda files: files.update(a="../model.safetensors"),
            "is not the name of a safetensors file",
        ),
        (lambda files: files.update(a=1), "1 is not the name of a safetensors file"),
    ],
)
def test_an_index_that_lists_no_files_is_refused(checkpoint, tmp_path, change, message):
    folder = sharded(checkpoint, tmp_path / "shards")
    change_index(folder, change)
    with pytest.raises(CheckpointError, match=message):
        JinaCLIP.from_pretrained(folder)


def test_shards_that_do_not_make_up_the_weights_are_refused(checkpoint, tmp_path):
    folder = sharded(checkpoint, tmp_path / "shards")
    first, second = sorted(folder.glob("model-*.safetensors"))
    content = first.read_bytes()
    shutil.copy(second, first)
    with pytest.raises(CheckpointError, match="is in another shard, too"):
        JinaCLIP.from_pretrained(folder, device="cpu")
    first.unlink()
    with pytest.raises(FileNotFoundError, match=r"model-00001-of-00002\.safetensors is missing"):
        JinaCLIP.from_pretrained(folder)
    change_index(folder, lambda files: files.update(dict.fromkeys(files, second.name)))
    with pytest.raises(CheckpointError, match=r"does not fit its config\.json\. missing: "):
        JinaCLIP.from_pretrained(folder, device="cpu")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"has both model\.safetensors and model\.safetensors\.index"
    ):
        JinaCLIP.from_pretrained(folder)


@pytest.mark.parametrize("adapters", [["retrieval.query"], []])
def test_weights_with_lora_merged_are_taken_as_they_are(checkpoint, tmp_path, adapters):
    """As torch's remove_parametrizations leaves them, whether or not the config names the adapter still."""

    def merge(config, tensors):
        config["text_config"]["hf_model_config_kwargs"]["lora_adaptations"] = adapters
        config["text_config"]["default_lora_task"] = next(iter(adapters), None)
        for name in [name for name in tensors if ".lora_" in name]:
            del tensors[name]
        for name in [
            name for name in tensors if name.endswith(".parametrizations.weight.original")
        ]:
            tensors[name.replace(".parametrizations.weight.original", ".weight")] = tensors.pop(
                name
            )

    merged = JinaCLIP.from_pretrained(edited(checkpoint, tmp_path, merge), device="cpu")
    plain = JinaCLIP.from_pretrained(checkpoint, device="cpu")  # its pairs are zero
    np.testing.assert_array_equal(merged.encode_text(TEXTS), plain.encode_text(TEXTS))


@pytest.mark.parametrize(
    "file", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"]
)
def test_a_peft_adapter_beside_the_weights_is_refused(checkpoint, tmp_path, file):
    folder = edited(checkpoint, tmp_path, lambda *_: None)
    (folder / file).write_text("{}")
    with pytest.raises(
        CheckpointError,
        match=rf"{file}: a PEFT adapter lies beside the weights, .* move the adapter away",
    ):
        JinaCLIP.from_pretrained(folder)


def test_a_peft_adapter_of_a_hub_repo_is_refused(hub, checkpoint):
    hub.files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    hub.files["adapter_config.json"] = b"{}"
    with pytest.raises(CheckpointError, match=r"adapter_config\.json: a PEFT adapter"):
        JinaCLIP.from_pretrained("org/model")


def test_a_hub_repo_may_hold_shards(hub, checkpoint, tmp_path):
    folder = sharded(checkpoint, tmp_path / "shards")
    hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(path.name for path in fetch("org/model").iterdir()) == sorted(hub.files)
    JinaCLIP.from_pretrained("org/model", device="cpu")


def test_a_tokenizer_whose_template_names_a_token_that_it_lacks_is_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    tokenizer = json.loads((folder / "tokenizer.json").read_bytes())
    tokenizer["post_processor"]["special_tokens"].clear()
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match=r"not a tokenizer\.json: no entry found for key"):
        JinaCLIP.from_pretrained(folder, device="cpu")
    with pytest.raises(InvalidError, match=r"not a tokenizer\.json"):
        read_tokenizer(ModelRef("m", "jina_clip", folder))


def test_the_tokenizer_of_another_model_is_refused(checkpoint, tmp_path):
    """Its ids fit, and mean other words: only the padding tells."""
    folder = edited(checkpoint, tmp_path, lambda *_: None)
    word_tokenizer(pad=0).save(str(folder / "tokenizer.json"))
    with pytest.raises(
        CheckpointError, match=r"has '<unk>' at id 1, where config\.json has the padding"
    ):
        JinaCLIP.from_pretrained(folder, device="cpu")


FILES_THAT_DECIDE = {
    "config.json": lambda data: data.replace(b"Represent the query", b"Represent a query"),
    "tokenizer.json": lambda data: data.replace(b'"cat"', b'"cow"'),
    "preprocessor_config.json": lambda data: data.replace(b"bicubic", b"bilinear"),
    "model.safetensors": lambda data: data[:-4] + b"\x00\x00\x80\x3f",
}


@pytest.mark.parametrize("how", ["replaced", "written into"])
@pytest.mark.parametrize("name", FILES_THAT_DECIDE)
def test_a_file_that_changes_after_it_was_hashed_stops_the_load_by_name(
    checkpoint, tmp_path, name, how
):
    folder = edited(checkpoint, tmp_path, lambda *_: None)
    bound = Checkpoint.in_folder(folder).bound()
    JinaCLIP.from_checkpoint(bound, device="cpu")
    path = folder / name
    before, data = path.stat(), path.read_bytes()
    changed = FILES_THAT_DECIDE[name](data)
    assert changed != data
    if how == "replaced":
        (tmp_path / "new").write_bytes(changed)
        (tmp_path / "new").replace(path)
    else:
        path.write_bytes(changed)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # a clock that tells nothing
    with pytest.raises(CheckpointError, match=rf"{name} has changed since the run began"):
        JinaCLIP.from_checkpoint(bound, device="cpu")
    JinaCLIP.from_pretrained(folder, device="cpu")  # nothing is bound: it is another checkpoint


def test_weights_replaced_by_those_of_another_model_are_called_changed(checkpoint, tmp_path):
    """They do not fit the config either, which would lead astray."""
    folder = edited(checkpoint, tmp_path, lambda *_: None)
    bound = Checkpoint.in_folder(folder).bound()
    save_file({"other": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors has changed"):
        JinaCLIP.from_checkpoint(bound, device="cpu")


def test_a_shard_that_changes_after_it_was_hashed_stops_the_load_by_name(checkpoint, tmp_path):
    folder = sharded(checkpoint, tmp_path / "shards")
    bound = Checkpoint.in_folder(folder).bound()
    path = folder / "model-00002-of-00002.safetensors"
    path.write_bytes(FILES_THAT_DECIDE["model.safetensors"](path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors has changed"):
        JinaCLIP.from_checkpoint(bound, device="cpu")


@pytest.mark.parametrize("bind", [True, False])
def test_weights_that_are_replaced_while_they_are_read_stop_the_load(checkpoint, tmp_path, bind):
    """Even by the same bytes: what was read may be a mixture of the two files."""
    folder = edited(checkpoint, tmp_path, lambda *_: None)
    files = Checkpoint.in_folder(folder)
    path = folder / "model.safetensors"
    with (
        pytest.raises(CheckpointError, match=r"model\.safetensors has changed"),
        (files.bound() if bind else files).weight_files(),
    ):
        shutil.copy(path, tmp_path / "new")
        (tmp_path / "new").replace(path)


def test_a_loaded_model_does_not_change_with_its_file(checkpoint, tmp_path):
    """safetensors maps the file: without a copy a training run that overwrites it changes what is measured."""
    folder = edited(checkpoint, tmp_path, lambda *_: None)
    model = JinaCLIP.from_pretrained(folder, device="cpu", dtype="float32")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = folder / "model.safetensors"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(bytes(size - size // 2))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_disk_that_fails_to_hold_a_file_leaves_the_checkpoint_that_was_there(
    checkpoint, tmp_path, monkeypatch
):
    folder = tmp_path / "kept"
    model = JinaCLIP.from_pretrained(checkpoint, device="cpu")
    model.save_pretrained(folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        model.save_pretrained(folder)
    assert {name: (folder / name).read_bytes() for name in before} == before
