"""The picture of one row of the multi-device system: a column of bars for every device."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sixgym.envs.core.render import GRID, INK, MUTED, PALETTE, Canvas, Color
from sixgym.envs.event_offload.allocation import jain
from sixgym.envs.event_offload.scene import (
    DROPPED,
    HEAD_ZONE,
    LEFT_BAR,
    RADIO_BAR,
    SERVED,
    TAIL_COLOR,
    TAIL_ZONE,
)

if TYPE_CHECKING:
    from sixgym.envs.event_offload.multi import EventOffloadMulti
    from sixgym.envs.event_offload.multi_state import MultiState

LEFT, WIDTH = 92.0, 500.0
"""The columns of the devices."""
THRESHOLDS = (48.0, 120.0)
"""Top and height of the bars of the thresholds."""
ROWS_TOP, ROW_HEIGHT, BAR_HEIGHT = 186.0, 29.0, 14.0
SNR_RANGE_DB = (-15.0, 30.0)
WIDE = 60.0
"""Columns at least this wide have numbers written beside their bars."""


def draw_multi_scene(
    system: EventOffloadMulti, state: MultiState, row: int, canvas: Canvas
) -> None:
    """Paint one row on a clear canvas.

    Args:
        system: of the state.
        state: of all rows.
        row: which one.
        canvas: 600 x 400.
    """
    p = system.params
    one = type(state)(*(leaf[row : row + 1] for leaf in state))
    slot = int(one.slot[0])
    canvas.text((8, 8), "Event offloading, shared", size=16, bold=True)
    canvas.text(
        (200, 11), f"after slot {slot} of {p.horizon_slots}, sharing {p.alloc}", color=MUTED
    )
    index = float(jain(one.sum_utility)[0])
    fair = f"Jain {index:.3f}" if slot else ""
    canvas.text((592, 11), fair, align="right", bold=True)
    _draw_thresholds(system, one, canvas, slot)
    _draw_rows(system, one, canvas, slot)
    _draw_foot(system, one, canvas)


def device_color(device: int) -> Color:
    """The colour of a device, the same in every panel."""
    return PALETTE[device % len(PALETTE)]


def _columns(system: EventOffloadMulti) -> tuple[float, float]:
    """Pitch and width of a column."""
    pitch = WIDTH / system.params.num_devices
    return pitch, 0.84 * pitch


def _draw_thresholds(system: EventOffloadMulti, one: MultiState, canvas: Canvas, slot: int) -> None:
    """For each device: offload zone above, drop zone below its two thresholds."""
    top, height = THRESHOLDS
    pitch, width = _columns(system)
    works = system.works(one)[0].tolist()
    canvas.text((8, top), "thresholds,", size=11, color=MUTED)
    canvas.text((8, top + 14), "last slot", size=11, color=MUTED)
    canvas.box((8, top + 40), (10, 10), color=TAIL_ZONE)
    canvas.text((22, top + 38), "offload", size=11)
    canvas.box((8, top + 58), (10, 10), color=HEAD_ZONE)
    canvas.text((22, top + 56), "drop", size=11)
    for n, (low, high) in enumerate(one.pair[0].tolist()):
        x = LEFT + n * pitch
        canvas.circle((x + width / 2, top - 8), min(7.0, width / 3), color=device_color(n))
        if width >= 12:
            at = (x + width / 2, top - 15)
            canvas.text(at, str(n), size=11, color=(255, 255, 255), align="center")
        if not works[n]:
            canvas.box((x, top), (width, height), color=GRID)
            words = "empty" if pitch >= WIDE else ""
            canvas.text((x + width / 2, top + height / 2 - 7), words, size=12, align="center")
            continue
        if slot:
            canvas.box((x, top), (width, height * (1.0 - high)), color=TAIL_ZONE)
            canvas.box((x, top + height * (1.0 - low)), (width, height * low), color=HEAD_ZONE)
            for value, color in ((high, TAIL_COLOR), (low, INK)):
                level = top + height * (1.0 - value)
                canvas.box((x, level - 1), (width, 2), color=color)
                if pitch >= WIDE:
                    below = value > 0.5 if high - low > 0.25 else color is INK
                    shift = 2.0 if below and value > 0.1 else -14.0
                    canvas.text((x + 3, level + shift), f"{value:.2f}", size=11)
        canvas.box((x, top), (width, height), color=MUTED, width=1)


def _draw_rows(system: EventOffloadMulti, one: MultiState, canvas: Canvas, slot: int) -> None:
    """One row of horizontal bars for each quantity, a bar a device."""
    p = system.params
    pitch, width = _columns(system)
    low, high = SNR_RANGE_DB
    decibel = [10.0 * math.log10(max(v, 1e-9)) for v in one.snr[0].tolist()]
    up = system.link.is_up(one.snr)[0].tolist()
    spent = one.energy_j[0].tolist()
    slot_j = p.num_events * p.budget_j
    if p.budget_mode == "battery":
        budget = [max(0.0, 1.0 - e / (slot_j * p.horizon_slots)) for e in spent]
    else:
        budget = [e / (slot_j * max(slot, 1)) for e in spent]
    mean = [u / max(slot, 1) for u in one.sum_utility[0].tolist()]
    units = one.units[0].tolist()
    most = max(system.params.server_events, 1)
    rows: list[tuple[str, list[float], list[str], list[Color]]] = [
        (
            "SNR, dB",
            [(d - low) / (high - low) for d in decibel],
            [f"{d:.1f}" for d in decibel],
            [RADIO_BAR if u else DROPPED for u in up],
        ),
        (
            "bandwidth",
            one.band[0].tolist(),
            [f"{100 * b:.0f} %" for b in one.band[0].tolist()],
            [RADIO_BAR] * len(units),
        ),
        (
            f"room of {most}",
            [u / most for u in units],
            [f"{u:.0f}" for u in units],
            [SERVED] * len(units),
        ),
        (
            "utility now",
            [u / 2.0 for u in one.last_utility[0].tolist()],
            [f"{u:.2f}" for u in one.last_utility[0].tolist()],
            [TAIL_COLOR] * len(units),
        ),
        (
            "mean utility",
            mean,
            [f"{u:.3f}" for u in mean],
            [TAIL_COLOR] * len(units),
        ),
        (
            "battery" if p.budget_mode == "battery" else "energy use",
            budget if p.budget_mode == "battery" else [b / 2.0 for b in budget],
            [f"{100 * b:.0f} %" for b in budget],
            [LEFT_BAR if b <= 1.0 else DROPPED for b in budget],
        ),
    ]
    for i, (name, shares, words, colors) in enumerate(rows):
        y = ROWS_TOP + i * ROW_HEIGHT
        canvas.text((8, y), name, size=11, color=MUTED)
        for n, (share, word, color) in enumerate(zip(shares, words, colors, strict=True)):
            x = LEFT + n * pitch
            filled = max(0.0, min(share, 1.0))
            canvas.bar((x, y), (width, BAR_HEIGHT), [(filled, color)], vertical=False)
            if pitch >= WIDE:
                canvas.text((x + width / 2, y + BAR_HEIGHT + 1), word, size=11, align="center")


def _draw_foot(system: EventOffloadMulti, one: MultiState, canvas: Canvas) -> None:
    """Who uses which server, where there are several."""
    p = system.params
    y = ROWS_TOP + 6 * ROW_HEIGHT + 8
    if p.num_servers == 1:
        words = "SNR, bandwidth, room: coming slot; red: outage, or over budget; half a bar of "
        canvas.text((8, y), words + "utility or energy use is 1", size=11, color=MUTED)
        return
    pitch, width = _columns(system)
    canvas.text((8, y), "server", size=11, color=MUTED)
    for n, server in enumerate(one.server[0].tolist()):
        x = LEFT + n * pitch
        canvas.text((x + width / 2, y), f"{server:.0f}", size=12, bold=True, align="center")
