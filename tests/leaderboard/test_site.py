"""The pages: complete, self-contained, and safe with odd names."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import sixgym.leaderboard
from sixgym.envs.core.errors import ResultError
from sixgym.envs.core.registry import entry
from sixgym.leaderboard import benchmark, build_site
from sixgym.leaderboard.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Series,
    axis,
    chart,
    compact,
)
from sixgym.leaderboard.site import SPLITS
from sixgym.leaderboard.store import Latency, Run, load, load_all, save

SELECT = "sixgym/RisNomaSelect-v0"
RESULTS = Path(next(iter(sixgym.leaderboard.__path__)), "results")
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

    void = frozenset({"meta", "link", "br", "line", "circle", "path", "polygon", "input", "img"})

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
        recipe = text.partition(f'id="again-{name}"')[2].partition("</details>")[0]
        command = (
            f"sixgym evaluate {SELECT} --policy {name} --episodes 4 --set hold=queue "
            "--set max_episode_steps=3"
        )
        assert command in recipe
        assert f"sixgym leaderboard verify --env {SELECT} --policy {name}" in recipe
        assert ("sixgym train ris_noma/ppo" in recipe) == (name == "ppo")
        assert f'href="#again-{name}"' in body
    assert f"sixgym benchmark --env {SELECT} --episodes 4" in text
    assert f"sixgym leaderboard verify --env {SELECT}" in text
    assert body.count('class="value"') == len(NAMES)
    assert reader.tags
    assert "Acts in sixgym/RisNoma-v0" in text
    assert "less ao" in text


def test_profiles_and_curves_have_a_line_for_each(site: Path) -> None:
    """What learns, the best baseline (the reference here) and random; five training seeds."""
    text, _ = read(task_page(site))
    profile, curves = text.split('id="profile"')[1].split('id="curves"')
    curves = curves.partition("</section>")[0]
    assert profile.count("<polyline") == profile.count("<polygon") == 3
    assert curves.count("<polyline") == 6  # a faint one a seed, and their mean
    assert curves.count(" faint") == 5
    assert curves.count("<li>") == 1


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
            assert tag not in {"iframe", "object", "embed", "video"}
            assert "src" not in attributes or str(attributes["src"]).startswith("data:image/webp")
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
            if tag == "img":
                assert attributes["alt"]
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


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_can_be_told_from_the_paper_by_day_and_by_night(site: Path, scheme: int) -> None:
    """WCAG AA: 4.5 for text, 3 for what is drawn."""
    text = (site / "index.html").read_text()
    pairs = re.findall(r"--([a-z0-9]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", text)
    colours = {name: pair[scheme] for name, *pair in pairs}
    assert len(colours) == 18
    for paper in (colours["paper"], colours["band"]):
        for name in ("ink", "soft", "link", "baseline", "good", "bad"):
            assert contrast(colours[name], paper) >= 4.5, name
        for name in ("learned", *(f"s{i}" for i in range(8))):
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
    assert "Budget: energy_per_slot_j at most 0" in text
    assert "a contextual bandit" in text
    assert "decide 1,024 (ms)" in text
    assert "2 (99 %: 4)" in text
    assert "sixgym leaderboard submit theirs.zip --episodes 4 --replace" in text
    assert "contextual bandit" in (tmp_path / "site" / "index.html").read_text()


def test_several_tasks_make_an_overall_score(tmp_path: Path) -> None:
    """Of the protocol's own tasks only: rows that ship, of two environments."""
    wanted = {"RisNomaSelect-v0": ("ao", "random", "ppo"), "EventOffload-v0": ("lookup", "ppo")}
    wanted["EventOffload-v0"] += ("random",)
    for row in load_all(RESULTS):
        if row.policy.name in wanted.get(row.task.env_id.rpartition("/")[2], ()):
            save(row, tmp_path / "rows")
    text, _ = read(build_site(tmp_path / "rows", tmp_path / "site"))
    overall = text.split('id="overall"')[1].partition("</table>")[0]
    rows = overall.split("<tr")[2:]
    assert [re.findall(r'class="text name">([^<]+)<', row) for row in rows] == [
        ["all systems"],
        ["event offload"],
        ["ris noma"],
    ]
    assert '<td data-sort="2">2</td>' in rows[0]
    # The reference is the best baseline of both: its normalised score is 1, without doubt.
    assert all("1.000 <span" in row and "[1.000, 1.000]" in row for row in rows)
    named = text.split('id="named"')[1].partition("</table>")[0]
    assert '<th scope="row" class="text name">ppo</th>' in named


def test_the_tasks_of_splits_are_groups_of_their_own(tmp_path: Path) -> None:
    """With a line each across systems, their variants in the names, and no film of them."""
    (split, variants), *_ = entry(SELECT).splits.items()
    variant, params = next(iter(variants.items()))
    for row in load_all(RESULTS):
        if row.task.env_id != SELECT or row.policy.name not in ("ao", "random", "ppo"):
            continue
        other = {"params": dict(params), "params_hash": "0123456789abcdef"}
        for task in (row.task, row.task.model_copy(update=other)):
            save(row.model_copy(update={"task": task}), tmp_path / "rows")
    text, _ = read(build_site(tmp_path / "rows", tmp_path / "site"))
    title = SPLITS[split][0]
    assert f'<th scope="row" class="text name">{title.lower()}</th>' in text
    main, held = text.split('<h2 id="train">')[1].split(f'<h2 id="{split}">')
    assert "RisNomaSelect-v0</a>" in main.partition("</table>")[0]
    assert f"RisNomaSelect-v0 ({variant})</a>" in held.partition("</table>")[0]
    page = next((tmp_path / "site").glob("*-01234567-*.html"))
    assert f"sixgym benchmark --env {SELECT} --split {split}" in page.read_text()


def test_untuned_and_slow_rows_are_shown_as_such(tmp_path: Path) -> None:
    """Untuned ones have no rank and are not the best that learned; slow ones show their number."""
    for path in (RESULTS / "RisNomaSelect-v0").rglob("*.json"):
        row = load(path)
        if row.policy.name == "ppo":
            card = row.policy.model_copy(update={"ranked": False})
            save(row.model_copy(update={"policy": card, "runs": row.runs[:1]}), tmp_path / "rows")
        elif row.policy.name == "ao":
            save(row.model_copy(update={"runs": [first(row.runs[0], 32)]}), tmp_path / "rows")
        elif row.policy.name in ("random", "round_robin"):
            save(row, tmp_path / "rows")
    build_site(tmp_path / "rows", tmp_path / "site")
    text, _ = read(task_page(tmp_path / "site"))
    rows = text.partition("<tbody>")[2].partition("</tbody>")[0].split("<tr")
    last = rows[-1]
    assert ">ppo</a>" in last
    assert "untuned, one seed" in last
    assert '<td class="rank" data-sort="">-</td>' in last
    slow = next(r for r in rows if ">ao</a>" in r)
    assert '<td data-sort="32">32</td>' in slow
    assert f"--policy ao --episodes 32\nsixgym leaderboard verify --env {SELECT}" in text
    overview = (tmp_path / "site" / "index.html").read_text()
    assert ">ppo<" not in overview


def first(run: Run, count: int) -> Run:
    """A run cut to its first episodes."""
    return run.model_copy(
        update={
            "reward": run.reward[:count],
            "length": run.length[:count],
            "sums": {name: values[:count] for name, values in run.sums.items()},
        }
    )


def test_claims_are_shown_where_they_are_measured(tmp_path: Path) -> None:
    row = next(r for r in load_all(RESULTS) if r.task.env_id == SELECT)
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
    assert '1 &lt; 2 &amp; 3 <span class="soft">[paper]</span>' in text
    (folder / "claims.json").write_text('{"claims": [{}]}')
    with pytest.raises(ResultError, match=r"claims\.json: not what `sixgym claims` writes"):
        build_site(tmp_path / "rows", tmp_path / "site", claims=tmp_path / "claims")


def test_of_several_folders_of_claims_the_first_that_has_them_counts(
    rows: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / "none", tmp_path / "own", tmp_path / "shipped"]
    for folder, words in zip(folders[1:], ("mine", "theirs"), strict=True):
        claim = {"id": "C1", "mark": "", "statement": words, "expected": "", "measured": ""}
        claim |= {"reason": "", "verdict": "fail"}
        (folder / "RisNomaSelect-v0").mkdir(parents=True)
        (folder / "RisNomaSelect-v0" / "claims.json").write_text(json.dumps({"claims": [claim]}))
    official = next(r for r in load_all(RESULTS) if r.task.env_id == SELECT)
    save(official, tmp_path / "rows")
    build_site(tmp_path / "rows", tmp_path / "site", claims=folders)
    text, _ = read(task_page(tmp_path / "site"))
    assert "mine" in text
    assert "theirs" not in text


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


def test_a_chart_ends_where_its_lines_do_and_draws_faint_lines_first() -> None:
    strong = Series("one", [(-0.2, 0.0), (1.2, 1.0)], band=[(-0.2, 0.0, 0.1), (1.2, 0.9, 1.0)])
    made = chart("c", "x", "y", [strong, Series("one", [(0.0, 0.5)], is_faint=True)])
    assert made is not None
    assert [line.is_faint for line in made.lines] == [True, False]
    assert made.legend == [("one", 0)]
    assert made.lines[1].path == f"{LEFT},{HEIGHT - BOTTOM} {WIDTH - RIGHT},{TOP}"
    assert len(made.lines[1].area.split()) == 4
    assert [tick.label for tick in made.x] == ["0", "0.5", "1"]


def test_ticks_are_short() -> None:
    assert [compact(v) for v in (0.25, 1500.0, 2e6, 3e9)] == ["0.25", "1.5k", "2M", "3G"]
