"""The parts of the pages that come from code and stored results: never written by hand.

Each function gives Markdown; `write_all` puts it where the pages include it.
"""

from __future__ import annotations

import functools
import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measurements import MEASURED, faults, limits, roofline, single, soak, speed, table, versions

from sixgym.cli.catalogue import MARKS, short
from sixgym.envs.core.registry import Entry, entries, entry

if TYPE_CHECKING:
    from sixgym.leaderboard.board import Board, BoardRow
    from sixgym.leaderboard.store import Result

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs"
RESULTS = ROOT / "leaderboard" / "results"
"""The stored rows that ship."""

VARIANTS = {
    "RisNomaSelect-v0": "RisNoma-v0",
    "EventOffloadExit-v0": "EventOffload-v0",
    "EventOffloadMulti-v0": "EventOffload-v0",
    "TwinRound-v0": "TwinSync-v0",
}
"""Ids whose pages list only the arguments that another id does not have."""


def page_of(found: Entry) -> str | None:
    """The page of an environment, without its ending, from the folder of pages; None: it has none.

    A page describes the system whose package it is named after.
    """
    module = found.system.partition(":")[0]
    page = f"environments/{module.removeprefix('sixgym.envs.').partition('.')[0]}"
    is_ours = module.startswith("sixgym.envs.") and (PAGES / f"{page}.md").is_file()
    return page if is_ours else None


def cards() -> str:
    """A card for every environment that has a page: its picture, its name and its one line."""
    made = [_card(found, page) for found in entries() if (page := page_of(found)) is not None]
    return "\n".join(['<div class="cards">', *made, "</div>"])


def _card(found: Entry, page: str) -> str:
    name = found.id.rpartition("/")[2]
    picture = f"_static/pictures/{name}.png"
    drawn = f'<img src="{picture}" alt="">' if (PAGES / picture).is_file() else ""
    kind = '<span class="kind">game</span>' if found.is_game else ""
    return (
        f'<a class="card" href="{page}.html">{drawn}<strong>{name}</strong>{kind}'
        f"<span>{html.escape(found.title)}</span></a>"
    )


def arguments(id: str, beyond: str | None = None) -> str:
    """The parameters of an environment, or those that another one does not have."""
    params = entry(id).load_system().params_type
    known = {} if beyond is None else entry(beyond).load_system().params_type.model_fields
    rows = [
        [
            f"`{row.name}`",
            f"{row.description}{f' ({row.note})' if row.note else ''} {MARKS[row.source]}",
            f"`{short(repr(row.default))}` {'' if row.unit == '1' else row.unit}",
            short(row.allowed),
        ]
        for row in params.table()
        if row.name not in known
    ]
    head = ["argument", "meaning and source", "default", "allowed"]
    if beyond is not None:
        return table(head, rows)
    presets = table(
        ["preset", "what it sets"],
        [
            [f"`{name}`", ", ".join(f"`{k}={v!r}`" for k, v in values.items()) or "nothing"]
            for name, values in params.presets.items()
        ],
    )
    return f"{table(head, rows)}\n\n{presets}"


def checks() -> str:
    """The checks of the conformance kit, with what each promises."""
    from sixgym.envs.core.conformance import CHECKS

    rows = [[f"`{c.name}`", c.title, "`--slow`" if c.is_slow else ""] for c in CHECKS]
    return table(["check", "what it promises", ""], rows)


def metrics(id: str) -> str:
    """The metrics of an environment."""
    rows = [
        [f"`{m.name}`", m.unit, "always" if m.level == 0 else "`info_level=1`", m.description]
        for m in entry(id).load_system().metrics
    ]
    return table(["key of `info`", "unit", "when", "meaning"], rows)


def scores(id: str) -> str:
    """The scores of an environment."""
    rows = [
        [f"`{s.name}`", s.unit, f"`{s.numerator}` / `{s.denominator}`", s.description]
        for s in entry(id).load_system().scores
    ]
    return table(["score", "unit", "ratio of the sums of", "meaning"], rows)


@functools.cache
def stored() -> list[Result]:
    """Every stored row."""
    from sixgym.leaderboard.store import load_all

    return load_all(RESULTS) if RESULTS.is_dir() else []


@functools.cache
def board_of(id: str) -> Board | None:
    """The stored board of an environment's official task; None: no rows are stored."""
    from sixgym.leaderboard.board import make_boards

    own = [row for row in stored() if row.task.env_id == id]
    held_back = entry(id).evaluation
    boards = (b for b in make_boards(own) if b.task.params == held_back and b.task.is_official)
    return next(boards, None)


def scored(board: Board, row: BoardRow) -> str:
    """The score of a row with its interval, in the unit that suits the board's first row."""
    from sixgym.leaderboard.board import prefix_of

    factor, _ = prefix_of(board.rows[0].score.value, board.headline.unit)
    return "{:.2f} [{:.2f}, {:.2f}]".format(*(v / factor for v in row.score))


def standing() -> str:
    """Each environment of the suite with its best baseline and the best that learned."""
    from sixgym.leaderboard.board import prefix_of

    lines = []
    for found in entries():
        if page_of(found) is None:
            continue
        id = f"[`{found.id}`](docs/{page_of(found)}.md)"
        board = board_of(found.id)
        if board is None:
            lines.append([id, found.title, "", "not measured", "not measured"])
            continue
        _, unit = prefix_of(board.rows[0].score.value, board.headline.unit)
        arrow = "↑" if board.headline.higher_is_better else "↓"
        score = f"`{board.headline.name}`{f' ({unit})' if unit else ''} {arrow}"
        best = [_named(board, name) for name in (board.best_baseline, board.best_learned)]
        lines.append([id, found.title, score, *best])
    return table(["id", "what it is", "score", "best baseline", "best learned"], lines)


def _named(board: Board, name: str | None) -> str:
    row = next((row for row in board.rows if row.policy.name == name), None)
    if row is None:
        return "none"
    star = "*" if row.policy.sees == "model" else ""
    return f"`{row.policy.name}`{star} {scored(board, row)}"


def board(id: str) -> str:
    """The stored board of an environment's official task."""
    from sixgym.leaderboard.board import prefix_of

    found = board_of(id)
    if found is None:
        return f"No rows are stored; `sixgym benchmark --env {id}` plays them."
    _, unit = prefix_of(found.rows[0].score.value, found.headline.unit)
    rows = [
        [
            f"`{row.policy.name}`" + "".join(f" ({remark})" for remark in row.remarks),
            row.policy.kind,
            row.policy.sees,
            str(row.episodes),
            scored(found, row),
            "" if row.normalised is None else "{:.3f} [{:.3f}, {:.3f}]".format(*row.normalised),
            f"{row.decision_s * 1e6:.0f}",
            f"{row.step_s * 1e6:.0f}",
        ]
        for row in found.rows
    ]
    name = found.headline.name + (f" ({unit})" if unit else "")
    head = ["policy", "kind", "sees", "episodes", name, "normalised"]
    head += ["decide (µs)", "step (µs)"]
    task = found.task
    length = "" if task.horizon is None else f" of {task.horizon} steps"
    held = "".join(f", `{name}={value}`" for name, value in task.params.items())
    return (
        f"`{id}`{held}, {task.episodes} episodes{length}, the same for all (of a slow policy the "
        f"first {task.slow_episodes}); 95 % paired bootstrap intervals; normalised: 0 is "
        f"`{task.random}`, 1 is `{task.reference}`; times a row. Reproduce with "
        f"`sixgym benchmark --env {id}`.\n\n{table(head, rows)}"
    )


def claims(id: str) -> str:
    """The stored claims of an environment, with their figures."""
    folder = MEASURED / id.rpartition("/")[2]
    if not folder.is_dir():
        return f"No measurement is stored; `sixgym claims {id}` makes one."
    stored: dict[str, Any] = json.loads((folder / "claims.json").read_text())
    rows = [
        [
            c["id"],
            f"{c['mark']} {c['statement']}",
            c["expected"],
            c["measured"] + (f" ({c['reason']})" if c["reason"] else ""),
            f"**{c['verdict']}**",
        ]
        for c in stored["claims"]
    ]
    figures = [
        f"![{c['id']}](../measured/{folder.name}/{c['figure']})"
        for c in stored["claims"]
        if c["figure"]
    ]
    head = ["claim", "statement", "expected", "measured", "verdict"]
    lines = [
        f"Reproduce with `sixgym claims {id}`: {stored['episodes']} common episodes a play.",
        table(head, rows),
        *figures,
    ]
    return "\n\n".join(lines)


def write_all(folder: Path) -> None:
    """Write every part."""
    folder.mkdir(exist_ok=True)
    parts = {"cards": cards(), "checks": checks(), "speed": speed(), "roofline": roofline()}
    parts |= {"limits": limits(), "single": single()}
    parts |= {"soak": soak(), "faults": faults(), "versions": versions()}
    for name, beyond in VARIANTS.items():
        parts[f"{name}-own"] = arguments(f"sixgym/{name}", beyond=f"sixgym/{beyond}")
    for found in entries():
        name = found.id.rpartition("/")[2]
        parts |= {
            f"{name}-arguments": arguments(found.id),
            f"{name}-metrics": metrics(found.id),
            f"{name}-scores": scores(found.id),
            f"{name}-board": board(found.id),
            f"{name}-claims": claims(found.id),
        }
    for name, text in parts.items():
        (folder / f"{name}.md").write_text(text + "\n")
