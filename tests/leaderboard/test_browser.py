"""The pages in a browser: they sort, filter, keep to themselves, and fit a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sixgym.leaderboard import benchmark, build_site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here: apt-get install chromium brings it"
)
SELECT = "sixgym/RisNomaSelect-v0"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    names = ["random", "round_robin", "ao", "ppo"]
    benchmark(SELECT, folder / "rows", policies=names, episodes=4, max_episode_steps=3, quiet=True)
    build_site(folder / "rows", folder / "pages")
    return folder / "pages"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, site: Path) -> Iterator[Any]:
    """The page of the task; whatever it says or asks for is an error."""
    opened = browser.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url))
    (path,) = set(site.glob("*.html")) - {site / "index.html"}
    opened.goto(path.as_uri())
    yield opened
    assert [s for s in said if s not in (path.as_uri(), "data:,")] == []
    opened.close()


def names(page: Any) -> list[str]:
    cells = page.locator("#board tbody tr:not([hidden]) th.name").all()
    return [cell.inner_text().split()[0] for cell in cells]


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


def test_the_filter_hides_rows_and_counts_the_rest(page: Any) -> None:
    page.get_by_label("Filter by name").fill("learned obs")
    assert names(page) == ["ppo"]
    assert page.locator("#board-told").inner_text() == "1 of 4 policies"
    page.get_by_label("Filter by name").fill("")
    assert len(names(page)) == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page: Any, scheme: str, tmp_path: Path) -> None:
    """360 points wide: tables scroll in their own frames, the page does not."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
    page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)


def test_the_overview_leads_to_the_task(browser: Any, site: Path) -> None:
    opened = browser.new_page()
    opened.goto((site / "index.html").as_uri())
    opened.locator("tbody a").first.click()
    assert opened.locator("h1").inner_text() == SELECT
    opened.close()
