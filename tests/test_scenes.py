"""Scenes is the same everywhere, its splits share nothing, and its pictures and captions agree."""

import itertools
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from evals.data import scenes
from evals.data.scene_drawing import COLOURS, PLACES, RADII, SHAPES, Group, Scene
from evals.data.scenes import LANGUAGES
from evals.schema import ConfigError, Source

HASHES = {
    0: "5816b274333d94e72c9a75b5ec2a289b2c8b1eaf5d50344a6b4b7c5e10a2dba3",
    9: "de78cdca064afef01665221fcf9a67be5acf0611d9e6e4026fa35fd955c5620d",
    499: "ea6bbac192189b1415824b667c1295b0bc06911e5902f00dd1f79eeca558121d",
}
CAPTIONS = {
    "en": (
        "Three large yellow crosses at the top left, two small green crescents "
        "at the top right and three small red hexagons at the bottom left.",
        "A picture of three red hexagons and two green crescents.",
    ),
    "de": (
        "Oben links drei große gelbe Kreuze, oben rechts zwei kleine grüne "
        "Mondsicheln und unten links drei kleine rote Sechsecke.",
        "Zu sehen: drei rote Sechsecke und zwei grüne Mondsicheln.",
    ),
    "fr": (
        "Trois grandes croix jaunes en haut à gauche, deux petits croissants verts "
        "en haut à droite et trois petits hexagones rouges en bas à gauche.",
        "On voit trois hexagones rouges et deux croissants verts.",
    ),
    "es": (
        "Arriba a la izquierda hay tres cruces amarillas grandes, arriba a la derecha hay dos medias "
        "lunas verdes pequeñas y abajo a la izquierda hay tres hexágonos rojos pequeños.",
        "En la imagen hay tres hexágonos rojos y dos medias lunas verdes.",
    ),
    "zh": (
        "左上角有三个黄色的大十字，右上角有两个绿色的小月牙，左下角有三个红色的小六边形。",
        "图中有三个红色的六边形和两个绿色的月牙。",
    ),
    "ar": (
        "في أعلى اليسار ثلاثة صلبان صفراء كبيرة، وفي أعلى اليمين هلالان "
        "أخضران صغيران، وفي أسفل اليسار ثلاثة أشكال سداسية حمراء صغيرة.",
        "في الصورة ثلاثة أشكال سداسية حمراء وهلالان أخضران.",
    ),
}
TRAIN_0 = "3 small black hexagon bottom right"


def _source(language: str, split: str = "test", folder: Path | None = None) -> Source:
    return Source((language,), split, folder)


@pytest.mark.parametrize("i", HASHES)
def test_pixels_never_change(i: int) -> None:
    assert scenes.image_hash(scenes.render(scenes.test_scenes()[i])) == HASHES[i]


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_never_change(language: str) -> None:
    groups = (
        Group(3, "large", "yellow", "cross", "top left"),
        Group(2, "small", "green", "crescent", "top right"),
        Group(3, "small", "red", "hexagon", "bottom left"),
    )
    assert scenes.captions(Scene(groups, look=0), language) == CAPTIONS[language]


def test_train_scenes_never_change() -> None:
    assert scenes.describe(scenes.train_scene(0)) == TRAIN_0
    assert scenes.train_scene(7) == scenes.train_scene(7)


def test_no_description_of_the_test_split_is_trained_on() -> None:
    tested = {scenes.describe(scene) for scene in scenes.test_scenes()}
    trained = {scenes.describe(scenes.train_scene(i)) for i in range(5000)}
    assert not tested & trained
    assert {scenes.split(scene) for scene in scenes.test_scenes()} == {"test"}


def test_every_test_image_is_described_differently_and_looks_different() -> None:
    assert len(scenes.test_scenes()) == 500
    assert len({scenes.describe(scene) for scene in scenes.test_scenes()}) == 500
    assert len({scenes.captions(scene, "ar")[0] for scene in scenes.test_scenes()}) == 500
    assert len(set(scenes.load_scenes(_source("en"))["en"].images.hashes)) == 500


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_two_captions_an_image(language: str) -> None:
    data = scenes.load_scenes(_source(language))[language]
    assert len(data.images) == 500
    assert len(data.texts) == 1000
    assert np.bincount(data.image_of_text).tolist() == [2] * 500
    for i in (0, 9, 999):
        scene = scenes.test_scenes()[i // 2]
        assert data.texts.ids[i] == f"scene-{i // 2:04}-{language}-{i % 2}"
        assert data.texts.items[i] == scenes.captions(scene, language)[i % 2]
        assert data.texts.hashes[i] == sha256(data.texts.items[i].encode()).hexdigest()
    assert data.texts.role is None


def test_every_language_has_the_same_images() -> None:
    sides = [scenes.load_scenes(_source(language))[language].images for language in LANGUAGES]
    assert {(tuple(side.ids), tuple(side.hashes)) for side in sides} == {
        (tuple(sides[0].ids), tuple(sides[0].hashes))
    }
    assert sides[0].ids[-1] == "scene-0499"


def test_images_are_rendered_when_indexed() -> None:
    images = scenes.load_scenes(_source("fr"))["fr"].images
    picture = images.items[9]
    assert (picture.mode, picture.size) == ("RGB", (64, 64))
    assert scenes.image_hash(picture) == images.hashes[9]
    assert scenes.image_hash(images.items[5:10][4]) == images.hashes[9]
    assert scenes.image_hash(images.select([9]).items[0]) == images.hashes[9]


def test_a_picture_shows_each_colour_in_its_place_and_nowhere_else() -> None:
    for scene in scenes.test_scenes()[:100]:
        pixels = np.asarray(scenes.render(scene))
        for group in scene.groups:
            rows, columns = np.nonzero((pixels == COLOURS[group.colour]).all(axis=2))
            assert rows.size >= 4 * group.count
            assert {(int(x) // 32, int(y) // 32) for x, y in zip(columns, rows, strict=True)} == {
                (PLACES[group.place][0] // 256, PLACES[group.place][1] // 256)
            }


@pytest.mark.parametrize("shape", SHAPES)
def test_objects_of_a_group_neither_touch_nor_leave_their_place(shape: str) -> None:
    for size, look in itertools.product(RADII, range(20)):
        one, three = (
            _ink(Scene((Group(count, size, "black", shape, "top right"),), look))
            for count in (1, 3)
        )
        assert three[:, :32].sum() == three[32:].sum() == 0
        assert 2.5 * one.sum() < three.sum() < 3.5 * one.sum()


def test_large_is_larger_than_small() -> None:
    for shape, look in itertools.product(SHAPES, range(5)):
        small, large = (
            _ink(Scene((Group(1, size, "black", shape, "top left"),), look)) for size in RADII
        )
        assert large.sum() > 1.7 * small.sum()


@pytest.mark.parametrize("language", LANGUAGES)
def test_different_groups_are_said_differently(language: str) -> None:
    groups = [
        Group(*fields) for fields in itertools.product((1, 2, 3), RADII, COLOURS, SHAPES, PLACES)
    ]
    said = {scenes.captions(Scene((group,), 0), language) for group in groups}
    assert len({full for full, _ in said}) == len(groups)
    assert len({short for _, short in said}) == len(groups) // (len(RADII) * len(PLACES))


@pytest.mark.parametrize(
    ("language", "group", "full"),
    [
        (
            "en",
            Group(1, "large", "orange", "cross", "top left"),
            "A large orange cross at the top left.",
        ),
        (
            "en",
            Group(3, "small", "pink", "cross", "top right"),
            "Three small pink crosses at the top right.",
        ),
        (
            "de",
            Group(1, "large", "red", "circle", "top left"),
            "Oben links ein großer roter Kreis.",
        ),
        ("de", Group(1, "large", "red", "heart", "top left"), "Oben links ein großes rotes Herz."),
        (
            "de",
            Group(1, "large", "red", "diamond", "top left"),
            "Oben links eine große rote Raute.",
        ),
        (
            "fr",
            Group(1, "small", "green", "star", "top left"),
            "Une petite étoile verte en haut à gauche.",
        ),
        (
            "fr",
            Group(2, "large", "brown", "cross", "top left"),
            "Deux grandes croix marron en haut à gauche.",
        ),
        (
            "es",
            Group(3, "small", "black", "crescent", "top left"),
            "Arriba a la izquierda hay tres medias lunas negras pequeñas.",
        ),
        (
            "es",
            Group(1, "large", "blue", "heart", "top left"),
            "Arriba a la izquierda hay un corazón azul grande.",
        ),
        ("zh", Group(2, "small", "blue", "star", "bottom left"), "左下角有两颗蓝色的小五角星。"),
        (
            "ar",
            Group(2, "small", "blue", "star", "top left"),
            "في أعلى اليسار نجمتان زرقاوان صغيرتان.",
        ),
        (
            "ar",
            Group(3, "large", "red", "heart", "top left"),
            "في أعلى اليسار ثلاثة قلوب حمراء كبيرة.",
        ),
        (
            "ar",
            Group(3, "large", "red", "circle", "top left"),
            "في أعلى اليسار ثلاث دوائر حمراء كبيرة.",
        ),
    ],
)
def test_adjectives_agree(language: str, group: Group, full: str) -> None:
    assert scenes.captions(Scene((group,), 0), language)[0] == full


def test_the_short_caption_leaves_out_the_first_of_several_groups() -> None:
    groups = (
        Group(1, "large", "orange", "ring", "top left"),
        Group(2, "small", "blue", "heart", "bottom left"),
    )
    assert scenes.captions(Scene(groups, 0), "en")[1] == "A picture of two blue hearts."
    assert scenes.captions(Scene(groups[:1], 0), "en")[1] == "A picture of an orange ring."


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (_source("it"), "en, de, fr, es, zh, ar"),
        (_source("en", split="train"), "it has test"),
        (_source("en", folder=Path("/data/scenes")), "/data/scenes"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(source: Source, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        scenes.load_scenes(source)


def _ink(scene: Scene) -> np.ndarray:
    pixels = np.asarray(scenes.render(scene)).astype(np.int64)
    return (pixels[-1, 0] - pixels).clip(0).sum(axis=2) / 660
