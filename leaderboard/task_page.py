"""What the page of one task is made from: its rows, formatted, its charts and its claims."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sixgym.envs.core.errors import ResultError, UnknownIdError
from sixgym.envs.core.registry import entry
from sixgym.leaderboard import stats
from sixgym.leaderboard.board import Board, BoardRow, prefix_of
from sixgym.leaderboard.charts import Chart, Series, chart
from sixgym.leaderboard.film import Film, NoFilm, film_of
from sixgym.leaderboard.marks import Mark, Scale
from sixgym.leaderboard.recipes import Recipe, board_recipe, film_recipe, recipe
from sixgym.leaderboard.stats import Interval
from sixgym.leaderboard.store import PolicyCard, slug
from sixgym.leaderboard.table import footnote, number

LEARNED_COLOURS = (0, 2, 3, 4, 6)
"""Colours of what learns, in the order of the board; more lines could not be told apart."""
BASELINE_COLOUR, REFERENCE_COLOUR, RANDOM_COLOUR = 1, 5, 7
"""Colours of those that every chart compares with."""

PLOT_WIDTH = 170.0
"""Of the plot in each row, in pixels."""

PROFILE_STEPS = 57
"""Scores at which a performance profile is drawn."""
PROFILE_ENDS = (-0.2, 1.2)
"""Normalised scores between which it is drawn."""
PROFILE_RESAMPLES = 400
"""Of its intervals, which are only drawn."""


class Line(NamedTuple):
    """One row of a task's page, formatted.

    Attributes:
        rank: its place; empty for what has none.
        row: the row.
        key: its name in links.
        words: what the filter looks at.
        score: the headline score.
        interval: of it.
        mark: the same, drawn.
        iqm: interquartile mean of the episodes' own scores, with its interval.
        normalised: with its interval.
        to_reference: with its interval.
        to_best: with its interval.
        improvement: with its interval.
        others: each further score, to sort by and as it is read.
        decision_us: microseconds.
        step_us: microseconds.
        latencies: of each size of the board, to sort by and as it is read.
        acts_in: environment and arguments, where they are not the task's.
        recipe: the commands that make it again.
    """

    rank: str
    row: BoardRow
    key: str
    words: str
    score: str
    interval: str
    mark: Mark
    iqm: str
    normalised: str
    to_reference: str
    to_best: str
    improvement: str
    others: list[tuple[float, str]]
    decision_us: float
    step_us: float
    latencies: list[tuple[float | str, str]]
    acts_in: str
    recipe: Recipe


class Glance(NamedTuple):
    """One of the few numbers that come first."""

    what: str
    name: str
    key: str
    value: str
    detail: str


class Pictured(NamedTuple):
    """The film of a page, and how it is made again; or why there is none."""

    film: Film | None
    missing: str
    command: str


def task_page(board: Board, claims: Sequence[Path], films: Path | None) -> dict[str, Any]:
    """What the page of a task is made from.

    Args:
        board: of the task.
        claims: folders to look for measured claims in; the first that has some counts.
        films: where films are kept; None: no film. The tasks of splits have none: they look alike.
    """
    task = board.task
    top = max(abs(row.score.value) for row in board.rows)
    factor, unit = prefix_of(top, board.headline.unit)
    scale = Scale.over(PLOT_WIDTH, [_divided(row.score, factor) for row in board.rows])
    latencies = sorted({one.rows for row in board.rows for one in row.latency})
    ranks = _ranks(board)
    lines = [
        _line(rank, row, board, factor, scale, latencies)
        for rank, row in zip(ranks, board.rows, strict=True)
    ]
    return {
        "board": board,
        "title": _title(task.env_id),
        "unit": unit,
        "scale": scale,
        "lines": lines,
        "glances": _glances(board, factor, unit),
        "latencies": latencies,
        "note": footnote(board),
        "profile": _profile(board),
        "curves": _curves(board),
        "pictured": None if films is None or board.variant else _pictured(board, films),
        "claims": _claims(task.env_id, claims) if _is_main(board) else [],
        "command": board_recipe(board),
    }


def _is_main(board: Board) -> bool:
    """Whether it is the task that claims are about: the protocol's own, and none of a split."""
    return board.task.is_official and board.split in ("", "train")


def _title(env_id: str) -> str:
    """The one line of an environment; empty for one that is not here."""
    try:
        return entry(env_id).title
    except UnknownIdError:
        return ""


def _ranks(board: Board) -> list[str]:
    """The place of each row; empty for those without a rank."""
    return [str(i + 1) if row.is_ranked else "" for i, row in enumerate(board.rows)]


def kind_of(card: PolicyCard, board: Board) -> str:
    """How a policy is drawn."""
    if card.name == board.task.reference:
        return "reference"
    if card.kind in ("learned", "random"):
        return card.kind
    return "baseline" if card.name == board.best_baseline else "other"


def _line(
    rank: str,
    row: BoardRow,
    board: Board,
    factor: float,
    scale: Scale,
    latencies: Sequence[int],
) -> Line:
    card = row.policy
    score = _divided(row.score, factor)
    acts_in = ", ".join(f"{k}={v}" for k, v in sorted(card.env_kwargs.items()))
    if card.env_id != board.task.env_id:
        acts_in = card.env_id + (f" ({acts_in})" if acts_in else "")
    less = None if row.to_best is None else _divided(row.to_best, factor)
    shown, interval = f"{score.value:.4g}", f"{score.low:.4g} to {score.high:.4g}"
    words = [card.name, card.kind, card.sees, card.source, *row.remarks]
    return Line(
        rank=rank,
        row=row,
        key=slug(card.name),
        words=" ".join(words).lower(),
        score=shown,
        interval=interval,
        mark=scale.mark(score, kind_of(card, board), f"{shown}, interval {interval}"),
        iqm=str(_divided(row.iqm, factor)) if math.isfinite(row.iqm.value) else "-",
        normalised=_short(row.normalised),
        to_reference=_short(row.to_reference),
        to_best="-" if less is None else str(less),
        improvement=_short(row.improvement, 2),
        others=[(value, number(value)) for value in row.others.values()],
        decision_us=row.decision_s * 1e6,
        step_us=row.step_s * 1e6,
        latencies=_latencies(row, latencies),
        acts_in=acts_in,
        recipe=recipe(row, board),
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


def _glances(board: Board, factor: float, unit: str) -> list[Glance]:
    """The best that learned, the best baseline, the reference and the random policy."""
    task, rows = board.task, {row.policy.name: row for row in board.rows}
    wanted = {
        "best learned": board.best_learned,
        "best baseline": board.best_baseline,
        "reference": task.reference,
        "random": task.random,
    }
    roles: dict[str, list[str]] = {}
    for what, name in wanted.items():
        if name is not None and name in rows:
            roles.setdefault(name, []).append(what)
    found = []
    for name, whats in roles.items():
        row = rows[name]
        value = f"{row.score.value / factor:.4g} {unit}".rstrip()
        detail = "" if row.normalised is None else f"normalised {_short(row.normalised)}"
        found.append(Glance(", ".join(whats), name, slug(name), value, detail))
    return found


# --- charts ---------------------------------------------------------------------------------------


def _chosen(board: Board) -> dict[str, int]:
    """Who is drawn, in which colour: what learns, the best baseline, the reference and random."""
    task = board.task
    learned = [row.policy.name for row in board.rows if row.policy.kind == "learned"]
    chosen = dict(zip(learned, LEARNED_COLOURS, strict=False))
    beside = {
        board.best_baseline: BASELINE_COLOUR,
        task.reference: REFERENCE_COLOUR,
        task.random: RANDOM_COLOUR,
    }
    for name, colour in beside.items():
        if name is not None and name in board.results:
            chosen.setdefault(name, colour)
    return chosen


def _profile(board: Board) -> Chart | None:
    """The performance profiles of a few policies; None without a reference."""
    series = []
    low, high = PROFILE_ENDS
    points = [low + i * (high - low) / (PROFILE_STEPS - 1) for i in range(PROFILE_STEPS)]
    for name, group in _chosen(board).items():
        scored = board.entry(name)
        if scored is None:
            return None
        values = stats.normalised_episodes(*scored)
        found = stats.profile(values, points, resamples=PROFILE_RESAMPLES)
        columns = [column.tolist() for column in found]
        scores, share, lows, highs = columns
        band = list(zip(scores, lows, highs, strict=True))
        series.append(Series(name, list(zip(scores, share, strict=True)), group, band=band))
    label = f"Performance profiles of {len(series)} policies"
    return chart(label, "normalised score of an episode", "share of episodes above", series)


def _curves(board: Board) -> Chart | None:
    """The learning curves of what learns; None where none is stored."""
    chosen = {
        name: group
        for name, group in _chosen(board).items()
        if any(run.curve for run in board.results[name].runs)
    }
    runs = {n: [r.curve for r in board.results[n].runs if r.curve] for n in chosen}
    if not runs:
        return None
    top = max(abs(value) for curves in runs.values() for curve in curves for _, value in curve)
    factor, unit = prefix_of(top, board.headline.unit)
    series = []
    for name, curves in runs.items():
        scaled = [[(float(step), value / factor) for step, value in curve] for curve in curves]
        series += [Series(name, c, chosen[name], is_faint=len(scaled) > 1) for c in scaled]
        if len(scaled) > 1:
            series.append(Series(name, _mean_curve(scaled), chosen[name]))
    y_name = board.headline.name.replace("_", " ") + (f" ({unit})" if unit else "")
    return chart("Learning curves", "steps of the environment", y_name, series)


def _mean_curve(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The mean over training seeds, at the steps that all of them were judged at."""
    tables = [dict(curve) for curve in curves]
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    return [(step, sum(table[step] for table in tables) / len(tables)) for step in shared]


# --- the film and the claims ----------------------------------------------------------------------


def _pictured(board: Board, films: Path) -> Pictured:
    """The film of a board, with the command that makes a video of it."""
    found = film_of(board, films)
    if isinstance(found, NoFilm):
        return Pictured(None, found.reason, "")
    command = film_recipe(board.task, found.policy, found.seeds[0], found.lengths[0])
    return Pictured(found, "", command)


def _claims(env_id: str, folders: Sequence[Path]) -> list[Mapping[str, str]]:
    """The measured claims of an environment; none where they are not there.

    Raises:
        ResultError: the file is not as ``sixgym claims`` writes it.
    """
    name = env_id.rpartition("/")[2]
    path = next((p for f in folders if (p := f / name / "claims.json").is_file()), None)
    if path is None:
        return []
    fields = ("id", "mark", "statement", "expected", "measured", "reason", "verdict")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return [{name: str(claim[name] or "") for name in fields} for claim in stored["claims"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(f"{path}: not what `sixgym claims` writes: {error}") from None


# --- small pieces ---------------------------------------------------------------------------------


def _divided(interval: Interval, factor: float) -> Interval:
    return Interval(*(v / factor for v in interval))


def _short(interval: Interval | None, digits: int = 3) -> str:
    if interval is None or not math.isfinite(interval.value):
        return "-"
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
