"""The picture of one row: the map with regions, agents and links, and a table of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixgym.envs.core.render import GRID, INK, MUTED, PALETTE, Canvas, Color
from sixgym.envs.twin_mobility.state import (
    DEAD,
    IDLE,
    MOVE,
    PROC,
    REPOS,
    SENSE,
    STAGES,
    TX,
)

if TYPE_CHECKING:
    from sixgym.envs.twin_mobility.state import SyncState
    from sixgym.envs.twin_mobility.sync import TwinSync

CORNER, SIDE = (8.0, 34.0), 358.0
"""Upper left corner and side of the map."""
PANEL, RIGHT = 378.0, 592.0
LEGEND_Y = 360.0
STAGE_COLORS: dict[int, Color] = {
    IDLE: (150, 155, 165),
    MOVE: PALETTE[0],
    SENSE: PALETTE[2],
    PROC: PALETTE[6],
    REPOS: PALETTE[4],
    TX: PALETTE[1],
    DEAD: INK,
}
CALM: Color = (178, 223, 190)
TENSE: Color = (247, 213, 122)
HOT: Color = (226, 96, 72)
"""Colours of a region whose deviation is 0, `deviation_ref`, and twice that or more."""
WHITE: Color = (255, 255, 255)
BATTERY: Color = (86, 160, 96)
LOW: Color = (200, 60, 50)
LOW_SHARE = 0.15
Point = tuple[float, float]


def draw_scene(system: TwinSync, state: SyncState, row: int, canvas: Canvas) -> None:
    """Paint one row on a clear canvas.

    Args:
        system: of the state.
        state: of all rows.
        row: which one.
        canvas: 600 x 400.
    """
    p = system.params
    one = type(state)(*(leaf[row : row + 1] for leaf in state))
    age, off = (t[0].tolist() for t in system.observer.ages(one))
    time = float(one.slot[0]) * p.slot_s
    canvas.text((8, 8), "Twin synchronisation", size=16, bold=True)
    canvas.text((170, 11), f"t = {time:g} s of {p.horizon_slots * p.slot_s:g}", color=MUTED)
    canvas.text((RIGHT, 11), f"max D {max(off):.2f}", align="right", bold=True)
    _draw_map(system, one, off, canvas)
    bottom = _draw_regions(system, one, age, off, canvas)
    _draw_agents(system, one, bottom, canvas)
    _draw_legend(canvas)


def heat(share: float) -> Color:
    """The colour of a deviation over `deviation_ref`: calm at 0, tense at 1, hot from 2."""
    share = max(0.0, min(share, 2.0))
    low, high, part = (CALM, TENSE, share) if share < 1.0 else (TENSE, HOT, share - 1.0)
    mixed = (round(a + (b - a) * part) for a, b in zip(low, high, strict=True))
    red, green, blue = mixed
    return red, green, blue


def on_map(system: TwinSync, x_m: float, y_m: float) -> Point:
    """Pixel of a place, with north up."""
    scale = SIDE / system.params.area_m
    return CORNER[0] + x_m * scale, CORNER[1] + SIDE - y_m * scale


# ------------------------------------------------------------------------------------- the map


def _draw_map(system: TwinSync, one: SyncState, off: list[float], canvas: Canvas) -> None:
    p = system.params
    canvas.box(CORNER, (SIDE, SIDE), color=WHITE)
    for i in range(1, 5):
        step = SIDE * i / 5
        canvas.line((CORNER[0] + step, CORNER[1]), (CORNER[0] + step, CORNER[1] + SIDE), color=GRID)
        canvas.line((CORNER[0], CORNER[1] + step), (CORNER[0] + SIDE, CORNER[1] + step), color=GRID)
    radius = max(p.sensing_radius_m * SIDE / p.area_m, 3.0)
    for r, (x, y) in enumerate(one.centre[0].tolist()):
        at = on_map(system, x, y)
        canvas.circle(at, radius, color=heat(off[r] / p.deviation_ref))
        canvas.circle(at, radius, color=MUTED, width=1)
        canvas.text((at[0], at[1] - 7), f"r{r}", size=11, align="center", bold=True)
    station = on_map(system, *p.bs_xy_m)
    _draw_links(system, one, station, canvas)
    x, y = station
    canvas.polygon([(x, y - 9), (x - 8, y + 6), (x + 8, y + 6)], color=INK)
    canvas.text((x, y + 7), "BS", size=11, align="center", bold=True)
    _draw_bodies(system, one, canvas)
    _draw_rates(system, one, station, canvas)
    canvas.box(CORNER, (SIDE, SIDE), color=MUTED, width=1)


def _draw_links(system: TwinSync, one: SyncState, station: Point, canvas: Canvas) -> None:
    """Ways ahead of those who move, and what was sent in the last slot."""
    places, goals = one.position[0].tolist(), one.destination[0].tolist()
    stages, sent = one.stage[0].tolist(), one.sent_bits[0].tolist()
    for place, goal, stage, bits in zip(places, goals, stages, sent, strict=True):
        at = on_map(system, *place)
        drives = stage in (MOVE, REPOS) or (stage == PROC and system.params.overlap_proc_move)
        if drives:
            canvas.line(at, on_map(system, *goal), color=STAGE_COLORS[stage])
        if bits > 0.0:
            canvas.line(at, station, color=STAGE_COLORS[TX], width=2)


def _draw_rates(system: TwinSync, one: SyncState, station: Point, canvas: Canvas) -> None:
    """What each link carried in the last slot, beside its middle."""
    sent = one.sent_bits[0].tolist()
    for place, bits in zip(one.position[0].tolist(), sent, strict=True):
        if bits > 0.0:
            x, y = on_map(system, *place)
            middle = ((x + station[0]) / 2 + 5, (y + station[1]) / 2 - 6)
            rate = bits / system.params.slot_s / 1e6
            canvas.text(middle, f"{rate:.1f} Mb/s", size=10, color=STAGE_COLORS[TX])


def _draw_bodies(system: TwinSync, one: SyncState, canvas: Canvas) -> None:
    """Agents as discs in the colour of their stage, numbered, with their battery below."""
    p = system.params
    radius = 8.0 if p.num_agents <= 20 else 5.0
    stages, batteries = one.stage[0].tolist(), one.battery_j[0].tolist()
    for n, (x, y) in enumerate(one.position[0].tolist()):
        at = on_map(system, x, y)
        if stages[n] == SENSE:
            canvas.circle(at, radius + 4, color=STAGE_COLORS[SENSE], width=2)
        canvas.circle(at, radius, color=STAGE_COLORS[stages[n]])
        canvas.circle(at, radius, color=WHITE, width=1)
        if radius > 6.0:
            canvas.text((at[0], at[1] - 6), str(n), size=10, align="center", color=WHITE)
        share = batteries[n] / p.battery_j
        color = BATTERY if share > LOW_SHARE else LOW
        canvas.bar((at[0] - 8, at[1] + radius + 1), (16, 4), [(share, color)], vertical=False)


# ------------------------------------------------------------------------------------- the tables


def _draw_regions(
    system: TwinSync, one: SyncState, age: list[float], off: list[float], canvas: Canvas
) -> float:
    """A line for each region: deviation, age, required fidelity; returns where it ends."""
    p = system.params
    y = CORNER[1]
    canvas.text((PANEL, y), "region", size=11, color=MUTED)
    canvas.text((PANEL + 44, y), "deviation D", size=11, color=MUTED)
    canvas.text((PANEL + 168, y), "age s", size=11, color=MUTED, align="right")
    canvas.text((RIGHT, y), "F min", size=11, color=MUTED, align="right")
    height = min(16.0, 116.0 / p.num_regions)
    fidelity = (1.0 - (-one.theta[0]).exp()).tolist()
    y += 15
    for r in range(p.num_regions):
        share = off[r] / p.deviation_ref
        canvas.text((PANEL, y), f"r{r}", size=11, bold=True)
        size = (62.0, max(height - 5.0, 3.0))
        canvas.bar((PANEL + 26, y + 1), size, [(min(share / 2, 1), heat(share))], vertical=False)
        if height >= 11.0:
            canvas.text((PANEL + 94, y), f"{off[r]:.2f}", size=11)
            canvas.text((PANEL + 168, y), f"{age[r]:.1f}", size=11, align="right")
            canvas.text((RIGHT, y), f"{fidelity[r]:.2f}", size=11, align="right")
        y += height
    return y + 6


def _draw_agents(system: TwinSync, one: SyncState, top: float, canvas: Canvas) -> None:
    """A line for each agent: stage and target, what is left of the stage, battery."""
    p = system.params
    canvas.text((PANEL, top), "agent", size=11, color=MUTED)
    canvas.text((PANEL + 44, top), "stage", size=11, color=MUTED)
    canvas.text((PANEL + 112, top), "done", size=11, color=MUTED)
    canvas.text((RIGHT, top), "battery", size=11, color=MUTED, align="right")
    y = top + 15
    height = min(16.0, (LEGEND_Y - 4 - y) / p.num_agents)
    stages, targets = one.stage[0].tolist(), one.target[0].tolist()
    left, length = one.remaining[0].tolist(), one.length[0].tolist()
    battery = one.battery_j[0].tolist()
    for n in range(p.num_agents):
        color = STAGE_COLORS[stages[n]]
        bar = max(height - 5.0, 2.0)
        canvas.box((PANEL + 24, y + 1), (12, bar), color=color)
        if height >= 10.0:
            canvas.text((PANEL, y), f"{n}", size=11, bold=True)
            goal = f" r{targets[n]}" if targets[n] >= 0 else ""
            canvas.text((PANEL + 44, y), STAGES[stages[n]] + goal, size=11)
        done = 1.0 - left[n] / length[n] if length[n] > 0.0 else 0.0
        canvas.bar((PANEL + 112, y + 1), (44, bar), [(done, color)], vertical=False)
        share = battery[n] / p.battery_j
        paint = BATTERY if share > LOW_SHARE else LOW
        canvas.bar((RIGHT - 44, y + 1), (44, bar), [(share, paint)], vertical=False)
        y += height


def _draw_legend(canvas: Canvas) -> None:
    """What the colours mean."""
    x, y = PANEL, LEGEND_Y
    for stage, name in enumerate(STAGES):
        canvas.box((x, y + 1), (9, 9), color=STAGE_COLORS[stage])
        canvas.text((x + 12, y), name, size=10)
        x += 56 if stage < 4 else 74  # the longer names stand in the second line
        if stage == 3:
            x, y = PANEL, y + 14
    canvas.text((PANEL, y + 14), "disc: sensing range, coloured by D", size=10, color=MUTED)
