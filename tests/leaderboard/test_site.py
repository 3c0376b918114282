"""The page: complete, self-contained, and safe with odd names."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sixgym.envs.core.errors import ResultError
from sixgym.leaderboard import benchmark, build_site
from sixgym.leaderboard.site import _scale
from sixgym.leaderboard.store import load_all, save

SELECT = "sixgym/RisNomaSelect-v0"
NAMES = ["random", "round_robin", "ao"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    benchmark(
        SELECT, folder, policies=NAMES, episodes=4, max_episode_steps=3, quiet=True, hold="queue"
    )
    return folder


class Reader(HTMLParser):
    """Collects tags, and checks that they nest."""

    void = frozenset({"meta", "link", "br", "line", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(path: Path) -> tuple[str, Reader]:
    text = path.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    return text, reader


def test_the_page_holds_every_row_with_its_command(rows: Path, tmp_path: Path) -> None:
    path = build_site(rows, tmp_path)
    assert path == tmp_path / "index.html"
    text, reader = read(path)
    body = text.partition("<tbody>")[2].partition("</tbody>")[0]
    assert body.count("<tr") == 3
    for name in NAMES:
        command = (
            f"sixgym evaluate {SELECT} --policy {name} --episodes 4 --set hold=queue "
            "--set max_episode_steps=3"
        )
        assert command in text
    assert f"sixgym benchmark --env {SELECT} --episodes 4" in text
    assert len([1 for _, a in reader.tags if a.get("class") == "value"]) == 3
    assert "Acts in sixgym/RisNoma-v0" in text


def test_nothing_leaves_the_page(rows: Path, tmp_path: Path) -> None:
    text, reader = read(build_site(rows, tmp_path))
    assert not re.search(r"(https?:)?//[a-z]", text.replace("// ", ""))
    for tag, attributes in reader.tags:
        assert tag not in {"img", "iframe", "object", "embed"}
        assert "src" not in attributes
        if tag == "a":
            assert str(attributes["href"]).startswith("#")
        if tag == "link":
            assert attributes["href"] == "data:,"
    assert "@import" not in text
    assert "url(" not in text


def test_anchors_lead_somewhere_and_pictures_have_words(rows: Path, tmp_path: Path) -> None:
    _, reader = read(build_site(rows, tmp_path))
    ids = {attributes.get("id") for _, attributes in reader.tags}
    for tag, attributes in reader.tags:
        if tag == "a":
            assert str(attributes["href"])[1:] in ids
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"


def test_names_are_text_not_markup(rows: Path, tmp_path: Path) -> None:
    odd: Any = load_all(rows)[0]
    card = odd.policy.model_copy(update={"name": "<script>alert(1)</script>"})
    folder = tmp_path / "rows"
    save(odd.model_copy(update={"policy": card}), folder)
    text, reader = read(build_site(folder, tmp_path / "site"))
    assert "<script>alert" not in text
    assert [tag for tag, _ in reader.tags].count("script") == 1


def test_the_same_rows_make_the_same_page(rows: Path, tmp_path: Path) -> None:
    one, other = build_site(rows, tmp_path / "1"), build_site(rows, tmp_path / "2")
    assert one.read_bytes() == other.read_bytes()


def test_without_rows_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no rows; run `sixgym benchmark` first"):
        build_site(tmp_path, tmp_path / "site")


@pytest.mark.parametrize("bounds", [[33.4, 6.2], [0.001, 0.004], [-5.0, 3.0], [0.0], [1e9, 2e9]])
def test_axes_hold_their_values_between_few_round_ticks(bounds: list[float]) -> None:
    low, high, ticks = _scale(bounds)
    assert low <= min(bounds) <= max(bounds) <= high
    assert low <= 0.0 <= high
    assert 2 <= len(ticks) <= 8
    assert ticks[0] == low
    assert ticks[-1] == high
