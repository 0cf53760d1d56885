"""Zero-shot classification equals CLIP_benchmark's own classifier and logits, and its metrics are scikit-learn's."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from sklearn.metrics import average_precision_score, balanced_accuracy_score, top_k_accuracy_score

from evals.embeddings.truncation import truncate
from evals.encoders.open_clip import OpenClipEncoder
from evals.schema import ClassPrompts, ConfigError, LabeledImages, Side
from evals.stats.bootstrap import stratified_bootstrap
from evals.tasks import task_of
from evals.tasks.classification import average_precision, class_vectors, mean_per_class, score
from tests.labelled import NAMES, TEMPLATES, load, webdataset
from tests.rival_models import TINY, config_file, weights_file
from tests.toys import text_side

MANY = ClassPrompts(len(NAMES), multilabel=True)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> OpenClipEncoder:
    folder = tmp_path_factory.mktemp("open_clip")
    spec = f"{config_file(folder / 'toy-labels.json', TINY)}/{weights_file(folder / 'weights.pt', 'toy-labels')}"
    return OpenClipEncoder(name="toy", spec=spec, device="cpu")


@pytest.fixture(scope="module")
def reference(encoder):
    """The same model, preprocessing and tokenizer, as open_clip gives them."""
    model, _, preprocess = open_clip.create_model_and_transforms(
        "toy-labels", pretrained=encoder.pretrained
    )
    return model.eval(), preprocess, open_clip.get_tokenizer("toy-labels")


def theirs(root: Path, reference, kind: str = "test"):
    """CLIP_benchmark's class vectors, logits and targets, of its own loader."""
    from clip_benchmark.datasets.builder import build_wds_dataset
    from clip_benchmark.metrics.zeroshot_classification import (
        run_classification,
        zero_shot_classifier,
    )

    model, preprocess, tokenizer = reference
    data = build_wds_dataset("toy", preprocess, split=kind, data_dir=str(root))
    assert (data.classes, data.templates) == (NAMES, TEMPLATES)
    classes = zero_shot_classifier(model, tokenizer, data.classes, data.templates, "cpu", amp=False)
    loader = torch.utils.data.DataLoader(list(data), batch_size=7)
    return classes, *run_classification(model, classes, loader, "cpu", amp=False)


@pytest.fixture(scope="module", params=[False, True], ids=["one", "several"])
def compared(request, tmp_path_factory, encoder, reference):
    """Ours and theirs of a set with one class an image, and of one with several."""
    root = webdataset(tmp_path_factory.mktemp("wds") / "toy", multilabel=request.param)
    data = load(root, MANY if request.param else ClassPrompts(len(NAMES)))
    rows = [encoder.encode(side) for side in task_of("classification").sides(data)]
    return data, rows, theirs(root, reference)


@pytest.mark.filterwarnings("ignore")
def test_class_vectors_and_logits_are_those_of_clip_benchmark(compared):
    data, (images, texts), (classes, logits, _) = compared
    ours = class_vectors(texts, data.class_of_text, 32)
    np.testing.assert_allclose(ours, classes.numpy().T, atol=1e-6, rtol=0)
    cosines = truncate(images, 32) @ ours.T
    np.testing.assert_allclose(cosines, logits.numpy() / 100, atol=1e-6, rtol=0)
    assert np.ptp(cosines) > 0.05  # the toy model tells items apart


def test_accuracy_and_recall_are_those_of_clip_benchmarks_logits(compared):
    data, rows, (_, logits, target) = compared
    if data.multilabel:
        pytest.skip("images of one class only")
    [ours] = score(rows, data, dims=[32])
    assert target.tolist() == data.labels.tolist()
    values = {name: value.value for name, value in ours.values.items()}
    every = range(len(NAMES))
    assert values == pytest.approx(
        {
            "acc@1": top_k_accuracy_score(target, logits, k=1, labels=every),
            "acc@5": 1.0,
            "mean_per_class_recall": balanced_accuracy_score(target, logits.argmax(1)),
        },
        abs=1e-12,
    )
    assert 0 < values["acc@1"] < 1
    assert (ours.n_gallery, list(ours.query_ids)[:1], ours.direction) == (5, ["s0000000"], "")
    assert ours.columns["label"].tolist() == data.labels.tolist()


def test_mean_average_precision_is_that_of_clip_benchmark_and_scikit_learn(compared):
    from clip_benchmark.metrics.zeroshot_classification import average_precision_per_class

    data, rows, (_, logits, target) = compared
    if not data.multilabel:
        pytest.skip("images of several classes only")
    [ours] = score(rows, data, dims=[32])
    np.testing.assert_array_equal(target.bool().numpy(), data.labels)
    expected = average_precision_per_class(logits, target)
    assert ours.values["mAP"].value == pytest.approx(expected.mean().item(), abs=1e-6)
    oracle = [average_precision_score(target[:, c], logits[:, c]) for c in range(len(NAMES))]
    np.testing.assert_allclose(ours.columns["average_precision"], oracle, atol=1e-12)
    assert list(ours.query_ids) == [f"{c}:{name}" for c, name in enumerate(NAMES)]


def toy(labels: list[int] | np.ndarray, class_of_text: list[int]) -> LabeledImages:
    images = text_side([f"image {i}" for i in range(len(labels))])
    names = tuple(f"class {c}" for c in range(max(class_of_text) + 1))
    texts = text_side([f"prompt {j}" for j in range(len(class_of_text))])
    side = Side("image", images.items, images.ids, images.hashes)
    return LabeledImages(side, np.array(labels), names, texts, np.array(class_of_text), {})


def values(rows, data, dim: int) -> dict[str, float]:
    [found] = score([np.array(side, np.float32) for side in rows], data, dims=[dim])
    return {name: value.value for name, value in found.values.items()}


def test_prompts_are_averaged_after_they_are_cut():
    """Of class 0 the one prompt is long and the other short within the first two dimensions: once cut, both count the same."""
    texts = np.array([[0.1, 0.0, 0.995], [0.0, 1.0, 0.0], [1.0, -0.1, 0.0]], np.float32)
    data = toy([0], [0, 0, 1])
    np.testing.assert_allclose(
        class_vectors(texts, data.class_of_text, 2)[0], [0.5**0.5, 0.5**0.5], atol=1e-6
    )
    image = [[0.8, 0.6, 0.0]]
    assert values([image, texts], data, 2)["acc@1"] == 1
    before = truncate(
        np.stack([truncate(texts[:2], 3).mean(0), texts[2]]), 2
    )  # what averaging first would give
    assert np.argmax(before @ np.float32([0.8, 0.6])) == 1


def test_hand_counted_accuracy_recall_and_ties():
    texts = np.eye(3, dtype=np.float32)
    images = [
        [1, 0, 0],
        [0.9, 0.1, 0],
        [0, 1, 0],
        [0.5, 0.5, 0],
    ]  # the last is between classes 0 and 1
    found = values([images, texts], toy([0, 1, 1, 1], [0, 1, 2]), 3)
    assert found["acc@1"] == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert found["mean_per_class_recall"] == pytest.approx((1 + 1.5 / 3) / 2)
    assert "acc@5" not in found  # of three classes


def test_equal_images_score_chance_and_constant_classes_too():
    data = toy([0, 1, 2, 3, 4, 5] * 2, list(range(6)))
    found = values([np.ones((12, 4)), np.ones((6, 4))], data, 4)
    assert found == pytest.approx({"acc@1": 1 / 6, "acc@5": 5 / 6, "mean_per_class_recall": 1 / 6})


def test_mean_per_class_recall_leaves_out_classes_without_images():
    assert mean_per_class(np.array([1.0, 0.0, 1.0]), np.array([0, 0, 3])) == 0.75


def test_average_precision_in_expectation_is_the_mean_over_all_orders_of_ties():
    from itertools import permutations

    scores, truth = (
        np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.1]),
        np.array([False, True, False, True, False, True]),
    )
    precisions = []
    for order in permutations(range(1, 5)):
        right = truth[[0, *order, 5]]
        precisions.append((np.cumsum(right) / np.arange(1, 7))[right].mean())
    assert average_precision(scores, truth) == pytest.approx(np.mean(precisions))
    assert average_precision(scores, np.zeros(6, bool)) == 0


def test_the_interval_of_the_mean_over_classes_resamples_within_classes():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [400, 25])
    hits = (rng.random(425) < np.where(labels == 0, 0.9, 0.4)).astype(float)
    interval = stratified_bootstrap(hits, labels)
    p, q = hits[labels == 0].mean(), hits[labels == 1].mean()
    error = np.sqrt(p * (1 - p) / 400 + q * (1 - q) / 25) / 2
    assert (interval.low, interval.high) == pytest.approx(
        ((p + q) / 2 - 1.96 * error, (p + q) / 2 + 1.96 * error), abs=0.012
    )
    assert stratified_bootstrap(hits, labels) == interval
    assert stratified_bootstrap(np.ones(3), np.arange(3)) is None


def test_a_coarser_precision_is_that_of_images_and_class_vectors():
    images, prompts = np.array([[0.6, -0.8], [-1.0, 0.1]]), np.array([[0.1, -0.9], [-0.9, 0.2]])
    both = score(
        [images, prompts], toy([0, 1], [0, 1]), dims=[2, 1], precisions=["float32", "binary"]
    )
    assert [(s.dim, s.precision) for s in both] == [
        (2, "float32"),
        (2, "binary"),
        (1, "float32"),
        (1, "binary"),
    ]
    assert [s.values["acc@1"].value for s in both] == [1.0, 1.0, 1.0, 1.0]
    opposite = score(
        [images * [-1, 1], prompts], toy([0, 1], [0, 1]), dims=[2], precisions=["binary"]
    )[0]
    assert opposite.columns["score"].tolist() == [0.0, 0.0]  # of two bits one is equal
    with pytest.raises(ConfigError, match="are not rescored"):
        score([images, prompts], toy([0, 1], [0, 1]), dims=[2], precisions=["binary+rescore10"])
