"""The picture of one row of the per-exit system: one event on its way, and what may be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixgym.envs.core.render import GRID, INK, MUTED, Canvas, Color
from sixgym.envs.event_offload.bank import TAIL
from sixgym.envs.event_offload.scene import (
    DROPPED,
    HEAD_COLOR,
    SERVED,
    TAIL_COLOR,
    Event,
    draw_channel,
    draw_exits,
    draw_store,
)

if TYPE_CHECKING:
    from sixgym.envs.event_offload.exit_system import EventOffloadExit, ExitState

SIDE_X = 446.0
CHOICES: tuple[tuple[str, Color], ...] = (
    ("drop as head", HEAD_COLOR),
    ("run the next block", INK),
    ("offload", SERVED),
)
DOTS = (30.0, 334.0)
"""Upper left of the slot's events."""
MOST_DOTS = 100


def draw_exit_scene(system: EventOffloadExit, state: ExitState, row: int, canvas: Canvas) -> None:
    """Paint one row on a clear canvas.

    Args:
        system: of the state.
        state: of all rows.
        row: which one.
        canvas: 600 x 400.
    """
    p = system.params
    one = type(state)(*(leaf[row : row + 1] for leaf in state))
    slot, event, exit = int(one.slot[0]), int(one.event[0]), int(one.exit[0])
    scores = system.bank.conf[one.sample[0], : exit + 1].tolist()
    is_tail = bool(system.bank.traits[one.sample[0], TAIL] > 0)
    canvas.text((8, 8), "Event offloading, exit by exit", size=16, bold=True)
    words = f"slot {slot + 1} of {p.horizon_slots}, event {event + 1} of {p.num_events}"
    canvas.text((592, 11), words, color=MUTED, align="right")
    draw_exits(
        canvas,
        [Event(scores, is_tail, "head")],
        system.num_exits,
        0.0,
        1.0,
        has_pair=False,
        title="tail confidence at each exit, this event",
    )
    name = "a tail (hidden)" if is_tail else "a head (hidden)"
    color = TAIL_COLOR if is_tail else HEAD_COLOR
    canvas.text((40, 58), f"score {scores[-1]:.3f}, {name}", size=13, bold=True, color=color)
    _draw_events(canvas, p.num_events, event, int(one.served[0]))
    _draw_choices(system, one, canvas)
    snr = float(one.snr[0])
    price = 1e3 * float(system.link.offload_energy_j(one.snr)[0])
    draw_channel(canvas, 40.0, system.link.min_snr, snr, price)
    _draw_budget(system, one, canvas)


def _draw_events(canvas: Canvas, count: int, event: int, served: int) -> None:
    """The events of the slot: those decided, this one, those to come."""
    x, y = DOTS
    shown = min(count, MOST_DOTS)
    step = min(18.0, 384.0 / shown)
    radius = min(5.0, 0.38 * step)
    canvas.text((x, y), f"events of the slot, {served} offloaded", size=11, color=MUTED)
    for i in range(shown):
        at = (x + step * (i + 0.5), y + 24.0)
        if i < event:
            canvas.circle(at, radius, color=MUTED)
        elif i == event:
            canvas.circle(at, radius + 2, color=INK)
        else:
            canvas.circle(at, radius, color=GRID)
    for i, (word, color) in enumerate((("decided", MUTED), ("now", INK), ("to come", GRID))):
        canvas.circle((x + 5 + 90 * i, y + 48), 5, color=color)
        canvas.text((x + 15 + 90 * i, y + 41), word, size=11)


def _draw_choices(system: EventOffloadExit, one: ExitState, canvas: Canvas) -> None:
    """The three actions: those forbidden are struck out."""
    allowed = system.action_mask(one)[0].tolist()
    canvas.text((SIDE_X, 150), "may now", size=11, color=MUTED)
    for i, ((words, color), may) in enumerate(zip(CHOICES, allowed, strict=True)):
        y = 168.0 + 20.0 * i
        canvas.circle((SIDE_X + 6, y + 7), 5, color=color if may else GRID)
        canvas.text((SIDE_X + 18, y), words, size=12, color=INK if may else MUTED)
        if not may:
            canvas.line((SIDE_X + 16, y + 7), (SIDE_X + 136, y + 7), color=DROPPED)


def _draw_budget(system: EventOffloadExit, one: ExitState, canvas: Canvas) -> None:
    p = system.params
    spent, total = float(one.energy_j[0]), p.horizon_slots * p.num_events * p.budget_j
    if p.budget_mode == "battery":
        draw_store(canvas, 240.0, "battery left", max(0.0, 1.0 - spent / total))
    else:
        begun = float(one.slot[0]) * p.num_events + float(one.event[0]) + float(one.exit[0] > 0)
        draw_store(canvas, 240.0, "mean energy", spent / (max(begun, 1.0) * p.budget_j))
    done = (float(one.slot[0]) * p.num_events + float(one.event[0])) / (
        p.horizon_slots * p.num_events
    )
    draw_store(canvas, 288.0, "episode left", max(0.0, 1.0 - done))
    exit = int(one.exit[0])
    block = 1e3 * float(system.block_j[exit]) if exit < system.num_exits - 1 else 0.0
    words = f"next block {block:.2f} mJ" if block else "this is the last exit"
    canvas.text((SIDE_X, 340), words, size=12)
