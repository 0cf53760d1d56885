"""The parity certificate: planted faults are found and named, rounding is not, and the arithmetic by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from evals.encoders import variants
from evals.encoders.objects import ArrayEncoder
from evals.parity import causes as causes_module
from evals.parity.agreement import Compared, agreements, first_values, row_cosines
from evals.parity.causes import LIKELY, REPRODUCED, Cause, best_causes, explained_share
from evals.parity.certificate import certify
from evals.parity.cuts import best_limit
from evals.parity.patterns import suggestions
from evals.parity.pins import pinned_probe
from evals.parity.probe import Label, Runner, parts_of
from evals.parity.row_causes import row_causes, width_cause
from evals.parity.show import cause_lines
from evals.parity.tolerances import Tolerances
from evals.schema import ConfigError, InvalidError
from tests.commands import run
from tests.parity_models import (  # fmt: skip
    FAULTS,
    TINY,
    Server,
    cut,
    half_precision,
    loaded,
    server,
    tiny,
    with_tokens,
)

PINNED = pinned_probe()
PROBE = replace(PINNED, parts={name: PINNED.parts[name] for name in ("en", "ar")})
TEXTS = replace(PINNED, parts={}, shaped={"text": PINNED.shaped["text"]})
# What the first cause must be: its kind and, where only one is right, its name.
NAMED = {
    "no norm": ("norm", "not_normalised"),
    "pooling": ("pooling", "pool_cls"),
    "padding side": ("padding", "padding_left_under_right_mask"),
    "GELU": ("activation", "gelu_tanh"),
    "resize": ("resize", "crop_bilinear"),
    "squash": ("resize", "squash_bicubic"),
    "prompt": ("prompt", "role_query"),
    "truncation": ("truncation", "cut_77"),
    "colour order": ("colour order", "bgr"),
    "order": ("order", "order"),
}


@pytest.fixture(scope="module")
def looked_up():
    """Every trial with every item of the probe, made once: 200 certificates then need no model."""
    runner = tiny()
    sides = {kind: [p.side for p in parts_of(PROBE) if p.side.kind == kind] for kind in ("text", "image")}  # fmt: skip
    rows: dict = {}
    for kind, of_kind in sides.items():
        for variant in causes_module.trials(runner, kind):
            for side in of_kind:
                tried = variant.rows(side)
                rows |= {(variant.name, kind, item): row for item, row in zip(side.ids, tried, strict=True)}  # fmt: skip
        for side in of_kind:
            plain = runner.rows(side)
            rows |= {("plain", kind, item): row for item, row in zip(side.ids, plain, strict=True)}
    return rows


def of_table(table, name):
    return lambda side: np.stack([table[name, side.kind, item] for item in side.ids])


@pytest.fixture
def by_lookup(monkeypatch, looked_up) -> Runner:
    """tiny, whose rows and trials come from the table."""
    runner = tiny()
    real = {kind: causes_module.trials(runner, kind) for kind in ("text", "image")}
    fixed = {
        kind: [variant._replace(rows=of_table(looked_up, variant.name)) for variant in of_kind]
        for kind, of_kind in real.items()
    }
    monkeypatch.setattr(causes_module, "trials", lambda _runner, kind: fixed[kind])
    return runner


def table_runner(table) -> Runner:
    encoder = Server(None, None)
    encoder.encode = of_table(table, "plain")
    return Runner("table", encoder)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_its_cause_named(fault, by_lookup):
    certificate = certify(PROBE, by_lookup, server(fault), Tolerances())
    first = certificate.causes[0]
    assert certificate.verdict == "differs"
    assert (first.cause, first.name) == NAMED[fault]
    assert first.certainty == "reproduced" and first.share >= REPRODUCED
    assert any(first.words in reason for reason in certificate.reasons)


def test_a_fault_below_all_tolerances_is_told_from_rounding(by_lookup):
    certificate = certify(PROBE, by_lookup, server("GELU"), Tolerances())
    everything = [group for group in certificate.groups if group.by == "all"]
    assert min(group.cosine_min for group in everything) > 0.99999
    assert certificate.reasons == [f"{certificate.causes[0].words} (activation)"]


def test_a_known_cause_may_be_allowed_by_its_name_or_kind(by_lookup):
    for allowed in ("gelu_tanh", "activation"):
        certificate = certify(PROBE, by_lookup, server("GELU"), Tolerances(), allowed=[allowed])
        assert certificate.verdict == "same" and certificate.causes
    # but not what it does to the rows, once that is beyond the tolerances
    certificate = certify(PROBE, by_lookup, server("pooling"), Tolerances(), allowed=["pooling"])
    assert certificate.verdict == "differs"


def test_a_model_whose_rows_change_each_time_is_not_said_to_see_padding(by_lookup):
    """As with dropout that was left on, in either tower."""
    rng = np.random.default_rng(0)
    runner = altered(lambda rows: rows + rng.normal(0, 0.02, rows.shape))
    causes = certify(PROBE, by_lookup, runner, Tolerances()).causes
    assert [(each.kind, each.name) for each in causes] == [("text", "unrepeatable"), ("image", "unrepeatable")]  # fmt: skip
    assert all(each.words.startswith("B ") for each in causes)


def test_a_model_that_mixes_the_rows_of_a_batch_is_not_said_to_see_padding(by_lookup):
    """The longest text of a batch has no padding, and an image never has."""
    runner = altered(lambda rows: rows - rows.mean(axis=0) / 2)
    certificate = certify(PROBE, by_lookup, runner, Tolerances())
    causes = certificate.causes
    assert [(each.kind, each.name) for each in causes] == [("text", "mixed"), ("image", "mixed")]
    assert "texts · batch · B gives a text another row" in cause_lines(certificate)[0]
    assert cause_lines(certificate)[0].endswith("(seen in the rows)")


def test_two_faults_in_the_two_towers_are_both_named(by_lookup):
    text, image = FAULTS["prompt"](), FAULTS["colour order"]()
    both = Runner("server", Server(text.texts, image.images))
    certificate = certify(PROBE, by_lookup, both, Tolerances())
    sure = {cause.cause for cause in certificate.causes if cause.certainty == "reproduced"}
    assert sure >= {"prompt", "colour order"}


def test_the_model_is_the_same_as_itself_and_as_another_program_that_runs_it():
    model = loaded()
    other = Runner("python", Server(model.encode_text, model.encode_image))
    for runner in (tiny(), other):
        certificate = certify(PROBE, tiny(), runner, Tolerances())
        assert certificate.verdict == "same" and not certificate.causes
        assert max(certificate.distances.values()) < 1e-5


def test_bfloat16_is_the_same_model_and_is_told(by_lookup):
    certificate = certify(PROBE, by_lookup, tiny(dtype="bfloat16"), Tolerances())
    assert certificate.verdict == "same"
    assert {cause.cause for cause in certificate.causes} == {"precision"}


def rounded(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows as bfloat16 would leave them: noise of a random size, and 8 bits of each value."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    # Root mean square distances from 0.0003 to 0.03; bfloat16 has 0.003 for texts of this model.
    size = 10 ** rng.uniform(-3.5, -1.5) / np.sqrt(rows.shape[1])
    noisy = (unit + rng.normal(scale=size, size=unit.shape)).astype(np.float32)
    return (noisy.view(np.uint32) + 0x8000 & 0xFFFF0000).view(np.float32)


@pytest.mark.parametrize("repeats", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_rounding_is_never_a_difference(by_lookup, looked_up, repeats):
    """Certificates of rows with noise and 8 bits a value: no verdict, no sure cause."""
    a = table_runner(looked_up)
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        noisy = {key: rounded(row[None], rng)[0] for key, row in looked_up.items() if key[0] == "plain"}  # fmt: skip
        certificate = certify(PROBE, a, table_runner(noisy), Tolerances())
        assert certificate.verdict == "same", (seed, certificate.reasons)
        assert not [cause for cause in certificate.causes if cause.tried], seed


def bf16_model(seed: int) -> Server:
    """The model in bfloat16 after its weights were moved by up to half of what bfloat16 resolves."""
    import torch

    model = loaded()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.rand(weight.shape, generator=generator) - 0.5
            weight.mul_(1 + noise * 2.0**-7)
    model = model.to(torch.bfloat16)
    return Server(model.encode_text, model.encode_image)


@pytest.mark.parametrize("repeats", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_the_model_in_bfloat16_is_never_a_difference(by_lookup, looked_up, repeats):
    a = table_runner(looked_up)
    for seed in range(repeats):
        certificate = certify(PROBE, a, Runner("bf16", bf16_model(seed)), Tolerances())
        assert certificate.verdict == "same", (seed, certificate.reasons)
        assert all(cause.cause == "precision" for cause in certificate.causes if cause.tried), seed


def test_half_precision_does_not_hide_a_fault(by_lookup):
    exact, half = FAULTS["prompt"](), half_precision()
    model = Server(lambda texts: exact.texts(texts), half.images)
    certificate = certify(PROBE, by_lookup, Runner("server", model), Tolerances())
    assert certificate.causes[0].name == "role_query"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda text: text[1:], "no_first"),
        (lambda text: text[:-1], "no_last"),
        (lambda text: [text[0], *text], "first_twice"),
        (lambda text: [*text, text[-1]], "last_twice"),
        (lambda text: text[:78], "cut_hard_78"),
        (lambda text: text[:1] + text[-76:] if len(text) > 77 else text, "cut_left_77"),
    ],
)
def test_a_special_token_too_few_or_too_many_and_other_cuts_are_named(change, name, by_lookup):
    runner = Runner("server", with_tokens(change))
    causes = certify(TEXTS, by_lookup, runner, Tolerances()).causes
    assert (causes[0].name, causes[0].certainty) == (name, "reproduced")
    assert causes[0].share > 0.9999


@pytest.mark.parametrize("limit", [11, 76, 78, 300, 511])
def test_the_number_of_tokens_that_texts_are_cut_at_is_exact(limit, by_lookup):
    causes = certify(TEXTS, by_lookup, Runner("server", cut(limit)), Tolerances()).causes
    assert [cause.name for cause in causes] == [f"cut_{limit}"] and causes[0].share > 0.9999


def test_the_search_for_a_number_of_tokens_ends_at_it_within_thirty_trials():
    """A share as a cut has it: below 0 where it is much too early, falling to 0 where it is too late."""
    for right in range(2, 600):
        asked = []

        def share(limit, right=right, asked=asked):
            asked.append(limit)
            return 1 - (right - limit) / 40 if limit < right else max(1 - (limit - right) / 40, 0)

        assert best_limit(share, most=8191, enough=0.999) == right
        assert len(asked) == len(set(asked)) <= 30
    assert best_limit(lambda _limit: 1.0, most=7, enough=1.0) is None


LABELS = [Label(f"t{i}", "en", "up to 32", "") for i in range(3)]


def test_agreement_by_hand():
    a = np.array([[1, 0], [0, 2], [3, 4]], np.float32)
    b = np.array([[1, 0], [2, 0], [3, 4.0]], np.float32)
    [everything] = agreements(Compared("text", LABELS, a, b))
    assert (everything.cosine_min, everything.cosine_median, everything.worst) == (0, 1, "t1")
    assert (everything.norm_a, everything.norm_b, everything.norm_change) == (2, 2, 0)
    assert everything.cosine_tail == pytest.approx(
        0.002
    )  # 0.1% of the way from 0 to 1, of two steps


def test_rows_of_zeros_agree_with_each_other_alone():
    zero, row = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)
    assert row_cosines(zero, zero) == 1 and row_cosines(zero, row) == 0


def test_a_share_is_what_goes_away():
    a, b = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert explained_share(a, b, b) == 1
    assert explained_share(a, b, a) == 0
    assert explained_share(a, b, -b) == -1  # further than before
    assert explained_share(a, a, b) == 0  # nothing to explain


def test_rows_show_bits_norms_and_width_by_themselves():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40, 16)).astype(np.float32)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    labels = [Label(f"t{i}", "en", "", "") for i in range(40)]
    binary = Compared("text", labels, a, np.where(a > 0, 1, -1).astype(np.float32))
    best = max(row_causes(binary), key=lambda cause: (cause.cause == "bits", cause.share))
    assert (best.name, best.certainty) == ("binary", "reproduced")
    [swapped] = best_causes(row_causes(binary._replace(a=binary.b, b=binary.a))[1:])
    assert (swapped.name, swapped.words) == ("binary", "A's values have 1 bit")
    assert width_cause("text", a, a[:, :8]).name == "cut"
    assert width_cause("text", a, a[:, ::-1][:, :8]).name == "width"
    assert width_cause("text", a, a) is None


@pytest.mark.parametrize("is_swapped", [False, True])
def test_rows_filled_up_with_zeros_and_rows_all_alike_show_by_themselves(is_swapped):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40, 16)).astype(np.float32)
    labels = [Label(f"t{i}", "en", "", "") for i in range(40)]
    faulty = {
        "zero_tail": np.hstack([a[:, :6], np.zeros((40, 10), np.float32)]),
        "constant": np.tile(a[:1], (40, 1)),
    }
    for name, b in faulty.items():
        rows = (b, a) if is_swapped else (a, b)
        causes = {cause.name: cause for cause in row_causes(Compared("text", labels, *rows))}
        assert causes[name].certainty == "reproduced"
        assert causes[name].words.startswith("A" if is_swapped else "B")
    # Other values before the zeros: the zeros alone do not explain them.
    other = np.hstack([a[:, 6:12], np.zeros((40, 10), np.float32)])
    causes = {cause.name: cause for cause in row_causes(Compared("text", labels, a, other))}
    assert causes["zero_tail"].share < 0.5
    whole = {cause.name for cause in row_causes(Compared("text", labels, a, a + 1e-3))}
    assert not whole & {"zero_tail", "constant"}


def altered(change) -> Runner:
    """A server that does something to the model's finished rows."""
    model = loaded()
    texts, images = model.encode_text, model.encode_image
    return Runner(
        "server",
        Server(lambda items: change(np.asarray(texts(items))), lambda items: change(images(items))),
    )


@pytest.mark.parametrize("is_swapped", [False, True])
def test_clipped_and_negated_rows_are_not_said_to_lack_a_norm(is_swapped):
    """Clipping leaves norms below 1; they are a consequence, and normalising would mend nothing."""
    rows = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    a = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    labels = [Label(f"t{i}", "en", "", "") for i in range(40)]
    altered_rows = {
        ("clipping", "held between -0.3 and 0.3"): np.clip(a, -0.3, 0.3),
        ("clipping", "held between 0 and"): np.maximum(a, 0),
        ("sign", "with the other sign"): -a,
    }
    for (cause, words), b in altered_rows.items():
        pair = (b, a) if is_swapped else (a, b)
        likely = [c for c in row_causes(Compared("text", labels, *pair)) if c.share > LIKELY]
        assert [each.cause for each in likely] == [cause]
        assert likely[0].certainty == "reproduced" and words in likely[0].words
    # nor are rows that only stand away from 1, for whatever reason
    stray = a + np.random.default_rng(1).normal(scale=0.2, size=a.shape).astype(np.float32)
    assert not any(c.share > LIKELY for c in row_causes(Compared("text", labels, a, stray)))


def test_clipped_rows_are_named_in_a_certificate(by_lookup):
    runner = altered(lambda rows: np.clip(rows, -0.1, 0.1))
    causes = certify(PROBE, by_lookup, runner, Tolerances()).causes
    assert [(each.kind, each.cause) for each in causes] == [("text", "clipping"), ("image", "clipping")]  # fmt: skip


def test_a_difference_that_nothing_explains_has_no_known_cause(by_lookup):
    """Values in another order: as far apart as those of any other model."""
    order = np.random.default_rng(0).permutation(256)
    certificate = certify(PROBE, by_lookup, altered(lambda rows: rows[:, order]), Tolerances())
    assert certificate.verdict == "differs"
    assert [each.cause for each in certificate.causes] == ["no known cause"] * 2
    assert not any(each.tried for each in certificate.causes)


def test_missing_norms_do_not_hide_that_the_directions_have_no_known_cause(by_lookup):
    order = np.random.default_rng(0).permutation(256)
    runner = altered(lambda rows: 7 * rows[:, order])
    causes = certify(PROBE, by_lookup, runner, Tolerances()).causes
    assert [each.cause for each in causes] == ["norm", "norm", "no known cause", "no known cause"]


def test_a_model_cut_to_its_first_values_is_not_said_to_leave_its_norms(by_lookup):
    """The norm of a part of a row is below 1; that of the row is 1."""

    def cut(rows):
        part = np.asarray(rows)[:, :128]
        return part / np.linalg.norm(part, axis=1, keepdims=True)

    model = loaded()
    texts, images = model.encode_text, model.encode_image
    narrow = Runner(
        "cut", Server(lambda items: cut(texts(items)), lambda items: cut(images(items)))
    )
    for a, b in ((by_lookup, narrow), (narrow, by_lookup)):
        certificate = certify(PROBE, a, b, Tolerances())
        assert {cause.name for cause in certificate.causes} == {"cut"}
        [reason] = [reason for reason in certificate.reasons if "moved by" not in reason]
        assert reason.endswith("(width)")


def test_first_values_have_the_norm_of_the_whole_row():
    rows = np.array([[3, 4, 12], [0, 0, 5], [0, 0, 0]], np.float32)
    expected = [[7.8, 10.4], [0, 0], [0, 0]]  # 13 / 5 times 3 and 4
    np.testing.assert_allclose(first_values(rows, 2), expected, rtol=1e-6)
    assert first_values(rows, 3) is rows


def test_single_items_are_not_told_as_all():
    """One row of forty is another: nothing may say that all of them differ."""
    a = np.eye(40, dtype=np.float32)
    for kind in ("text", "image"):
        wrong = a.copy()
        wrong[7] = np.roll(a[7], 1) + a[7] / 2
        label = Label("", "en", "up to 32", "") if kind == "text" else Label("", "", "", "wide")
        labels = [label._replace(id=f"i{place}") for place in range(40)]
        compared = Compared(kind, labels, a, wrong)
        [guess] = suggestions(agreements(compared), kind, other_differs=False)
        assert guess.cause == "single items"
        assert guess.words == f"fewer than half of the {kind}s differ; most of all i7"
        wrong[7] = 0
        [zeros] = [cause for cause in row_causes(compared) if cause.cause == "zeros"]
        assert zeros.words == f"B gives zeros alone for 1 of 40 {kind}s, and A does not"
        assert zeros.certainty == "reproduced"


def test_a_guess_is_called_one():
    labels = [Label("a", "en", "up to 32", ""), Label("b", "en", "over 512", "")]
    a = np.eye(2, dtype=np.float32)
    b = np.array([[1, 0], [1, 1]], np.float32)
    [guess] = suggestions(agreements(Compared("text", labels, a, b)), "text", other_differs=False)
    assert (guess.cause, guess.certainty, guess.tried) == ("truncation", "possible", False)


def test_rows_that_are_no_numbers_are_refused():
    model = Server(None, lambda images: np.full((len(images), 256), np.nan))
    with pytest.raises(InvalidError, match=r"server: the row of image .* holds NaN"):
        certify(PROBE, tiny(), Runner("server", model), Tolerances())


def test_rows_of_a_file_are_compared_on_the_benchmark_alone():
    probe = replace(PROBE, parts={"en": PROBE.parts["en"]})
    sides = [part.side for part in parts_of(probe) if part.subset == "en"]
    encoder = tiny().encoder
    rows = {side.kind: encoder.encode(side) for side in sides}
    file = ArrayEncoder(rows, {side.kind: side.ids for side in sides}, name="file")
    certificate = certify(probe, tiny(), Runner("file", file), Tolerances())
    assert certificate.verdict == "same"
    assert "file has rows for the benchmark alone" in certificate.notes[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_cosine": 2.0}, "--min-cosine 2.0: a cosine"),
        ({"norm": float("nan")}, "--max-norm nan"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Tolerances(**settings)


def test_variants_leave_the_model_as_it_was():
    runner = tiny()
    side = next(part.side for part in parts_of(PROBE) if part.side.kind == "text")
    before = runner.rows(side)
    for variant in [*variants.variants_of(runner.encoder).plain]:
        if variant.kind == "text":
            variant.rows(side)
    assert np.array_equal(runner.rows(side), before)


def test_the_command_says_same_or_not_by_its_exit_code(tmp_path):
    base = (TINY, TINY, "--probe", "4", "--subsets", "en")
    done = run(*base, "--json", module="evals.parity", cwd=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout)["verdict"] == "same"
    done = run(*base, "--b", "max_length=32", "--html", "page.html", module="evals.parity", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert "DIFFERS" in done.stdout and "with texts cut at 32 tokens" in done.stdout
    assert "cut at 32 tokens" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny",), "Two models are compared, and 1 is named"),
        (("tiny", "tiny", "--export", "x"), "--export takes one model"),
        (("tiny", "--export", "x", "--check", "y"), "Give one of them"),
        (("tiny", "--check", "x", "--benchmark", "scenes"), "inputs of their own"),
        (("tiny", "tiny", "--b", "colour=red"), "colour=red: write KEY=VALUE"),
        (("tiny", "tiny", "--b", "compile=yes"), "compile=yes: use true or false"),
        (("tiny", "tiny", "--b", "max_length=0"), "max_length=0: give a whole number"),
        (("tiny", "tiny", "--b", "role=page"), "role=page: use query, document, none"),
        (("tiny", "tiny", "--min-cosine", "7"), "a cosine is in"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, message, tmp_path):
    done = run(*arguments, module="evals.parity", cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr


def test_a_sure_cause_needs_a_trial():
    cause = Cause("text", "x", "pooling", "", share=0.99, tried=False)
    assert cause.certainty == "possible"
    assert cause._replace(tried=True).certainty == "reproduced"
    assert cause._replace(tried=True, share=0.6).certainty == "likely"
