"""The pages in a browser: they sort, filter, play, keep to themselves, and fit a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sixgym.leaderboard import benchmark, build_site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here: apt-get install chromium brings it"
)
SELECT = "sixgym/RisNomaSelect-v0"
CONTRASTS = Path(__file__).with_name("contrasts.js").read_text(encoding="utf-8")
"""Finds texts whose contrast with what is behind them is below WCAG AA."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pygame", reason="episodes need the extra 'render'")
    pytest.importorskip("PIL", reason="episodes need the extra 'render'")
    folder = tmp_path_factory.mktemp("site")
    names = ["random", "round_robin", "ao", "ppo"]
    benchmark(SELECT, folder / "rows", policies=names, episodes=4, max_episode_steps=13, quiet=True)
    claim = {"id": "C1", "mark": "[paper]", "statement": "It learns.", "expected": "> 1"}
    claim |= {"measured": "2.0 [1.9, 2.1]", "reason": "", "verdict": "pass"}
    (folder / "claims" / "RisNomaSelect-v0").mkdir(parents=True)
    stored = folder / "claims" / "RisNomaSelect-v0" / "claims.json"
    stored.write_text(json.dumps({"claims": [claim, {**claim, "id": "C2", "verdict": "fail"}]}))
    build_site(folder / "rows", folder / "pages", claims=folder / "claims", films=folder / "films")
    return folder / "pages"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def task_page(site: Path) -> Path:
    (path,) = set(site.glob("*.html")) - {site / "index.html"}
    return path


@pytest.fixture(params=["task"])
def page(browser: Any, site: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page, of the task unless asked for; whatever it says or asks for is an error."""
    opened = browser.new_page(reduced_motion="reduce")
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url))
    path = task_page(site) if request.param == "task" else site / "index.html"
    opened.goto(path.as_uri())
    yield opened
    own = path.as_uri()
    assert [s for s in said if s.partition("#")[0] != own and not s.startswith("data:")] == []
    opened.close()


both = pytest.mark.parametrize("page", ["task", "overview"], indirect=True)
schemes = pytest.mark.parametrize("scheme", ["light", "dark"])


def names(page: Any) -> list[str]:
    cells = page.locator("#board tbody tr:not([hidden]) th.name").all()
    return [cell.inner_text().split()[0] for cell in cells]


def until(page: Any, holds: Callable[[], bool]) -> None:
    """Wait for something; the browser's own waiting is a script of text, which the page forbids."""
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(50)
    pytest.fail("it never came to that")


def test_columns_sort_both_ways_and_say_so(page: Any) -> None:
    ranked = names(page)
    button = page.get_by_role("button", name="policy", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    assert names(page) == sorted(ranked)
    head = page.locator("#board th", has=button)
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert names(page) == sorted(ranked, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"


def test_numbers_sort_as_numbers(page: Any) -> None:
    page.get_by_role("button", name="decide (µs)", exact=True).click()
    column = page.locator("#board thead th[aria-sort]").evaluate("(th) => th.cellIndex")
    values = page.locator("#board tbody tr").evaluate_all(
        f"(rows) => rows.map((row) => Number(row.cells[{column}].dataset.sort))"
    )
    assert len(values) == 4
    assert values == sorted(values)


def test_the_keyboard_alone_reaches_and_sorts_a_column(page: Any) -> None:
    """Tab comes to the button of a column, Space presses it, and one sees where one is."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "normalised":
            break
    else:
        pytest.fail("Tab never came to the column")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Space")
    head = page.locator("#board th[aria-sort]")
    assert head.count() == 1
    assert head.get_attribute("aria-sort") == "ascending"
    assert head.inner_text().strip().startswith("normalised")
    assert names(page)[0] == "random"


def test_the_filter_hides_rows_and_counts_the_rest(page: Any) -> None:
    page.get_by_label("Filter").fill("learned obs")
    assert names(page) == ["ppo"]
    assert page.locator("#board-told").inner_text() == "1 of 4 policies"
    page.get_by_label("Filter").fill("")
    page.get_by_label("Show").select_option("baseline")
    assert sorted(names(page)) == ["ao", "random", "round_robin"]
    page.get_by_label("Filter").fill("rand")
    assert names(page) == ["random"]
    page.get_by_label("Filter").fill("")
    page.get_by_label("Show").select_option("")
    assert len(names(page)) == 4


def test_further_columns_are_shown_when_asked_for(page: Any) -> None:
    button = page.get_by_role("button", name="All columns")
    column = page.get_by_role("columnheader", name="training steps")
    assert column.count() == 0
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert column.is_visible()


def test_a_policy_leads_to_its_commands(page: Any) -> None:
    page.locator("#board").get_by_role("link", name="ppo", exact=True).click()
    recipe = page.locator("#again-ppo")
    recipe.locator("pre").wait_for()
    assert recipe.get_attribute("open") is not None
    assert "sixgym train ris_noma/ppo" in recipe.locator("pre").inner_text()


def test_the_episode_plays_stops_and_is_moved_by_keys(page: Any) -> None:
    """Nothing moves by itself for who asked for less motion (as this browser does)."""
    film = page.locator(".film")
    button, slider, picture = film.locator(".play"), film.get_by_label("Frame"), film.locator("img")
    assert picture.evaluate("(img) => img.complete && img.naturalHeight / img.height") >= 1
    page.locator("#episode").scroll_into_view_if_needed()
    at = slider.input_value()
    page.wait_for_timeout(600)
    assert slider.input_value() == at
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "step 1 of 13"
    first = picture.evaluate("(img) => img.style.objectPosition")
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "step 2 of 13"
    assert picture.evaluate("(img) => img.style.objectPosition") != first
    button.click()
    assert button.inner_text() == "Pause"
    until(page, lambda: int(slider.input_value()) >= 2)
    button.click()
    assert button.inner_text() == "Play"
    at = slider.input_value()
    page.wait_for_timeout(600)
    assert slider.input_value() == at


def test_the_episode_plays_by_itself_once_it_is_seen(browser: Any, site: Path) -> None:
    opened = browser.new_page(reduced_motion="no-preference")
    opened.goto(task_page(site).as_uri())
    slider = opened.locator(".film input")
    assert opened.locator(".play").inner_text() == "Play"
    opened.locator(".film img").scroll_into_view_if_needed()
    until(opened, lambda: opened.locator(".play").inner_text() == "Pause")
    assert int(slider.input_value()) < 13
    opened.close()


@both
@schemes
def test_texts_can_be_read(page: Any, scheme: str) -> None:
    """WCAG AA, computed from what the browser draws."""
    page.emulate_media(color_scheme=scheme)
    checked = page.evaluate(CONTRASTS)
    assert checked["texts"] > 40
    assert checked["poor"] == []


def test_the_check_of_contrast_finds_a_pale_text(page: Any) -> None:
    page.evaluate("document.querySelector('.lead').style.color = '#bbbbbb'")
    assert len(page.evaluate(CONTRASTS)["poor"]) == 1


def test_the_theme_can_be_chosen_and_is_kept(page: Any, site: Path) -> None:
    page.emulate_media(color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    button = page.locator("#theme")
    button.click()
    assert button.inner_text() == "Theme: light"
    button.click()
    assert button.inner_text() == "Theme: dark"
    dark = page.evaluate(paper)
    assert dark != light
    page.reload()
    assert page.evaluate(paper) == dark


@both
@schemes
def test_it_fits_a_phone(page: Any, scheme: str) -> None:
    """360 points wide: tables scroll in their own frames, the page does not."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("summary", has_text="All tasks").click()
    box = page.locator(".sheet").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360


def test_the_name_stays_in_view_where_a_table_scrolls(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    frame = page.locator(".scroll", has=page.locator("#board"))
    frame.evaluate("(box) => { box.scrollLeft = 300; }")
    box = page.locator("#board tbody th.name").first.bounding_box()
    assert 0 <= box["x"] < 40


def test_the_menu_opens_and_closes_by_keys(page: Any) -> None:
    menu = page.locator("summary", has_text="All tasks")
    menu.focus()
    page.keyboard.press("Enter")
    assert page.locator(".sheet").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(".sheet").is_visible()


def test_the_overview_leads_to_the_task(browser: Any, site: Path) -> None:
    opened = browser.new_page()
    opened.goto((site / "index.html").as_uri())
    opened.locator("tbody a").first.click()
    assert opened.locator("h1").inner_text() == SELECT
    opened.close()


def test_without_scripts_everything_is_there(browser: Any, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(task_page(site).as_uri())
    assert opened.get_by_role("columnheader", name="training steps").is_visible()
    assert opened.locator("#board tbody tr").count() == 4
    assert not opened.locator(".controls").is_visible()
    assert not opened.locator("#theme").is_visible()
    context.close()
