"""The boards as static pages made from stored rows: an overview, and one page a task.

Each page is one file with everything in it; none makes an external request, and their content
security policy forbids it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

import sixgym
from sixgym.envs.core.errors import ResultError
from sixgym.envs.core.worlds import row_seed
from sixgym.leaderboard import stats
from sixgym.leaderboard.board import Board, BoardRow, make_boards, prefix_of
from sixgym.leaderboard.charts import Chart, Series, axis, chart
from sixgym.leaderboard.stats import Interval
from sixgym.leaderboard.store import load_all, write_atomically
from sixgym.leaderboard.table import footnote, number

PLOT_WIDTH = 220.0
"""Width of the interval plot in its own units."""

MOST_LINES = 8
"""Lines of a chart, and colours that can be told apart."""

PROFILE_STEPS = 41
"""Scores at which a performance profile is drawn."""


class Bar(NamedTuple):
    """An interval in the units of the plot."""

    low: float
    value: float
    high: float


class Place(NamedTuple):
    """A page: what links to it say, and its file."""

    name: str
    file: str


class Line(NamedTuple):
    """One row of a task's page, formatted."""

    rank: int
    row: BoardRow
    words: str
    score: str
    interval: str
    bar: Bar
    normalised: str
    to_reference: str
    to_best: str
    improvement: str
    others: list[tuple[float, str]]
    decision_us: float
    step_us: float
    latencies: list[tuple[float | str, str]]
    acts_in: str
    command: str


class Summary(NamedTuple):
    """A normalised score of the overview, formatted."""

    name: str
    tasks: int
    score: str
    interval: str
    sort: float | str
    bar: Bar


class TaskLine(NamedTuple):
    """One task of the overview."""

    place: Place
    board: Board
    baseline: Summary
    learned: Summary


def build_site(
    results: Path | str, output: Path | str, *, claims: Path | str | None = None
) -> Path:
    """Write the pages of all rows below a results folder.

    Args:
        results: as written by `sixgym.leaderboard.benchmark`.
        output: folder of the pages.
        claims: folder with a folder for each environment, in which ``claims.json`` lies as
            ``sixgym claims --out`` writes it; None: no claims on the pages.

    Returns:
        The path of ``index.html``.

    Raises:
        ResultError: there is no such folder, it holds no rows, or one is malformed.
    """
    rows = load_all(results)
    if not rows:
        raise ResultError(f"results={str(results)!r}: no rows; run `sixgym benchmark` first")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    boards = make_boards(rows)
    places = _places(boards)
    common = {"places": places, "width": PLOT_WIDTH, "version": sixgym.__version__}
    for board, place in zip(boards, places, strict=True):
        page = environment.get_template("task.html").render(
            **common, file=place.file, **_task_page(board, claims)
        )
        write_atomically(Path(output) / place.file, page)
    path = Path(output) / "index.html"
    page = environment.get_template("overview.html").render(
        **common, file=path.name, **_overview(boards, places)
    )
    write_atomically(path, page)
    return path


def _places(boards: Sequence[Board]) -> list[Place]:
    """The pages of the tasks; what differs from other tasks of an environment is in their names."""
    ids = [board.task.env_id for board in boards]
    found = []
    for board in boards:
        task = board.task
        name = task.env_id.rpartition("/")[2]
        if ids.count(task.env_id) > 1:
            name += f" ({task.folder.rpartition('/')[2]})"
        found.append(Place(name, task.folder.replace("/", "-") + ".html"))
    return found


# --- the overview ---------------------------------------------------------------------------------


def _overview(boards: Sequence[Board], places: Sequence[Place]) -> dict[str, Any]:
    """What the overview is made from."""
    found: dict[tuple[int, str], Interval] = {}
    for place, board in enumerate(boards):
        for row in board.rows:
            if row.policy.name in (board.best_baseline, board.best_learned) and row.normalised:
                found[place, row.policy.name] = row.normalised
    overall = _overall(boards)
    bounds = [v for interval in [*found.values(), *overall.values()] for v in interval]
    low, high, ticks = axis([0.0, 1.0, *bounds], with_zero=True)

    def shown(name: str, interval: Interval | None, tasks: int = 1) -> Summary:
        if interval is None or not math.isfinite(interval.value):
            return Summary(name, tasks, "-", "", "", Bar(0.0, 0.0, 0.0))
        return Summary(
            name,
            tasks,
            f"{interval.value:.3f}",
            f"{interval.low:.3f} to {interval.high:.3f}",
            interval.value,
            Bar(*(_place(v, low, high) for v in (interval.low, interval.value, interval.high))),
        )

    lines = []
    for place, (board, page) in enumerate(zip(boards, places, strict=True)):
        best, learned = board.best_baseline or "", board.best_learned or ""
        lines.append(
            TaskLine(
                page,
                board,
                shown(best, found.get((place, best))),
                shown(learned, found.get((place, learned))),
            )
        )
    counts = {name: len(entries) for name, entries in _groups(boards).items()}
    return {
        "tasks": lines,
        "overall": [shown(name, found, counts[name]) for name, found in overall.items()],
        "ticks": [(_place(value, low, high), f"{value:g}") for value in ticks],
    }


def _groups(boards: Sequence[Board]) -> dict[str, list[stats.Scored]]:
    """Who is compared over the tasks: the best of each, and what plays several under one name.

    Only the protocol's own tasks count, and one of each environment.
    """
    groups: dict[str, list[stats.Scored]] = {}
    seen = set()
    for board in boards:
        if not board.task.is_official or board.task.env_id in seen:
            continue
        seen.add(board.task.env_id)
        learned = [row.policy.name for row in board.rows if row.policy.kind == "learned"]
        names = [
            ("the best baseline of each task", board.best_baseline),
            ("the best learned policy of each task", board.best_learned),
            *((name, name) for name in learned),
        ]
        for group, name in names:
            entry = board.entry(name) if name is not None else None
            if entry is not None:
                groups.setdefault(group, []).append(entry)
    return {name: entries for name, entries in groups.items() if len(entries) > 1}


def _overall(boards: Sequence[Board]) -> dict[str, Interval]:
    """The interquartile mean of each group over its tasks, best first."""
    found = {name: stats.aggregate_iqm(entries) for name, entries in _groups(boards).items()}
    return dict(sorted(found.items(), key=lambda item: -item[1].value))


# --- the page of a task ---------------------------------------------------------------------------


def _task_page(board: Board, claims: Path | str | None) -> dict[str, Any]:
    """What the page of a task is made from."""
    task = board.task
    top = max(abs(row.score.value) for row in board.rows)
    factor, unit = prefix_of(top, board.headline.unit)
    bounds = [bound / factor for row in board.rows for bound in row.score]
    low, high, ticks = axis(bounds, with_zero=True)
    latencies = sorted({one.rows for row in board.rows for one in row.latency})
    scale = (factor, low, high)
    lines = [_line(rank + 1, row, board, scale, latencies) for rank, row in enumerate(board.rows)]
    episodes = f" --episodes {task.episodes}{_seed(board)}{_overrides(task.params)}"
    return {
        "board": board,
        "unit": unit,
        "ticks": [(_place(value, low, high), f"{value:g}") for value in ticks],
        "lines": lines,
        "latencies": latencies,
        "note": footnote(board),
        "profile": _profile(board),
        "curves": _curves(board),
        "claims": _claims(task.env_id, claims) if task.is_official else [],
        "command": f"sixgym benchmark --env {task.env_id}{_extra_policies(board)}{episodes}",
    }


def _line(
    rank: int,
    row: BoardRow,
    board: Board,
    scale: tuple[float, float, float],
    latencies: Sequence[int],
) -> Line:
    factor, low, high = scale
    card = row.policy
    score = Interval(*(v / factor for v in row.score))
    acts_in = ", ".join(f"{k}={v}" for k, v in sorted(card.env_kwargs.items()))
    if card.env_id != board.task.env_id:
        acts_in = card.env_id + (f" ({acts_in})" if acts_in else "")
    less = None if row.to_best is None else Interval(*(v / factor for v in row.to_best))
    return Line(
        rank=rank,
        row=row,
        words=" ".join([card.name, card.kind, card.sees, card.source]).lower(),
        score=f"{score.value:.4g}",
        interval=f"{score.low:.4g} to {score.high:.4g}",
        bar=Bar(*(_place(v, low, high) for v in (score.low, score.value, score.high))),
        normalised=_short(row.normalised),
        to_reference=_short(row.to_reference),
        to_best="-" if less is None else str(less),
        improvement=_short(row.improvement, 2),
        others=[(value, number(value)) for value in row.others.values()],
        decision_us=row.decision_s * 1e6,
        step_us=row.step_s * 1e6,
        latencies=_latencies(row, latencies),
        acts_in=acts_in,
        command=_command(row, board),
    )


def _latencies(row: BoardRow, sizes: Sequence[int]) -> list[tuple[float | str, str]]:
    """Median and 99th percentile at each size, with the number to sort by."""
    known = {one.rows: one for one in row.latency}
    return [
        ("", "-")
        if size not in known
        else (
            known[size].median_s,
            f"{known[size].median_s * 1e3:.3g} (99 %: {known[size].p99_s * 1e3:.3g})",
        )
        for size in sizes
    ]


def _command(row: BoardRow, board: Board) -> str:
    """How to make a row again."""
    task, card = board.task, row.policy
    if card.source == "submission":
        return f"sixgym leaderboard submit {card.origin} --episodes {task.episodes} --replace"
    return (
        f"sixgym evaluate {task.env_id} --policy {card.origin or card.name} "
        f"--episodes {task.episodes}{_seed(board)}{_overrides(task.params)}"
    )


def _chosen(board: Board) -> list[str]:
    """Who is drawn: what learns, the best baseline, the reference and the random policy."""
    task = board.task
    names = [row.policy.name for row in board.rows if row.policy.kind == "learned"]
    beside = [n for n in (board.best_baseline, task.reference, task.random) if n in board.results]
    unique = list(dict.fromkeys(str(n) for n in beside))
    return [*names[: MOST_LINES - len(unique)], *unique]


def _profile(board: Board) -> Chart | None:
    """The performance profiles of a few policies; None without a reference."""
    series = []
    points = [i / (PROFILE_STEPS - 1) * 1.4 - 0.2 for i in range(PROFILE_STEPS)]
    for group, name in enumerate(_chosen(board)):
        entry = board.entry(name)
        if entry is None:
            return None
        values = stats.normalised_episodes(*entry)
        # The lines alone: intervals of eight of them would cover each other.
        share = stats.profile(values, points, resamples=2).share
        series.append(Series(name, list(zip(points, share.tolist(), strict=True)), group))
    label = f"Performance profiles of {len(series)} policies"
    return chart(label, "normalised score of an episode", "share of episodes above", series)


def _curves(board: Board) -> Chart | None:
    """The learning curves of what learns; None where none is stored."""
    names = [n for n in _chosen(board) if any(run.curve for run in board.results[n].runs)]
    top = max([abs(v) for n in names for run in board.results[n].runs for _, v in run.curve] or [0])
    factor, unit = prefix_of(top, board.headline.unit)
    series = [
        Series(name, [(float(step), value / factor) for step, value in run.curve], group)
        for group, name in enumerate(names)
        for run in board.results[name].runs
        if run.curve
    ]
    y_name = board.headline.name.replace("_", " ") + (f" ({unit})" if unit else "")
    return chart("Learning curves", "steps of the environment", y_name, series)


def _claims(env_id: str, folder: Path | str | None) -> list[dict[str, str]]:
    """The measured claims of an environment; none where they are not there.

    Raises:
        ResultError: the file is not as ``sixgym claims`` writes it.
    """
    if folder is None:
        return []
    path = Path(folder) / env_id.rpartition("/")[2] / "claims.json"
    if not path.is_file():
        return []
    fields = ("id", "mark", "statement", "expected", "measured", "reason", "verdict")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return [{name: str(claim[name] or "") for name in fields} for claim in stored["claims"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(f"{path}: not what `sixgym claims` writes: {error}") from None


# --- small pieces ---------------------------------------------------------------------------------


def _seed(board: Board) -> str:
    """The seed argument of a command; the evaluation world needs none."""
    task = board.task
    return (
        ""
        if task.first_seed == row_seed("evaluation", task.version)
        else f" --seed {task.first_seed}"
    )


def _extra_policies(board: Board) -> str:
    """Policy arguments of a command for the whole board, needed where one came from a file."""
    cards = [row.policy for row in board.rows if row.policy.source != "submission"]
    if not any(card.origin for card in cards):
        return ""
    return "".join(f" --policy {card.origin or card.name}" for card in cards)


def _overrides(params: dict[str, Any]) -> str:
    return "".join(f" --set {name}={value}" for name, value in params.items())


def _short(interval: Interval | None, digits: int = 3) -> str:
    if interval is None or not math.isfinite(interval.value):
        return "-"
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _place(value: float, low: float, high: float) -> float:
    """Where a value lies on the axis, in the units of the plot."""
    inner = PLOT_WIDTH - 12.0
    return round(6.0 + inner * (value - low) / (high - low), 2) if math.isfinite(value) else 0.0
