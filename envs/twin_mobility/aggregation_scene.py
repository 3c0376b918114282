"""The picture of one row: the map of discs and handovers, and what each agent holds and has spent.

An agent has a colour as long as it is active. The discs whose knowledge it holds are filled with
it: its accumulated area grows as others hand over to it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from sixgym.envs.core.render import GRID, INK, MUTED, PALETTE, PAPER, Canvas, Color, Point
from sixgym.envs.twin_mobility.aggregation_state import (
    COMPUTE,
    FAILED_GIVING,
    GAVE,
    MOVE,
    SEND,
    AggregationState,
)

if TYPE_CHECKING:
    from sixgym.envs.twin_mobility.aggregation import AgentAggregation

LEFT, TOP, SIDE = 8.0, 34.0, 358.0
"""The map."""
PANEL, RIGHT = 378.0, 592.0
"""Left and right end of the table of agents."""
PAYLOAD_LEFT, PAYLOAD_WIDTH = 402.0, 78.0
ENERGY_LEFT, ENERGY_WIDTH = 498.0, 94.0
ROWS_TOP, ROWS_HEIGHT, MOST_ROW = 62.0, 250.0, 26.0
FAILED: Color = (196, 30, 30)
GIVEN: Color = (150, 154, 162)
MOVE_COLOR: Color = PALETTE[0]
COMPUTE_COLOR: Color = PALETTE[5]
SEND_COLOR: Color = PALETTE[1]
LONG = 70.0
"""A line of more pixels has its label upon it."""
COLORS: tuple[Color, ...] = (
    *PALETTE,
    (140, 86, 75),
    (150, 150, 20),
    (20, 160, 170),
    (160, 20, 90),
)
"""Of twelve agents."""
TINT = 0.3
"""Share of an agent's colour in the filling of its discs."""


class _Map(NamedTuple):
    """From metres to pixels."""

    first_m: float
    scale: float

    def point(self, x_m: float, y_m: float) -> Point:
        """North is up."""
        x = LEFT + (x_m - self.first_m) * self.scale
        return x, TOP + SIDE - (y_m - self.first_m) * self.scale


class _Link(NamedTuple):
    """An arrow from who gave to who took."""

    start: Point
    end: Point
    energy_j: float
    color: Color


def draw_aggregation_scene(
    system: AgentAggregation, state: AggregationState, row: int, canvas: Canvas
) -> None:
    """Paint one row on a clear canvas.

    Args:
        system: of the state.
        state: of all rows.
        row: which one.
        canvas: 600 x 400.
    """
    p = system.params
    one = AggregationState(*(leaf[row : row + 1] for leaf in state))
    scale = SIDE / (p.area_m + 2.0 * p.margin_m)
    where = _Map(-p.margin_m, scale)
    canvas.text((8, 8), "Agent aggregation", size=16, bold=True)
    number, left = int(one.round[0]), int(one.num_active[0])
    words = f"round {number} of {p.rounds}, {left} active"
    canvas.text((168, 11), words, color=MUTED)
    total = float(one.spent_j.sum())
    canvas.text((RIGHT, 11), f"{total:.2f} J spent", align="right", bold=True)
    _draw_discs(one, canvas, where)
    links = _links(one, where)
    for link in links:
        _arrow(canvas, link.start, link.end, link.color)
    _draw_agents(one, canvas, where)
    for link in links:
        _draw_label(canvas, link)
    _clear_frame(canvas)
    _draw_table(system, one, canvas)
    _draw_legend(canvas)


def agent_color(agent: int) -> Color:
    """The colour of an agent."""
    return COLORS[agent % len(COLORS)]


def _tint(color: Color) -> Color:
    mixed = (round(TINT * c + (1.0 - TINT) * q) for c, q in zip(color, PAPER, strict=True))
    red, green, blue = mixed
    return red, green, blue


def _holders(one: AggregationState) -> list[int]:
    """Of each agent, who holds its knowledge now."""
    sources = one.sources[0].tolist()
    count = len(sources)
    return [next(j for j in range(count) if sources[j] >> i & 1) for i in range(count)]


def _draw_discs(one: AggregationState, canvas: Canvas, where: _Map) -> None:
    """The accumulated areas in the colours of who holds them."""
    holders = _holders(one)
    discs = one.disc[0].tolist()
    shapes = [(where.point(x, y), r * where.scale) for x, y, r in discs]
    for holder, (at, radius) in zip(holders, shapes, strict=True):
        canvas.circle(at, radius, color=_tint(agent_color(holder)))
    for holder, (at, radius) in zip(holders, shapes, strict=True):
        canvas.circle(at, radius, color=agent_color(holder), width=1)


def _links(one: AggregationState, where: _Map) -> list[_Link]:
    """The pairs of the last round, from who gave to who took."""
    position = one.position[0].tolist()
    partner, energy = one.partner[0].tolist(), one.last_j[0].tolist()
    links = []
    for i, deed in enumerate(one.deed[0].tolist()):
        if deed in (GAVE, FAILED_GIVING):
            j = partner[i]
            ends = where.point(*position[i]), where.point(*position[j])
            color = INK if deed == GAVE else FAILED
            links.append(_Link(*ends, energy[i] + energy[j], color))
    return links


def _draw_label(canvas: Canvas, link: _Link) -> None:
    """The energy of a pair."""
    x, y = _beside(link.start, link.end)
    words = f"{link.energy_j:.2f} J"
    wide = 5.6 * len(words)
    canvas.box((x - wide / 2 - 2, y - 8), (wide + 4, 14), color=PAPER, radius=3)
    canvas.text((x, y - 7), words, size=11, color=link.color, bold=True, align="center")


def _beside(start: Point, end: Point) -> Point:
    """Where a label stands: at the middle of a long line, beside a short one."""
    x, y = 0.5 * (start[0] + end[0]), 0.5 * (start[1] + end[1])
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    if length > LONG:
        return x, y
    # To the right of it, wide enough for a label that lies across.
    nx, ny = (-dy, dx) if dy <= 0.0 else (dy, -dx)
    away = 12.0 + 14.0 * abs(nx) / max(length, 1.0)
    return x + away * nx / max(length, 1.0), y + away * ny / max(length, 1.0)


def _arrow(canvas: Canvas, start: Point, end: Point, color: Color) -> None:
    """A line with a head that stops short of the one it points at."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    if length < 20.0:
        return
    ux, uy = dx / length, dy / length
    tip = (end[0] - 11.0 * ux, end[1] - 11.0 * uy)
    base = (tip[0] - 9.0 * ux, tip[1] - 9.0 * uy)
    canvas.line(start, base, color=color, width=2)
    wings = [(base[0] - 4.5 * uy, base[1] + 4.5 * ux), (base[0] + 4.5 * uy, base[1] - 4.5 * ux)]
    canvas.polygon([tip, *wings], color=color)


def _draw_agents(one: AggregationState, canvas: Canvas, where: _Map) -> None:
    """Agents by number where they stand, with the way of the last round."""
    before, position = one.before[0].tolist(), one.position[0].tolist()
    active = one.active[0].tolist()
    for i, (old, new) in enumerate(zip(before, position, strict=True)):
        at = where.point(*new)
        if math.dist(old, new) > 0.0:
            canvas.line(where.point(*old), at, color=INK, width=2)
        canvas.circle(at, 9.0, color=agent_color(i) if active[i] else GIVEN)
        canvas.circle(at, 9.0, color=PAPER, width=1)
        white = (255, 255, 255)
        canvas.text((at[0], at[1] - 7), str(i), size=11, color=white, bold=True, align="center")


def _clear_frame(canvas: Canvas) -> None:
    """Hide what sticks out of the map, and frame it."""
    canvas.box((LEFT + SIDE, TOP - 4), (600 - LEFT - SIDE, 400 - TOP), color=PAPER)
    canvas.box((0, TOP + SIDE), (600, 8), color=PAPER)
    canvas.box((LEFT, TOP), (SIDE, SIDE), color=GRID, width=1)


def _draw_table(system: AgentAggregation, one: AggregationState, canvas: Canvas) -> None:
    """A line for every agent: what it holds, of how many, and what it has spent."""
    p = system.params
    pitch = min(ROWS_HEIGHT / p.num_agents, MOST_ROW)
    payload, active = one.payload_bit[0].tolist(), one.active[0].tolist()
    spent = one.spent_j[0].tolist()
    sources = one.num_sources()[0].tolist()
    most_bit = max(2.0 * p.payload_range_bit[1], *payload)
    most_j = max(p.energy_ref_j, *(sum(parts) for parts in spent))
    canvas.text((PAYLOAD_LEFT, TOP), "payload", size=11, color=MUTED)
    canvas.text((ENERGY_LEFT, TOP), "energy spent", size=11, color=MUTED)
    canvas.text((PAYLOAD_LEFT, TOP + 12), f"bar: {most_bit / 1e6:.0f} Mbit", size=10, color=MUTED)
    canvas.text((ENERGY_LEFT, TOP + 12), f"bar: {most_j:.2f} J", size=10, color=MUTED)
    for i in range(p.num_agents):
        y, high = ROWS_TOP + i * pitch, pitch - 6.0
        color = agent_color(i) if active[i] else GIVEN
        canvas.circle((PANEL + 9, y + high / 2), min(8.0, pitch / 2 - 1), color=color)
        canvas.text(
            (PANEL + 9, y + high / 2 - 6), str(i), size=10, color=(255, 255, 255), align="center"
        )
        shares = [(payload[i] / most_bit, _tint(color))]
        canvas.bar((PAYLOAD_LEFT, y), (PAYLOAD_WIDTH, high), shares, vertical=False)
        words = f"{payload[i] / 1e6:.1f} of {sources[i]}" if active[i] else "handed over"
        canvas.text((PAYLOAD_LEFT + 4, y + high / 2 - 6), words, size=10)
        parts = [
            (spent[i][column] / most_j, shade)
            for column, shade in (
                (MOVE, MOVE_COLOR),
                (COMPUTE, COMPUTE_COLOR),
                (SEND, SEND_COLOR),
            )
        ]
        canvas.bar((ENERGY_LEFT, y), (ENERGY_WIDTH, high), parts, vertical=False)


def _draw_legend(canvas: Canvas) -> None:
    y = 322.0
    x = PANEL
    for words, color in (("move", MOVE_COLOR), ("compute", COMPUTE_COLOR), ("send", SEND_COLOR)):
        canvas.box((x, y + 3), (10, 10), color=color)
        canvas.text((x + 14, y), words, size=11)
        x += 24 + 6.2 * len(words)
    y += 17
    canvas.circle((PANEL + 5, y + 7), 5, color=PALETTE[0])
    canvas.text((PANEL + 14, y), "active", size=11)
    canvas.circle((PANEL + 65, y + 7), 5, color=GIVEN)
    canvas.text((PANEL + 74, y), "has handed over", size=11)
    y += 17
    canvas.box((PANEL, y + 2), (11, 11), color=_tint(PALETTE[0]))
    canvas.box((PANEL, y + 2), (11, 11), color=PALETTE[0], width=1)
    canvas.text((PANEL + 16, y), "area that the agent of the colour knows", size=11)
    y += 17
    _arrow(canvas, (PANEL, y + 7), (PANEL + 35, y + 7), INK)
    canvas.text((PANEL + 30, y), "handover", size=11)
    _arrow(canvas, (PANEL + 96, y + 7), (PANEL + 131, y + 7), FAILED)
    canvas.text((PANEL + 126, y), "failed link", size=11, color=FAILED)
