"""The report in a real browser: Chromium, driven by Playwright.

`make browser` installs Debian's Chromium and axe-core. Without them these tests skip, unless SAMELOOP_NEEDS_BROWSER is
set, as in continuous integration: then they fail.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import LOOPS, run_in_process
from html_page import ATTACK
from test_report import six_thousand_steps
from test_two_loops import ODD, comparison_of, written

from benchmarks.compare import write_comparison
from benchmarks.lesson.report import FILE_NAME, render, write_report
from benchmarks.lesson.steps import Reviews
from benchmarks.runs import read_comparison
from shared.config import RunConfig
from shared.recording.record import RunRecord
from shared.running.script import kept_scripts

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

BROWSER = os.environ.get("SAMELOOP_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
AXE = Path(__file__).parents[1] / "browser" / "node_modules" / "axe-core" / "axe.min.js"
IS_NEEDED = bool(os.environ.get("SAMELOOP_NEEDS_BROWSER"))
pytestmark = pytest.mark.skipif(
    BROWSER is None and not IS_NEEDED, reason="no Chromium here: `make browser`, or name one in SAMELOOP_BROWSER"
)
# No sandbox, because containers run as root; and nothing that a browser does in the background.
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
WIDTHS, THEMES = (360, 1600), ("light", "dark")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real comparison, on reviews one of which tries to take the page over."""
    folder = tmp_path_factory.mktemp("browser")
    with (folder / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(24):
            text = ATTACK if number % 3 == 0 else f"review {number}: a film about {number} geese"
            writer.writerow([text, number % 2])
    settings = {"dataset": str(folder / "reviews.csv"), "train_size": 16, "eval_size": 8, "num_train_epochs": 2}
    config = RunConfig.build("tiny", save_strategy="epoch", **settings)
    for loop in LOOPS:
        run_in_process(loop, config, folder / "run" / loop)
    write_comparison(folder / "run")
    write_report(folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def browser() -> Iterator[Callable[..., Any]]:
    """`browser(java_script_enabled=False)` is its tab with this option, one for all tests: a new one is more work."""
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield cache(lambda **options: launched.new_context(**options).new_page())
        launched.close()


class Watched:
    """A page, and all that it said, asked for or stumbled over."""

    def __init__(self, browser: Any, file: Path, width: int = 1280, theme: str = "light", **options: Any) -> None:
        self.page = browser(**options)
        self.noticed: list[str] = []
        self.requests: list[str] = []
        self.listeners = {
            "console": lambda message: self.noticed.append(message.text),
            "pageerror": lambda error: self.noticed.append(str(error)),
            "dialog": lambda dialog: self.noticed.append(dialog.message),
            "request": lambda request: self.requests.append(request.url),
        }
        for event, listener in self.listeners.items():
            self.page.on(event, listener)
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(media="screen", color_scheme=theme)
        self.page.goto(file.as_uri())

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *exception: object) -> None:
        for event, listener in self.listeners.items():
            self.page.remove_listener(event, listener)


def open_everything(page: Any) -> None:
    """Open every part that can be opened, and one step's reviews."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.evaluate("document.querySelectorAll('.opener').forEach((each) => each.click())")
    page.evaluate("document.querySelectorAll('.question input:first-of-type').forEach((each) => each.click())")
    page.locator("#step-table .open").first.click()


def test_nothing_is_said_and_nothing_asked_for(browser: Any, run_dir: Path) -> None:
    watched = Watched(browser, run_dir / FILE_NAME)
    with watched as page:
        open_everything(page)
        page.locator("#query").fill("geese")
        page.locator("#theme").click()
        page.locator("nav a").last.click()
        page.wait_for_timeout(300)
        assert page.title().startswith("Identical")
    assert watched.noticed == []
    assert [url for url in watched.requests if not url.startswith("data:")] == [(run_dir / FILE_NAME).as_uri()]


def test_no_line_of_code_wraps_and_twins_are_level(browser: Any, run_dir: Path) -> None:
    with Watched(browser, run_dir / FILE_NAME) as page:
        open_everything(page)
        for width in (1280, 1600):
            page.set_viewport_size({"width": width, "height": 900})
            measured = page.evaluate(
                """() => {
                    const box = (element) => element.getBoundingClientRect();
                    const lines = [...document.querySelectorAll(".code-rows .line")];
                    const rows = [...document.querySelectorAll(".row")];
                    return {
                        lines: lines.length,
                        wide: lines.filter((line) => line.scrollWidth > line.closest("pre").clientWidth + 1).length,
                        heights: [...new Set(lines.map((line) => Math.round(box(line).height)))],
                        unlevel: rows.filter((row) => {
                            const [left, right] = [...row.querySelectorAll(".cell")].map((cell) => box(cell));
                            return left.top !== right.top || left.right > right.left;
                        }).length,
                        rows: rows.length,
                    };
                }"""
            )
            assert measured["lines"] > 150 and measured["rows"] > 30
            assert measured["wide"] == 0 and measured["unlevel"] == 0 and len(measured["heights"]) == 1


def test_where_there_is_no_room_for_two_a_twin_stands_below_its_twin(browser: Any, run_dir: Path) -> None:
    with Watched(browser, run_dir / FILE_NAME) as page:
        for width in (853, 360):
            page.set_viewport_size({"width": width, "height": 900})
            left, right = (page.locator("#row-clip .cell").nth(place).bounding_box() for place in (0, 1))
            assert right["y"] >= left["y"] + left["height"] and right["y"] - left["y"] < 200
            assert right["x"] >= 0 and right["x"] + right["width"] <= width


@pytest.fixture(scope="module")
def three_columns(run_dir: Path) -> Path:
    """A page with the loop with accelerate between the two."""
    records = [RunRecord.read(run_dir / loop) for loop in LOOPS]
    scripts = kept_scripts(run_dir)
    options = {"xray_result": None, "why_not": "left out", "pictures": {}, "scripts": scripts, "accelerate": True}
    file = run_dir / "three.html"
    file.write_text(render(read_comparison(run_dir), records, Reviews({}, [], []), **options), encoding="utf-8")
    return file


@pytest.mark.parametrize("theme", THEMES)
def test_three_columns_are_read_on_every_screen(browser: Any, three_columns: Path, theme: str) -> None:
    with Watched(browser, three_columns, theme=theme) as page:
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        for width in (1920, 1600, 1280, 853, 360):
            page.set_viewport_size({"width": width, "height": 900})
            cells = [page.locator("#row-clip .cell").nth(place).bounding_box() for place in range(3)]
            by_hand, accelerate, trainer = cells
            assert [page.locator("#row-clip .cell").nth(n).get_attribute("data-side") for n in range(3)] == [
                "manual",
                "accelerate",
                "Trainer",
            ]
            is_below = accelerate["y"] >= by_hand["y"] + by_hand["height"]
            if width == 1920:
                assert by_hand["y"] == accelerate["y"] == trainer["y"]
                assert by_hand["x"] + by_hand["width"] <= accelerate["x"] < trainer["x"] - accelerate["width"]
            elif width > 1152:
                # No room for three: accelerate below its match, Trainer next to both.
                assert is_below and by_hand["y"] == trainer["y"] and by_hand["x"] == accelerate["x"] < trainer["x"]
            else:
                assert is_below and trainer["y"] >= accelerate["y"] + accelerate["height"]
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert all(cell["x"] + cell["width"] <= width for cell in cells)
            wide = page.evaluate(
                "[...document.querySelectorAll('.cell pre')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
            )
            # On a narrow one long lines are scrolled, each in its place.
            assert wide == 0 or width <= 853


def test_the_values_of_a_step_stand_beside_its_lines(browser: Any, run_dir: Path) -> None:
    record = RunRecord.read(run_dir / "manual")
    with Watched(browser, run_dir / FILE_NAME) as page:
        value = page.locator('.value[data-value="forward"]')
        assert value.inner_text() == f"loss {record.steps[0]['loss']:.4g}"
        page.locator("#step").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#step-shown").inner_text() == "2 of 4"
        assert value.inner_text() == f"loss {record.steps[1]['loss']:.4g}"
        norms = [record.steps[1][name] for name in ("unclipped_norm", "grad_norm")]
        text = page.locator('#row-clip .value[data-value="clip"]').inner_text()
        assert text == "norm {:.4g} → {:.4g}".format(*norms)
        page.keyboard.press("ArrowLeft")
        assert value.inner_text() == f"loss {record.steps[0]['loss']:.4g}"


def test_a_row_opens_and_its_question_comes_before_the_answer_without_a_mouse(browser: Any, run_dir: Path) -> None:
    with Watched(browser, run_dir / FILE_NAME) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
        opener = page.locator("#row-zero .opener")
        assert not page.locator("#about-zero").is_visible()
        opener.focus()
        page.keyboard.press("Enter")
        assert page.locator("#about-zero").is_visible()
        # What was changed is said before it is asked what comes of it.
        assert "each gradient is added" in page.locator("#about-zero").inner_text()
        measured = page.locator("#about-zero .measured")
        assert not measured.is_visible()
        page.keyboard.press("Tab")
        page.keyboard.press("Space")  # the first answer
        assert page.locator("#about-zero .feedback").inner_text() == "Wrong: it is the gradient norm."
        assert measured.is_visible() and "norm of step 2" in measured.inner_text()
        page.keyboard.press("ArrowDown")
        assert page.locator("#about-zero .feedback").inner_text() == "Right: it is the gradient norm."
        # A row without a question shows what was measured at once.
        page.locator("#row-step .opener").click()
        assert page.locator("#about-step .measured").is_visible()


def test_an_event_of_the_x_ray_leads_to_its_row(browser: Any, run_dir: Path) -> None:
    with Watched(browser, run_dir / FILE_NAME) as page:
        page.locator('#xray details[open] .event .phase a:text-is("clip")').first.click()
        assert page.evaluate("document.querySelector(':target').id") == "row-clip"
        assert page.locator("#about-clip").is_visible()


def test_the_table_filters_by_number_and_by_words(browser: Any, run_dir: Path) -> None:
    with Watched(browser, run_dir / FILE_NAME) as page:
        rows, count = page.locator("#step-table tbody tr"), page.locator("#count")
        assert rows.count() == 4 and count.inner_text() == "4 of 4 steps"
        page.locator("#query").fill("3")
        assert rows.count() == 1 and "3" in rows.first.locator("th").inner_text()
        # One step in every epoch learned from it.
        texts = page.evaluate("data.texts")
        page.locator("#query").fill(next(text for text in texts if "geese" in text).upper())
        assert rows.count() == 2
        page.locator("#query").fill("no such words")
        assert rows.count() == 0 and count.inner_text() == "0 of 4 steps"
        page.locator("#query").fill("")
        page.locator("#only-differing").check()
        assert rows.count() == 0
        page.locator("#only-differing").uncheck()
        assert rows.count() == 4


def test_a_step_shows_its_reviews_and_a_script_among_them_stays_text(browser: Any, run_dir: Path) -> None:
    watched = Watched(browser, run_dir / FILE_NAME)
    with watched as page:
        page.locator("#query").fill("<script>")
        button = page.locator("#step-table .open").first
        button.focus()
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-expanded") == "true"
        reviews = page.locator("#step-table .reviews li")
        assert reviews.count() == 8
        assert any(ATTACK in text for text in reviews.all_inner_texts())
        assert page.locator("#step-table img, #step-table script").count() == 0
        page.wait_for_timeout(200)
        assert page.title().startswith("Identical")
        page.keyboard.press("Enter")
        assert reviews.count() == 0
    assert watched.noticed == []


def test_two_loops_are_called_by_their_files_whatever_these_are_called(browser: Any, tmp_path: Path) -> None:
    loops = written(tmp_path / "mine.py"), written(tmp_path / ODD, **{"1.0": "0.5"})
    folder = comparison_of(tmp_path / "run", *loops)
    write_report(folder)
    watched = Watched(browser, folder / FILE_NAME, 360)
    with watched as page:
        page.locator("#only-differing").check()
        differing = page.locator("#step-table tbody tr").first.locator("td .wrong").first
        assert differing.inner_text().startswith(ODD)
        value = page.locator('.value[data-value="clip"]').first
        assert f", {ODD} " in value.inner_text() and "mine.py " in value.inner_text()
        assert "wrong" in value.get_attribute("class").split()
        page.locator("#step-table .open").first.click()
        assert "Both loops learned from" in page.locator("#step-table .reviews").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert watched.noticed == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows(browser: Any, run_dir: Path, width: int, theme: str) -> None:
    with Watched(browser, run_dir / FILE_NAME, width, theme) as page:
        open_everything(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # Nor does any text leave its box, except in the boxes that scroll.
        outside = page.evaluate(
            """() => [...document.querySelectorAll("main *")].filter((each) =>
                !each.closest(".scroll, svg, .hidden, .cell pre, nav")
                && each.getBoundingClientRect().right > innerWidth + 1
            ).map((each) => each.outerHTML.subset(0, 80))"""
        )
        assert outside == []


def test_the_theme_is_the_systems_until_the_button_is_pressed(browser: Any, run_dir: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with Watched(browser, run_dir / FILE_NAME, theme="light") as page:
        light = page.evaluate(ground)
        page.locator("#theme").click()
        assert page.evaluate(ground) != light
    with Watched(browser, run_dir / FILE_NAME, theme="dark") as page:
        assert page.evaluate(ground) != light
        # The charts follow: their text has the page's colour.
        ink = page.evaluate("getComputedStyle(document.body).color")
        assert page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill") == ink
        page.locator("#theme").click()
        assert page.evaluate(ground) == light


def test_it_prints_whole_and_on_white(browser: Any, run_dir: Path) -> None:
    with Watched(browser, run_dir / FILE_NAME, theme="dark") as page:
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.locator(".top").is_visible()
        # A question on the screen has its answer on paper.
        assert page.locator("#about-clip .measured").is_visible()
        assert not page.locator("#about-clip .question").is_visible() and not page.locator("#stepper").is_visible()
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_scripts_it_says_what_is_missing(browser: Any, run_dir: Path) -> None:
    with Watched(browser, run_dir / FILE_NAME, java_script_enabled=False) as page:
        assert page.get_by_text("This table needs JavaScript, which is switched off").is_visible()
        assert page.get_by_text("every evaluation and every weight are equal").is_visible()
        assert page.locator("#about-clip .measured").is_visible()
        assert not page.locator("#stepper").is_visible()


@pytest.mark.skipif(not AXE.exists() and not IS_NEEDED, reason="no axe-core here: `make browser`")
@pytest.mark.parametrize(
    ("width", "theme"),
    [
        (360, "dark"),
        (1600, "light"),
        # The other two take 30 seconds more.
        pytest.param(360, "light", marks=pytest.mark.slow),
        pytest.param(1600, "dark", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_no_violation(browser: Any, run_dir: Path, width: int, theme: str) -> None:
    # The page's own policy would keep axe out: it is switched off for this look.
    with Watched(browser, run_dir / FILE_NAME, width, theme, bypass_csp=True) as page:
        open_everything(page)
        page.add_script_tag(path=AXE)
        results = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        assert [(violation["id"], violation["nodes"][0]["html"][:120]) for violation in results["violations"]] == []
        assert len(results["passes"]) > 30


def test_6000_steps_are_searched_and_shown_a_page_at_a_time(browser: Any, run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_text(six_thousand_steps(run_dir), encoding="utf-8")
    watched = Watched(browser, file)
    with watched as page:
        rows, count = page.locator("#step-table tbody tr"), page.locator("#count")
        assert rows.count() == 50 and count.inner_text() == "6,000 of 6,000 steps"
        page.locator("#more").click()
        assert rows.count() == 100
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        milliseconds = page.evaluate(
            """() => {
                const started = performance.now();
                document.getElementById("query").value = "like no other";
                document.getElementById("query").dispatchEvent(new Event("input"));
                document.body.offsetHeight;
                return performance.now() - started;
            }"""
        )
        # Shown by `make report-speed`; not asserted, because a busy machine is no fault of the page.
        size = file.stat().st_size / 1e6
        print(f"\n6,000 steps: {size:.2f} MB, first paint {paint:.0f} ms, filter {milliseconds:.0f} ms")
        assert count.inner_text() == "2 of 6,000 steps" and rows.count() == 2
    assert watched.noticed == []
