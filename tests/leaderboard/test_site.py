"""The pages: complete, self-contained, and safe with odd names."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sixgym.envs.core.errors import ResultError
from sixgym.leaderboard import benchmark, build_site
from sixgym.leaderboard.charts import Series, axis, chart, compact
from sixgym.leaderboard.store import Latency, load_all, save

SELECT = "sixgym/RisNomaSelect-v0"
NAMES = ["random", "round_robin", "ao", "ppo"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    benchmark(
        SELECT, folder, policies=NAMES, episodes=4, max_episode_steps=3, quiet=True, hold="queue"
    )
    return folder


@pytest.fixture(scope="module")
def site(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert build_site(rows, folder) == folder / "index.html"
    return folder


class Reader(HTMLParser):
    """Collects tags, and checks that they nest."""

    void = frozenset({"meta", "link", "br", "line", "circle", "input"})

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


def task_page(site: Path) -> Path:
    (page,) = set(site.glob("*.html")) - {site / "index.html"}
    return page


def test_the_page_of_a_task_holds_every_row_with_its_command(site: Path) -> None:
    text, reader = read(task_page(site))
    body = text.partition("<tbody>")[2].partition("</tbody>")[0]
    assert body.count("<tr") == len(NAMES)
    for name in NAMES:
        command = (
            f"sixgym evaluate {SELECT} --policy {name} --episodes 4 --set hold=queue "
            "--set max_episode_steps=3"
        )
        assert command in text
    assert f"sixgym benchmark --env {SELECT} --episodes 4" in text
    assert f"sixgym leaderboard verify --env {SELECT}" in text
    assert len([1 for _, a in reader.tags if a.get("class") == "value"]) == len(NAMES)
    assert "Acts in sixgym/RisNoma-v0" in text
    assert "less ao" in text


def test_profiles_and_curves_have_a_line_for_each(site: Path) -> None:
    """What learns, the best baseline (the reference here) and random; three training seeds."""
    text, _ = read(task_page(site))
    profile, curves = text.split('id="profile"')[1].split('id="curves"')
    assert profile.count("<polyline") == 3
    assert curves.count("<polyline") == 3
    assert curves.count('class="legend"') == 1


def test_the_overview_leads_to_every_task(site: Path, rows: Path) -> None:
    text, reader = read(site / "index.html")
    links = {a["href"] for tag, a in reader.tags if tag == "a"}
    assert task_page(site).name in links
    body = text.partition("<tbody>")[2].partition("</tbody>")[0]
    assert body.count("<tr") == 1
    assert ">ppo<" in body
    assert ">ao<" in body
    assert "1.000" in body  # ao is the reference


def test_nothing_leaves_the_pages(site: Path) -> None:
    for path in site.glob("*.html"):
        text, reader = read(path)
        assert not re.search(r"(https?:)?//[a-z]", text.replace("// ", ""))
        policies = [a["content"] for tag, a in reader.tags if tag == "meta" and "http-equiv" in a]
        assert policies
        assert str(policies[0]).startswith("default-src 'none'")
        for tag, attributes in reader.tags:
            assert tag not in {"img", "iframe", "object", "embed"}
            assert "src" not in attributes
            if tag == "a":
                target = str(attributes["href"])
                assert target.startswith("#") or (site / target).is_file()
            if tag == "link":
                assert attributes["href"] == "data:,"
        assert "@import" not in text
        assert "url(" not in text


def test_everything_has_words_for_those_who_do_not_see_it(site: Path) -> None:
    for path in site.glob("*.html"):
        text, reader = read(path)
        ids = [a["id"] for _, a in reader.tags if "id" in a]
        assert len(ids) == len(set(ids))
        levels = [int(t[1]) for t, _ in reader.tags if re.fullmatch(r"h[1-6]", t)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
        for tag, attributes in reader.tags:
            if tag == "a" and str(attributes["href"]).startswith("#"):
                assert str(attributes["href"])[1:] in ids
            if tag == "svg":
                assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
            if tag == "table":
                assert attributes.get("aria-label") or attributes.get("aria-labelledby") in ids
            if tag == "th":
                assert attributes["scope"] in ("row", "col")
            if attributes.get("role") == "region":
                assert attributes["tabindex"] == "0"  # what scrolls can be scrolled by keys
        assert '<html lang="en">' in text
        assert "Skip to the content" in text


def _luminance(colour: str) -> float:
    """Relative luminance. [standard: WCAG 2.1]"""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_told_from_the_paper_by_day_and_by_night(site: Path) -> None:
    """WCAG AA: 4.5 for text, 3 for what is drawn."""
    text = (site / "index.html").read_text()
    light, dark = (block.partition("}")[0] for block in text.split(":root {")[1:3])
    for block in (light, dark):
        colours = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", block))
        assert len(colours) == 16
        for paper in (colours["paper"], colours["band"]):
            for name in ("ink", "muted", "mark", "s2", "s5"):
                assert contrast(colours[name], paper) >= 4.5, name
            for name in ("reference", "focus", *(f"s{i}" for i in range(8))):
                assert contrast(colours[name], paper) >= 3.0, name


def test_names_are_text_not_markup(rows: Path, tmp_path: Path) -> None:
    odd: Any = load_all(rows)[0]
    card = odd.policy.model_copy(update={"name": "<script>alert(1)</script>\"'"})
    folder = tmp_path / "rows"
    save(odd.model_copy(update={"policy": card}), folder)
    build_site(folder, tmp_path / "site")
    for path in (tmp_path / "site").glob("*.html"):
        text, reader = read(path)
        assert "<script>alert" not in text
        assert [tag for tag, _ in reader.tags].count("script") == 1


def test_budgets_bandits_latencies_and_submissions_are_shown(rows: Path, tmp_path: Path) -> None:
    for row in load_all(rows):
        scores = [
            s.model_copy(update={"budget": 0.0}) if s.name == "energy_per_slot_j" else s
            for s in row.task.scores
        ]
        task = row.task.model_copy(update={"scores": scores, "is_bandit": True})
        timed = row.runs[0].model_copy(
            update={"latency": [Latency(rows=1024, median_s=0.002, p99_s=0.004, calls=9)]}
        )
        card = row.policy
        if card.name == "ppo":
            card = card.model_copy(update={"source": "submission", "origin": "theirs.zip"})
        update = {"task": task, "policy": card, "runs": [timed, *row.runs[1:]]}
        save(row.model_copy(update=update), tmp_path / "rows")
    build_site(tmp_path / "rows", tmp_path / "site")
    text, _ = read(task_page(tmp_path / "site"))
    assert text.count("over budget: energy per slot j") == len(NAMES)
    assert "Budget: energy_per_slot_j at most 0." in text
    assert "a contextual bandit" in text
    assert "decide 1,024 (ms)" in text
    assert "2 (99 %: 4)" in text
    assert "sixgym leaderboard submit theirs.zip --episodes 4 --replace" in text
    assert "contextual bandit" in (tmp_path / "site" / "index.html").read_text()


def test_several_tasks_make_an_overall_score(tmp_path: Path) -> None:
    """Of the protocol's own tasks only: rows that ship, of two environments."""
    import sixgym.leaderboard

    stored = Path(next(iter(sixgym.leaderboard.__path__)), "results")
    wanted = {"RisNomaSelect-v0": ("ao", "random", "ppo"), "EventOffload-v0": ("lookup", "ppo")}
    wanted["EventOffload-v0"] += ("random",)
    for row in load_all(stored):
        if row.policy.name in wanted.get(row.task.env_id.rpartition("/")[2], ()):
            save(row, tmp_path / "rows")
    text, _ = read(build_site(tmp_path / "rows", tmp_path / "site"))
    overall = text.split('id="overall"')[1].partition("</table>")[0]
    for name in ("the best baseline of each task", "the best learned policy of each task", "ppo"):
        assert f">{name}<" in overall
    assert overall.count('<td data-sort="2">2</td>') == 3


def test_claims_are_shown_where_they_are_measured(tmp_path: Path) -> None:
    import sixgym.leaderboard

    stored = Path(next(iter(sixgym.leaderboard.__path__)), "results")
    row = next(r for r in load_all(stored) if r.task.env_id == SELECT)
    save(row, tmp_path / "rows")
    folder = tmp_path / "claims" / "RisNomaSelect-v0"
    folder.mkdir(parents=True)
    claim = {
        "id": "C1", "mark": "[paper]", "statement": "1 < 2 & 3", "expected": "true",
        "measured": "1.0", "reason": "", "verdict": "pass", "figure": "c1.png",
    }  # fmt: skip
    (folder / "claims.json").write_text(json.dumps({"claims": [claim]}))
    build_site(tmp_path / "rows", tmp_path / "site", claims=tmp_path / "claims")
    text, _ = read(task_page(tmp_path / "site"))
    assert "[paper] 1 &lt; 2 &amp; 3" in text
    (folder / "claims.json").write_text('{"claims": [{}]}')
    with pytest.raises(ResultError, match=r"claims\.json: not what `sixgym claims` writes"):
        build_site(tmp_path / "rows", tmp_path / "site", claims=tmp_path / "claims")


def test_the_same_rows_make_the_same_pages(rows: Path, site: Path, tmp_path: Path) -> None:
    build_site(rows, tmp_path)
    for path in site.glob("*.html"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_without_rows_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no rows; run `sixgym benchmark` first"):
        build_site(tmp_path, tmp_path / "site")


@pytest.mark.parametrize("bounds", [[33.4, 6.2], [0.001, 0.004], [-5.0, 3.0], [0.0], [1e9, 2e9]])
@pytest.mark.parametrize("with_zero", [False, True])
def test_axes_hold_their_values_between_few_round_ticks(
    bounds: list[float], with_zero: bool
) -> None:
    low, high, ticks = axis(bounds, with_zero=with_zero)
    assert low <= min(bounds) <= max(bounds) <= high
    assert not with_zero or low <= 0.0 <= high
    assert 2 <= len(ticks) <= 8
    assert ticks[0] == low
    assert ticks[-1] == high


def test_a_chart_puts_larger_values_higher() -> None:
    made = chart("c", "x", "y", [Series("one", [(0.0, 1.0), (10.0, 2.0), (5.0, float("nan"))])])
    assert made is not None
    (left, low), (right, high) = (
        tuple(map(float, point.split(","))) for point in made.lines[0].path.split()
    )
    assert left < right
    assert high < low  # down the page
    assert chart("c", "x", "y", [Series("none", [])]) is None
    assert [compact(v) for v in (0.25, 1500.0, 2e6, 3e9)] == ["0.25", "1.5k", "2M", "3G"]
