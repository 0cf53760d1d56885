"""What a model is called, and that two models never share a name unnoticed."""

from pathlib import Path

import pytest

from evals.config.models import resolve_model
from evals.evaluation.names import check_name
from evals.records.record import MetricLine, write_run
from evals.schema import ConfigError
from tests.toys import HashEncoder

QUERY = {
    "subset": ["en"],
    "direction": ["t2i"],
    "dim": [8],
    "precision": ["float32"],
    "query_id": ["q"],
    "group_id": ["g"],
    "better": [0],
    "tied": [0],
    "tied_relevant": [1],
    "score": [0.5],
    "ndcg10": [1.0],
}


def recorded(root: Path, *, weights: str, folder: str, model: str = "checkpoint-500") -> None:
    """A record of a model of these weights from that folder."""
    encoder = {
        "name": model,
        "dim": 8,
        "fingerprint": {"weights": weights},
        "source": {"folder": folder},
    }
    line = MetricLine("en", "t2i", 8, "float32", "R", 1, 1.0, None, None, 1, 1, 0.0)
    manifest = {"benchmark": "toy", "model": model, "encoder": encoder}
    write_run(root, manifest=manifest, metrics=[line], queries=QUERY)


def encoder_of(weights: str, folder: str) -> HashEncoder:
    encoder = HashEncoder(name="checkpoint-500")
    encoder.fingerprint = {"weights": weights}
    encoder.source = {"folder": folder}
    return encoder


def test_a_name_is_given_before_an_equals_sign(tmp_path: Path) -> None:
    ref = resolve_model(f"mine={tmp_path}")
    assert (ref.name, ref.folder, ref.name_chosen) == ("mine", tmp_path, True)
    assert resolve_model("mine=tiny").folder == resolve_model("tiny").folder
    assert resolve_model("fast=api:http://host/v1?key=1#m").spec == "http://host/v1?key=1#m"
    assert not resolve_model(str(tmp_path)).name_chosen


def test_a_folder_and_a_url_with_an_equals_sign_are_themselves(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "lr=3").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_model("lr=3").name == "lr=3"
    assert resolve_model("api:http://host/v1?key=1#m").encoder == "api"


def test_a_row_keeps_its_name_for_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiny is a row of models.yaml"):
        resolve_model(f"tiny={tmp_path}")


def test_of_a_path_only_the_last_part_is_in_a_name(tmp_path: Path) -> None:
    (tmp_path / "mini").mkdir()
    (tmp_path / "epoch.pt").touch()
    assert resolve_model(f"st:{tmp_path}/mini").name == "st-mini"
    assert (
        resolve_model(f"open_clip:ViT-B-32/{tmp_path}/epoch.pt").name
        == "open_clip-ViT-B-32-epoch.pt"
    )
    assert resolve_model("open_clip:ViT-B-32/openai").name == "open_clip-ViT-B-32-openai"
    assert resolve_model("st:org/name").name == "st-org-name"


def test_weights_from_another_place_need_another_name(tmp_path: Path) -> None:
    recorded(tmp_path, weights="a" * 64, folder="/run-a/checkpoint-500")
    with pytest.raises(ConfigError, match=r"--model NAME=/run-b/checkpoint-500"):
        check_name(encoder_of("b" * 64, "/run-b/checkpoint-500"), tmp_path, chosen=False)


def test_a_chosen_name_and_weights_that_changed_in_their_place_are_told(tmp_path: Path) -> None:
    recorded(tmp_path, weights="a" * 64, folder="/run-a/checkpoint-500")
    for place, chosen in (("/run-a/checkpoint-500", False), ("/run-b/checkpoint-500", True)):
        warning = check_name(encoder_of("b" * 64, place), tmp_path, chosen=chosen)
        assert warning is not None and "aaaaaaaaaaaa, now bbbbbbbbbbbb" in warning


def test_the_same_weights_may_lie_anywhere(tmp_path: Path) -> None:
    recorded(tmp_path, weights="a" * 64, folder="/run-a/checkpoint-500")
    assert check_name(encoder_of("a" * 64, "/elsewhere"), tmp_path, chosen=False) is None
    assert check_name(encoder_of("b" * 64, "/b"), tmp_path / "none", chosen=False) is None


def api_model(url: str, model: str, **options: str) -> HashEncoder:
    """A model whose weights only a server has."""
    encoder = HashEncoder(name="jina")
    encoder.fingerprint = {"url": url, "model": model, **options}
    encoder.source = {"url": url, "model": model, "answered": model}
    return encoder


def recorded_by(encoder: HashEncoder, root: Path) -> None:
    said = {"dim": 8, "fingerprint": encoder.fingerprint, "source": encoder.source}
    line = MetricLine("en", "t2i", 8, "float32", "R", 1, 1.0, None, None, 1, 1, 0.0)
    manifest = {"benchmark": "toy", "model": encoder.name, "encoder": said}
    write_run(root, manifest=manifest, metrics=[line], queries=QUERY)


HERE = "https://one.example/v1/embeddings"


@pytest.mark.parametrize(
    "other",
    [
        api_model("https://two.example/v1/embeddings", "jina-clip-v2"),
        api_model(HERE, "jina-clip-v1"),
        api_model(HERE, "jina-clip-v2", answers="something-else"),
    ],
    ids=["another server", "another model", "another answer"],
)
def test_two_models_of_servers_need_two_names(tmp_path: Path, other: HashEncoder) -> None:
    recorded_by(api_model(HERE, "jina-clip-v2"), tmp_path)
    assert check_name(api_model(HERE, "jina-clip-v2"), tmp_path, chosen=False) is None
    with pytest.raises(ConfigError, match=r"that from https://one\.example/.*#jina-clip-v2, this"):
        check_name(other, tmp_path, chosen=False)
    warning = check_name(other, tmp_path, chosen=True)
    assert warning is not None and HERE in warning


def test_two_tags_of_one_name_are_two_models(tmp_path: Path) -> None:
    """Of a tag the hash is known only once it is loaded, and before that its place tells."""

    def tagged(spec: str) -> HashEncoder:
        encoder = HashEncoder(name="clip")
        encoder.fingerprint = {"weights": "tag openai"}
        encoder.source = {"spec": spec, "repo": None, "url": None}
        return encoder

    loaded = tagged("ViT-B-32/openai")
    loaded.source["sha256"] = "a" * 64
    recorded_by(loaded, tmp_path)
    assert check_name(tagged("ViT-B-32/openai"), tmp_path, chosen=False) is None
    with pytest.raises(ConfigError, match="that from ViT-B-32/openai, this from ViT-L-14/openai"):
        check_name(tagged("ViT-L-14/openai"), tmp_path, chosen=False)
