"""The boards as static pages made from stored rows: an overview, and one page a task.

Each page is one file with everything in it; none makes an external request, and their content
security policy forbids it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

import sixgym
from sixgym.envs.core.errors import ResultError, UnknownIdError
from sixgym.envs.core.registry import GUESTS, entry
from sixgym.leaderboard import stats
from sixgym.leaderboard.board import Board, BoardRow, make_boards
from sixgym.leaderboard.marks import Mark, Scale
from sixgym.leaderboard.stats import Interval
from sixgym.leaderboard.store import load_all, write_atomically
from sixgym.leaderboard.task_page import task_page

MEASURED = Path(__file__).resolve().parent.parent / "docs" / "measured"
"""The measured claims of a source checkout; an installed package has none."""

PLOT_WIDTH = 240.0
"""Of the plots in the tables of the overview, in pixels."""

SUITE = "sixgym.envs."
"""What the modules of the suite's own systems begin with."""

SPLITS = {
    "train": ("Tasks", "What agents train for, in worlds that no training can reach."),
    "held_out": ("Held out", "Parameters that nothing was trained or tuned in."),
    "generalisation": (
        "Generalisation",
        "Other numbers of users or devices, other loads, other statistics of the channel.",
    ),
    "": ("Other tasks", "Other parameters or other episodes than the protocol's."),
}
"""Heading and explanation of each group of tasks, in the order of the overview."""


class Place(NamedTuple):
    """A page: what links to it say, its file, and the system that it is of."""

    name: str
    file: str
    system: str


class Best(NamedTuple):
    """The normalised score of somebody on a task, or over some, formatted."""

    name: str
    score: str
    interval: str
    sort: float | str
    mark: Mark | None


class TaskLine(NamedTuple):
    """One task of the overview."""

    place: Place
    board: Board
    learned: Best
    baseline: Best


class Summary(NamedTuple):
    """The best that learned and the best baselines over some tasks."""

    name: str
    tasks: int
    learned: Best
    baseline: Best
    is_total: bool


class Named(NamedTuple):
    """One policy over the tasks on which something of its name plays."""

    name: str
    tasks: int
    best: Best


class Group(NamedTuple):
    """The tasks of one split."""

    key: str
    title: str
    about: str
    scale: Scale
    tasks: list[TaskLine]


def build_site(
    results: Path | str,
    output: Path | str,
    *,
    claims: Path | str | Sequence[Path | str] | None = None,
    films: Path | str | None = None,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Write the pages of all rows below a results folder.

    Args:
        results: as written by `sixgym.leaderboard.benchmark`.
        output: folder of the pages.
        claims: folder with a folder for each environment, in which ``claims.json`` lies as
            ``sixgym claims --out`` writes it; or several, of which the first that has claims of an
            environment counts. None: no claims on the pages.
        films: folder in which rendered episodes are kept from one time to the next; each is played
            if it is not there. None: no episodes on the pages.
        tell: called with the name of each page before it is made.

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
    menu = _menu(places)
    common = {"menu": menu, "version": sixgym.__version__}
    folders = _folders(claims)
    kept = None if films is None else Path(films)
    for board, place in zip(boards, places, strict=True):
        if tell is not None:
            tell(place.name)
        page = environment.get_template("task.html").render(
            **common, file=place.file, place=place, **task_page(board, folders, kept)
        )
        write_atomically(Path(output) / place.file, page)
    path = Path(output) / "index.html"
    page = environment.get_template("overview.html").render(
        **common, file=path.name, **_overview(boards, places)
    )
    write_atomically(path, page)
    return path


def _folders(claims: Path | str | Sequence[Path | str] | None) -> list[Path]:
    """The folders of claims as a list."""
    if claims is None:
        return []
    return [Path(claims)] if isinstance(claims, str | Path) else [Path(one) for one in claims]


def _places(boards: Sequence[Board]) -> list[Place]:
    """The pages of the tasks; what differs from other tasks of an environment is in their names."""
    mains = [b.task.env_id for b in boards if not b.variant]
    found = []
    for board in boards:
        task = board.task
        name = task.env_id.rpartition("/")[2]
        if board.variant:
            name += f" ({board.variant})"
        elif mains.count(task.env_id) > 1:
            name += f" ({task.folder.rpartition('/')[2]})"
        found.append(Place(name, task.folder.replace("/", "-") + ".html", system_of(task.env_id)))
    return found


def _menu(places: Sequence[Place]) -> list[tuple[str, list[Place]]]:
    """The pages by system."""
    systems = sorted({place.system for place in places})
    return [(system, [p for p in places if p.system == system]) for system in systems]


def system_of(env_id: str) -> str:
    """The system that an environment is a view of, in words: its folder, package or library."""
    try:
        module = entry(env_id).system.partition(":")[0]
    except UnknownIdError:
        return env_id.rpartition("/")[0] or env_id
    if module in GUESTS:
        return module
    name = module.removeprefix(SUITE) if module.startswith(SUITE) else module
    return name.partition(".")[0].replace("_", " ")


# --- the overview ---------------------------------------------------------------------------------


def _overview(boards: Sequence[Board], places: Sequence[Place]) -> dict[str, Any]:
    """What the overview is made from."""
    summaries = list(_summaries(boards, places))
    named = _named(boards)
    shown = [i for _, _, *two, _ in summaries for i in two if i is not None]
    shown += [interval for _, _, interval in named]
    scale = Scale.over(PLOT_WIDTH, shown, 1.0)
    pairs = list(zip(boards, places, strict=True))
    groups = [_group(key, [(b, p) for b, p in pairs if _split(b) == key]) for key in SPLITS]
    rows = [row for board in boards for row in board.rows]
    return {
        "groups": [group for group in groups if group.tasks],
        "summaries": [
            Summary(
                name,
                tasks,
                _best(learned, "learned", scale),
                _best(baseline, "baseline", scale),
                is_total,
            )
            for name, tasks, learned, baseline, is_total in summaries
        ],
        "named": [Named(n, count, _best(i, "learned", scale, n)) for n, count, i in named],
        "scale": scale,
        "counts": {
            "systems": len({place.system for place in places}),
            "tasks": len(boards),
            "rows": len(rows),
            "policies": len({(r.policy.env_id, r.policy.name) for r in rows}),
            "episodes": sum(row.episodes * max(len(row.training_seeds), 1) for row in rows),
        },
        "versions": sorted({board.task.version for board in boards}),
    }


def _split(board: Board) -> str:
    """The group of a board: its split, where its episodes are the protocol's own."""
    return board.split if board.task.is_official else ""


def _bests(board: Board) -> Iterator[tuple[BoardRow | None, str]]:
    """The rows of the best that learned and of the best baseline."""
    rows = {row.policy.name: row for row in board.rows}
    yield rows.get(board.best_learned or ""), "learned"
    yield rows.get(board.best_baseline or ""), "baseline"


def _group(key: str, pairs: Sequence[tuple[Board, Place]]) -> Group:
    """The tasks of one split, on an axis of their own."""
    rows = [row for board, _ in pairs for row, _ in _bests(board) if row is not None]
    scale = Scale.over(PLOT_WIDTH, [r.normalised for r in rows if r.normalised is not None], 1.0)
    title, about = SPLITS[key]
    lines = [_task_line(board, place, scale) for board, place in pairs]
    return Group(key or "other", title, about, scale, lines)


def _task_line(board: Board, place: Place, scale: Scale) -> TaskLine:
    bests = [
        _best(None, kind, scale)
        if row is None
        else _best(row.normalised, kind, scale, row.policy.name)
        for row, kind in _bests(board)
    ]
    return TaskLine(place, board, *bests)


def _best(interval: Interval | None, kind: str, scale: Scale, name: str = "") -> Best:
    """An interval of normalised scores, formatted and drawn."""
    if interval is None or not math.isfinite(interval.value):
        return Best(name, "-", "", "", None)
    score, reach = f"{interval.value:.3f}", f"{interval.low:.3f} to {interval.high:.3f}"
    words = f"{name or 'best'} ({kind}) {score}, interval {reach}"
    return Best(name, score, reach, interval.value, scale.mark(interval, kind, words))


def _summaries(
    boards: Sequence[Board], places: Sequence[Place]
) -> Iterator[tuple[str, int, Interval | None, Interval | None, bool]]:
    """Interquartile means of the best that learned and of the best baselines.

    Over all tasks that agents train for, over those of each system, and over each further split.
    """
    main = [(b, p.system) for b, p in zip(boards, places, strict=True) if _split(b) == "train"]
    if len(main) > 1:
        yield "all systems", len(main), *_means([b for b, _ in main]), True
    for system in sorted({system for _, system in main}):
        own = [board for board, name in main if name == system]
        yield system, len(own), *_means(own), False
    for split in SPLITS:
        own = [board for board in boards if _split(board) == split]
        if own and split not in ("train", ""):
            yield SPLITS[split][0].lower(), len(own), *_means(own), True


def _means(boards: Sequence[Board]) -> tuple[Interval | None, Interval | None]:
    """Interquartile means of the best that learned and of the best baseline of each task."""
    names = [[board.best_learned for board in boards], [board.best_baseline for board in boards]]
    means = []
    for bests in names:
        found = [b.entry(n) for b, n in zip(boards, bests, strict=True) if n is not None]
        scored = [one for one in found if one is not None]
        means.append(stats.aggregate_iqm(scored) if scored else None)
    return means[0], means[1]


def _named(boards: Sequence[Board]) -> list[tuple[str, int, Interval]]:
    """What plays several tasks under one name: the interquartile mean over them, best first."""
    groups: dict[str, list[stats.Scored]] = {}
    for board in boards:
        if _split(board) != "train":
            continue
        for row in board.rows:
            scored = board.entry(row.policy.name) if row.policy.kind == "learned" else None
            if scored is not None and row.is_ranked:
                groups.setdefault(row.policy.name, []).append(scored)
    found = [(n, len(es), stats.aggregate_iqm(es)) for n, es in groups.items() if len(es) > 1]
    return sorted(found, key=lambda one: -one[2].value)
