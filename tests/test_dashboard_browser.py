"""The site in headless Chromium, opened from the disk: every page, filters, sorting, downloads, links, and axe's checks."""

import csv
import json
import re
import shutil
from importlib import resources
from pathlib import Path

import pytest

from evals.analysis.stated_files import read_results
from evals.dashboard.history import read_history
from evals.dashboard.shown import Words
from evals.dashboard.site import Verdicts, build
from tests import records
from tests.foreign_files import ODD, files
from tests.site_records import ARABIC, FORMULA, HOSTILE, PIPE, SCRIPT, example, write
from tests.training_journals import watched_example

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: the extra `dev` has it"
)
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)
PATIENCE = (
    120_000.0  # milliseconds: what is not there by then never comes, however busy the machine is
)
playwright.expect.set_options(timeout=PATIENCE)
PAGES = (
    "index reproduction trends compare matryoshka languages mistakes runs foreign gates quality "
    "watched watched/birds"
).split()
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"
).split()
GATES = [
    {"baseline": "ci", "benchmark": "multi", "model": "alpha", "verdict": "regressed", "difference": -0.01, "low": -0.02,
     "high": -0.001, "before": 0.4, "value": 0.39, "subset": "mean", "direction": "t2i", "metric": "R@1", "dim": 64},
    {"baseline": "ci", "benchmark": "single", "model": "alpha", "verdict": "missing", "message": SCRIPT},
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    imported = read_results([files(folder / "theirs")])
    example(folder / "runs")
    watched_example(folder / "runs")
    history = read_history(folder / "runs")
    build(history, Verdicts(gates=GATES), folder / "site", imported=imported)
    return folder / "site"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


class Visit:
    """A page of the site in a window of its own; what it asks for and complains of is kept."""

    def __init__(self, browser, site: Path, **window) -> None:
        self.site, self.context = site, browser.new_context(**window)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.asked, self.complaints = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, name: str, fragment: str = "") -> "Visit":
        self.page.goto(
            "about:blank"
        )  # an address that differs in its fragment only would not load again
        self.page.goto((self.site / f"{name}.html").as_uri() + fragment)
        self.page.wait_for_selector("html[data-ready]")
        return self

    def column(self, table: str, key: str) -> list[str]:
        heads = self.page.locator(f"#table-{table} th").evaluate_all(
            "all => all.map(one => one.dataset.key)"
        )
        return self.page.locator(
            f"#table-{table} tbody tr td:nth-child({heads.index(key) + 1})"
        ).all_inner_texts()

    def choose(self, name: str, value: str) -> None:
        self.page.locator(f"[name={name}]").select_option(value)

    def download(self, table: str, kind: str) -> str:
        with self.page.expect_download() as found:
            self.page.locator(f"[data-table={table}][data-download={kind}]").click()
        return Path(found.value.path()).read_text(encoding="utf-8")


@pytest.fixture
def visit(browser, site):
    found = Visit(browser, site)
    yield found
    found.context.close()
    assert not found.complaints
    assert all(address.startswith(("file://", "about:", "blob:")) for address in found.asked), (
        found.asked
    )


def test_every_page_opens_from_the_disk_without_complaint(visit, site):
    for name in [*PAGES, *(f"runs/{path.stem}" for path in sorted((site / "runs").iterdir()))]:
        visit.open(name)
        assert visit.page.locator("h1").count() == 1
        drawn = visit.page.locator(".chart svg.marks").count()
        assert drawn == visit.page.locator(".chart").count(), name
    assert {Path(address).suffix for address in visit.asked if address.startswith("file:")} == {
        ".html",
        ".js",
        ".css",
        ".svg",
    }


def test_hostile_names_are_shown_as_text(visit):
    visit.open("index", "#benchmark=hostile")
    assert set(visit.column("newest", "model")) == set(HOSTILE)
    visit.open("gates")
    assert SCRIPT in visit.column("gates", "message")
    visit.open("languages", "#benchmark=hostile")
    assert {SCRIPT, PIPE, FORMULA, ARABIC} <= set(
        visit.page.locator(".chart svg text").all_text_contents()
    )


def test_means_of_result_files_are_marked_by_a_word_and_hostile_names_are_text(visit):
    visit.open("index", "#benchmark=mscoco_captions (CLIP_benchmark)")
    assert set(visit.column("newest", "model")) == {f"{SCRIPT} laion2b_s34b_b79k"}
    assert set(visit.column("newest", "verdict")) == {"stated by CLIP_benchmark, not judged"}
    visit.page.locator("#table-newest tbody a").first.click()
    visit.page.wait_for_selector("html[data-ready]")
    assert visit.column("foreign", "model") == [f"{SCRIPT} laion2b_s34b_b79k"] * 2
    visit.open("foreign")
    assert f"{ODD}".replace("\u202e", "\\u{202e}") in "".join(visit.column("foreign", "model"))


def test_a_filter_narrows_rows_chart_and_address(visit):
    visit.open("trends", "#benchmark=multi")
    assert set(visit.column("points", "model")) == {"alpha", "beta"}
    visit.choose("model", "beta")
    assert set(visit.column("points", "model")) == {"beta"}
    assert visit.page.evaluate("location.hash") == "#benchmark=multi&model=beta"
    # not wait_for_function: where it has to wait, the page's policy refuses its text
    points = visit.page.locator(".chart .mark-symbol.role-mark path")
    playwright.expect(points).to_have_count(1)
    assert "1 of" in visit.page.locator("#points-status").inner_text()
    visit.page.get_by_role("button", name="Clear filters").click()
    # of the whole benchmark with the longest past, with which the page begins
    assert set(visit.column("points", "model")) == {"alpha", "beta"}
    assert visit.page.evaluate("location.hash") == ""


@pytest.mark.parametrize(
    ("name", "field", "value", "page", "table"),
    [
        ("benchmark", "benchmark", "single", "quality", "quality"),
        ("model", "model", "a|b", "quality", "quality"),
        ("subset", "subset", "de", "quality", "counts"),
        ("dim", "dim", "32", "matryoshka", "dims"),
        ("from", "date", "2026-01-16", "quality", "quality"),
        ("to", "date", "2026-01-05", "quality", "quality"),
    ],
)
def test_a_link_opens_with_its_filters(visit, name, field, value, page, table):
    whole = visit.open(page).column(table, field)
    visit.open(page, f"#{name}={value.replace('|', '%7C')}")
    assert visit.page.locator(f"[name={name}]").input_value() == value
    passes = {"from": lambda day: day[:10] >= value, "to": lambda day: day[:10] <= value}.get(
        name, lambda shown: shown == value
    )
    assert 0 < len(list(filter(passes, whole))) < len(whole)
    assert visit.column(table, field) == list(filter(passes, whole))


def test_a_date_can_be_typed_and_the_back_button_keeps_the_site(visit):
    visit.open("runs")
    visit.page.locator("[name=from]").fill("2026-01-15")
    assert min(visit.column("runs", "date"))[:10] == "2026-01-15"
    visit.page.locator("nav a", has_text="Data quality").click()
    visit.page.wait_for_selector("html[data-ready]")
    assert visit.page.locator("[name=from]").input_value() == "2026-01-15"
    assert min(visit.column("quality", "date"))[:10] == "2026-01-15"


def test_tables_sort_by_the_keyboard_both_ways(visit):
    visit.open("index", "#benchmark=multi")
    button = visit.page.locator("#table-newest th[data-key=value] button")
    button.focus()
    for way, backwards in (("ascending", False), ("descending", True)):
        visit.page.keyboard.press("Enter")
        values = [float(text.split()[0]) for text in visit.column("newest", "value")]
        assert values == sorted(values, reverse=backwards)
        assert (
            visit.page.locator("#table-newest th[data-key=value]").get_attribute("aria-sort") == way
        )
    assert "sort=newest.value.desc" in visit.page.evaluate("location.hash")
    visit.open("index", "#sort=newest.change.desc")
    assert visit.column("newest", "change")[-1] == "–"  # what is missing comes last whichever way


def test_downloads_hold_what_is_shown_as_fractions(visit):
    visit.open("index", "#benchmark=single&sort=newest.value.asc")
    rows = json.loads(visit.download("newest", "json"))
    assert [f"{100 * row['value']:.1f}" for row in rows] == [
        text.split()[0] for text in visit.column("newest", "value")
    ]
    assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in rows)
    lines = list(csv.DictReader(visit.download("newest", "csv").splitlines()))
    assert [float(line["value"]) for line in lines] == [row["value"] for row in rows]


def test_formulas_in_a_csv_are_text_and_numbers_stay_numbers(visit):
    visit.open("index", "#benchmark=hostile")
    lines = list(csv.DictReader(visit.download("newest", "csv").splitlines()))
    assert {line["model"] for line in lines} == {SCRIPT, PIPE, "'" + FORMULA, ARABIC}
    visit.open("compare", "#benchmark=hostile")
    signs = {
        line["difference"][0]
        for line in csv.DictReader(visit.download("differences", "csv").splitlines())
    }
    assert "-" in signs and "'" not in signs


def test_a_long_table_shows_its_first_rows_and_downloads_all(visit, site):
    (run,) = (site / "runs").glob("multi__beta__*.html")
    visit.open(f"runs/{run.stem}")
    rows = visit.page.locator("#table-metrics tbody tr")
    assert rows.count() == 100
    assert len(json.loads(visit.download("metrics", "json"))) == 108
    visit.page.locator("[data-more=metrics]").click()
    assert rows.count() == 108


def test_gates_show_in_the_overview(visit):
    visit.open("index", "#benchmark=multi&model=alpha")
    assert set(visit.column("newest", "verdict")) == {"regressed"}
    visit.open("gates")
    assert visit.column("gates", "verdict") == ["missing", "regressed"]


def test_the_matrix_holds_value_change_and_the_verdict_as_a_word(visit):
    visit.open("index", "#benchmark=multi")
    cell = visit.page.locator("#table-matrix td.result", has_text="regressed")
    assert cell.count() == 1
    assert visit.page.locator("#table-matrix tbody th").all_inner_texts() == ["alpha", "beta"]
    assert "36.7" in cell.inner_text() and "+8.33" in cell.inner_text()
    assert "regressed" in cell.get_attribute("class").split()
    visit.choose("model", "beta")
    assert visit.page.locator("#table-matrix td.result").count() == 1
    visit.open("index", "#benchmark=single")
    assert "[27.5, 57.5]" in visit.page.locator("#table-matrix td.result").inner_text()
    visit.open("index", "#benchmark=flickr30k (CLIP_benchmark)")
    assert (
        "stated by CLIP_benchmark, not judged" in visit.page.locator("#table-matrix").inner_text()
    )


def test_the_matrix_has_the_newest_checkpoint_of_a_name(browser, tmp_path):
    for day, weights in enumerate("abc", start=1):
        encoder = records.encoder("nightly", weights=weights * 64)
        columns = records.queries(20, dim=8)
        records.write(
            tmp_path / "runs",
            [records.line("R@1", 1.0, dim=8)],
            columns,
            day=day,
            model="nightly",
            encoder=encoder,
        )
    build(read_history(tmp_path / "runs"), Verdicts(gates=[]), tmp_path / "site")
    visit = Visit(browser, tmp_path / "site").open("index")
    rows = visit.page.locator("#table-matrix tbody th")
    names = [f"nightly ({weights * 8})" for weights in "abc"]
    # one benchmark by one model, and below it each checkpoint with its own value
    heads = visit.page.locator("#table-matrix th").all_inner_texts()
    assert rows.count() == 1 and names[2] in heads and not {names[0], names[1]} & set(heads)
    assert sorted(visit.column("newest", "model")) == names
    visit.choose("model", names[0])
    assert names[0] in visit.page.locator("#table-matrix th").all_inner_texts()
    assert not visit.complaints
    visit.context.close()


def test_names_with_numbers_stand_in_the_order_of_the_numbers(browser, tmp_path):
    steps = ["step-9", "step-80", "step-700"]
    for name in reversed(steps):
        for day in (1, 2):
            write(tmp_path / "runs", name, day)
    build(read_history(tmp_path / "runs"), Verdicts(gates=[]), tmp_path / "site")
    visit = Visit(browser, tmp_path / "site").open("index")
    heads = visit.page.locator("#table-matrix th").all_inner_texts()
    assert [head for head in heads if head in steps] == steps
    for name, labels in (
        ("trends", ".role-legend-label text"),
        ("matryoshka", ".role-legend-label text"),
        ("languages", ".role-axis-label text"),
    ):
        texts = visit.open(name).page.locator(f".chart {labels}").all_text_contents()
        assert [text for text in texts if text in steps] == steps, name
    assert not visit.complaints
    visit.context.close()


WIDER = """
() => [...document.querySelectorAll(".scroll, .scroll td, .scroll th, .chart svg")]
  .filter((part) => part.offsetParent || part.tagName === "svg")
  .filter((part) => part.getBoundingClientRect().right > innerWidth || part.scrollWidth > part.clientWidth + 1)
  .map((part) => part.outerHTML.slice(0, 200))
"""


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_no_column_is_cut_off_and_no_page_scrolls_sideways(browser, site, width):
    visit = Visit(browser, site, viewport={"width": width, "height": 900})
    for name in [*PAGES, f"runs/{min((site / 'runs').iterdir()).stem}"]:
        visit.open(name)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert not visit.page.evaluate(WIDER), name
    visit.context.close()


def test_figures_of_a_heat_map_do_not_lie_on_each_other_on_a_phone(browser, site):
    visit = Visit(browser, site, viewport={"width": 390, "height": 900}).open("languages")
    figures = visit.page.locator(".chart .role-mark.mark-text text")
    boxes = figures.evaluate_all(
        "all => all.filter(one => one.getAttribute('opacity') !== '0')"
        ".map(one => one.getBoundingClientRect()).map(one => [one.top, one.left, one.right])"
    )
    rows: dict[int, list[tuple[float, float]]] = {}
    for top, left, right in boxes:
        rows.setdefault(round(top), []).append((left, right))
    for row in rows.values():
        ends = [end for box in sorted(row) for end in box]
        assert ends == sorted(ends)
    assert "%" not in "".join(figures.all_text_contents())
    visit.context.close()


@pytest.mark.parametrize("width", [390, 1024])
def test_days_and_minutes_stay_whole(browser, site, width):
    visit = Visit(browser, site, viewport={"width": width, "height": 900}).open("runs")
    lines = visit.page.locator("#table-runs .whole").evaluate_all(
        "all => all.map(one => one.getClientRects().length)"
    )
    assert set(lines) == {1}
    visit.context.close()


def test_a_table_that_filters_leave_empty_says_so(visit):
    visit.open("quality", "#benchmark=single&model=beta")
    assert (
        visit.page.locator("#table-quality tbody").inner_text() == "None that these filters leave."
    )


def test_zero_has_a_tick_wherever_differences_are_drawn(browser, site):
    for width in (390, 1024, 1920):
        visit = Visit(browser, site, viewport={"width": width, "height": 900}).open("compare")
        ticks = visit.page.locator(".chart .role-axis-label text").all_text_contents()
        assert "0" in ticks and "+0" not in ticks, width
        visit.context.close()


def test_a_column_without_a_value_leaves_before_rows_become_blocks(browser, site):
    visit = Visit(browser, site, viewport={"width": 1920, "height": 900}).open("gates")
    table = visit.page.locator("#table-gates")
    classes = {"", "tight", "tight bare", "stacked bare"}
    seen = []
    for width in range(1900, 300, -50):
        visit.page.set_viewport_size({"width": width, "height": 900})
        seen.append(table.get_attribute("class") or "")
    assert set(seen) <= classes
    assert [name for i, name in enumerate(seen) if name not in seen[:i]] == [
        name for name in ("", "tight", "tight bare", "stacked bare") if name in seen
    ]
    visit.context.close()


def test_a_table_is_one_again_where_there_is_room(browser, site):
    visit = Visit(browser, site, viewport={"width": 390, "height": 900}).open("runs")
    table = visit.page.locator("#table-runs")
    assert "stacked" in table.get_attribute("class")
    visit.page.set_viewport_size({"width": 1920, "height": 900})
    visit.page.wait_for_selector("#table-runs:not(.stacked):not(.tight)")
    visit.context.close()


def test_axes_are_in_utc_and_24_hours_wherever_the_reader_is(browser, site):
    visit = Visit(browser, site, timezone_id="Pacific/Auckland", locale="en-US")
    visit.open("trends", "#benchmark=hostile")
    texts = visit.page.locator(".chart .role-axis-label text").all_text_contents()
    assert {"12 Jan", "12 Jan 12:00", "13 Jan"} <= set(texts)
    assert not [text for text in texts if "AM" in text or "PM" in text]
    titles = visit.page.locator(".chart .role-axis-title text").all_text_contents()
    assert "time of the run (UTC)" in titles
    visit.context.close()


TICKS = """
async ([chart, rows]) => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const { spec } = page.charts.find((one) => one.id === chart);
  const datasets = Object.fromEntries(page.tables.map((table) => [table.id, rows]));
  const place = document.getElementById(`chart-${chart}`);
  await vegaEmbed(place, { ...spec, datasets }, {
    mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false,
    logLevel: vega.Error, tooltip: { disableDefaultStyle: true },
  });
  return [...place.querySelectorAll("text")].map((text) => text.textContent);
}
"""


@pytest.mark.parametrize(
    ("page", "chart", "unit", "around"),
    [("compare", "forest", "", 0.0), ("trends", "trend", "%", 0.5)],
)
def test_ticks_of_a_narrow_axis_differ_from_each_other(visit, page, chart, unit, around):
    visit.open(page)
    rows = [
        {"cell": "en", "model": "m", "date": f"2026-01-0{day}T00:00:00Z", "low": value - 0.0004}
        | {"value": value, "difference": value, "high": value + 0.0004}
        for day, value in ((1, around), (2, around + 0.0006))
    ]
    texts = visit.page.evaluate(TICKS, [chart, rows])
    ticks = [text for text in texts if re.fullmatch(rf"[+−]?[\d.]+{unit}", text)]
    assert len(ticks) > 3
    assert len(set(ticks)) == len(ticks)


def test_an_axis_that_does_not_start_at_0_says_so_and_no_other_does(visit):
    visit.open("trends")
    rows = [
        {"model": "m", "date": f"2026-01-0{day}T00:00:00Z", "value": value}
        for day, value in ((1, 0.5), (2, 0.6))
    ]
    zoomed = "Zoomed: the y axis does not start at 0."
    assert zoomed in visit.page.evaluate(TICKS, ["trend", rows])
    assert zoomed not in visit.page.evaluate(TICKS, ["trend", [*rows, rows[0] | {"value": 0}]])


DECODED = """
async () => {
  const image = document.querySelector("#table-mistakes img");
  await image.decode();
  return image.naturalWidth;
}
"""


def test_thumbnails_are_shown_beside_the_words_of_a_query(browser, scenes_run, tmp_path):
    build(read_history(scenes_run.parents[2]), Verdicts(), tmp_path / "s", words=Words(True))
    visit = Visit(browser, tmp_path / "s", viewport={"width": 390, "height": 900}).open("mistakes")
    assert visit.column("mistakes", "asked")[0]
    first = visit.page.locator("#table-mistakes tbody tr").first.locator("img")
    first.last.scroll_into_view_if_needed()
    assert visit.page.evaluate(DECODED) > 0
    assert first.count() > 1
    assert not visit.page.evaluate(WIDER)
    row = next(csv.DictReader(visit.download("mistakes", "csv").splitlines()))
    assert row["asked"] and "object" not in row["preferred"]
    assert not visit.complaints
    visit.context.close()


def test_the_skip_link_moves_the_focus_and_keeps_the_filters(visit):
    visit.open("index", "#benchmark=multi")
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    assert visit.page.evaluate("document.activeElement.id") == "main"
    assert visit.page.evaluate("location.hash") == "#benchmark=multi"


def test_without_script_the_page_says_so(browser, site):
    visit = Visit(browser, site, java_script_enabled=False)
    visit.page.goto((site / "index.html").as_uri())
    assert "switched off" in visit.page.locator("main").inner_text()
    visit.context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_no_fault_and_a_phone_scrolls_no_page_sideways(browser, site, scheme, width):
    axe = (
        resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    )
    visit = Visit(
        browser,
        site,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        bypass_csp=True,
    )
    for name in [*PAGES, f"runs/{min((site / 'runs').iterdir()).stem}"]:
        visit.open(name)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, name
        visit.page.evaluate(axe)
        found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")[
            "violations"
        ]
        faults = [(fault["id"], fault["impact"], fault["nodes"][0]["html"]) for fault in found]
        assert not faults, name
    visit.context.close()


def test_a_name_breaks_behind_its_dashes_and_never_within_a_number(browser, tmp_path):
    for day, name in enumerate(("tiny-0.25", "tiny-0.5"), 1):
        write(tmp_path / "runs", name, day)
    build(read_history(tmp_path / "runs"), Verdicts(), tmp_path / "site")
    visit = Visit(browser, tmp_path / "site").open("runs")
    assert "tiny-<wbr>0.25" in visit.page.content()
    visit.context.close()
