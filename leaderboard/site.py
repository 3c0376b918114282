"""The board as a static page: one HTML file made from stored rows, with no external request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

import sixgym
from sixgym.envs.core.errors import ResultError
from sixgym.envs.core.worlds import row_seed
from sixgym.leaderboard.board import Board, BoardRow, make_boards, prefix_of
from sixgym.leaderboard.stats import Interval
from sixgym.leaderboard.store import load_all, write_atomically
from sixgym.leaderboard.table import footnote, number

PLOT_WIDTH = 220.0
"""Width of the interval plot in its own units."""


class Bar(NamedTuple):
    """An interval in the units of the plot."""

    low: float
    value: float
    high: float


class Line(NamedTuple):
    """One row of the page, formatted."""

    rank: int
    row: BoardRow
    score: str
    interval: str
    bar: Bar
    normalised: str
    to_reference: str
    others: list[tuple[float, str]]
    decision_us: float
    step_us: float
    acts_in: str
    command: str


class Section(NamedTuple):
    """One board of the page."""

    anchor: str
    board: Board
    unit: str
    ticks: list[tuple[float, str]]
    lines: list[Line]
    note: str
    command: str


def build_site(results: Path | str, output: Path | str) -> Path:
    """Write the page of all rows below a results folder.

    Args:
        results: as written by `sixgym.leaderboard.benchmark`.
        output: folder of the page.

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
    sections = [_section(board) for board in make_boards(rows)]
    page = environment.get_template("board.html").render(
        sections=sections, width=PLOT_WIDTH, version=sixgym.__version__
    )
    path = Path(output) / "index.html"
    write_atomically(path, page)
    return path


def _section(board: Board) -> Section:
    task = board.task
    top = max(abs(row.score.value) for row in board.rows)
    factor, unit = prefix_of(top, board.headline.unit)
    low, high, ticks = _scale([bound / factor for row in board.rows for bound in row.score])
    lines = [
        _line(place + 1, row, board, factor, low, high) for place, row in enumerate(board.rows)
    ]
    episodes = f" --episodes {task.episodes}{_seed(board)}{_overrides(task.params)}"
    return Section(
        anchor=task.folder.replace("/", "-"),
        board=board,
        unit=unit,
        ticks=[(_place(value, low, high), f"{value:g}") for value in ticks],
        lines=lines,
        note=footnote(board),
        command=f"sixgym benchmark --env {task.env_id}{_extra_policies(board)}{episodes}",
    )


def _line(rank: int, row: BoardRow, board: Board, factor: float, low: float, high: float) -> Line:
    task = board.task
    score = Interval(*(v / factor for v in row.score))
    acts_in = ", ".join(f"{k}={v}" for k, v in sorted(row.policy.env_kwargs.items()))
    if row.policy.env_id != task.env_id:
        acts_in = row.policy.env_id + (f" ({acts_in})" if acts_in else "")
    return Line(
        rank=rank,
        row=row,
        score=f"{score.value:.4g}",
        interval=f"{score.low:.4g} to {score.high:.4g}",
        bar=Bar(*(_place(v, low, high) for v in (score.low, score.value, score.high))),
        normalised=_short(row.normalised),
        to_reference=_short(row.to_reference),
        others=[(value, number(value)) for value in row.others.values()],
        decision_us=row.decision_s * 1e6,
        step_us=row.step_s * 1e6,
        acts_in=acts_in,
        command=(
            f"sixgym evaluate {task.env_id} --policy {row.policy.origin or row.policy.name} "
            f"--episodes {task.episodes}{_seed(board)}{_overrides(task.params)}"
        ),
    )


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
    if not any(row.policy.origin for row in board.rows):
        return ""
    return "".join(f" --policy {row.policy.origin or row.policy.name}" for row in board.rows)


def _overrides(params: dict[str, Any]) -> str:
    return "".join(f" --set {name}={value}" for name, value in params.items())


def _short(interval: Interval | None) -> str:
    if interval is None or not math.isfinite(interval.value):
        return "-"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _scale(bounds: Sequence[float]) -> tuple[float, float, list[float]]:
    """Ends of an axis that holds all bounds and zero, and three to six round ticks."""
    finite = [b for b in bounds if math.isfinite(b)] or [0.0]
    low, high = min(0.0, *finite), max(0.0, *finite)
    span = (high - low) or 1.0
    step = 10.0 ** math.floor(math.log10(span / 3.0))
    step *= next(m for m in (1.0, 2.0, 5.0, 10.0) if span / (m * step) <= 5.0)
    first, last = math.floor(low / step), math.ceil(high / step)
    last += first == last
    return first * step, last * step, [i * step for i in range(first, last + 1)]


def _place(value: float, low: float, high: float) -> float:
    """Where a value lies on the axis, in the units of the plot."""
    inner = PLOT_WIDTH - 12.0
    return round(6.0 + inner * (value - low) / (high - low), 2) if math.isfinite(value) else 0.0
