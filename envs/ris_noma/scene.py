"""The picture of one row of RIS-NOMA: links on a map, phases, decoding order, queues, energy.

What depends on the slot (powers, extracted volume, energy) is computed for the coming slot, as it
will go if the held controls stay.
"""

from __future__ import annotations

import colorsys
import math
from typing import NamedTuple

import torch

from sixgym.envs.core.render import GRID, INK, MUTED, PALETTE, Canvas, Color, Point
from sixgym.envs.ris_noma.channel import gain_of, true_air, true_channel
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.physics import serve
from sixgym.envs.ris_noma.state import COMPUTE, TRANSMIT, USEFUL, State

MAP = ((8.0, 34.0), (286.0, 160.0))
"""Corner and size of the map, pixels."""
DIALS = ((306.0, 52.0), (140.0, 140.0))
ORDER_PANEL = (462.0, 34.0)
USER_PANEL = ((8.0, 232.0), (452.0, 126.0))
ENERGY_PANEL = ((474.0, 250.0), (112.0, 16.0))
DUE: Color = (196, 62, 30)
LATER: Color = (247, 221, 190)
QUEUED: Color = (96, 116, 138)
EXTRACTED: Color = (138, 150, 60)
POWER: Color = (64, 66, 78)
FACTOR: Color = (176, 164, 200)
STATIC: Color = (206, 200, 190)
GAIN_RANGE_DB = (0.0, 50.0)
"""Gains (SNR at 1 W) drawn from the palest to the darkest link."""
SMALL_CELL = 9.0
"""Elements smaller than this, in pixels, are drawn without their hands."""


class View(NamedTuple):
    """One row as plain numbers."""

    positions: list[list[float]]
    gains_db: list[float]
    phases: list[float]
    order: list[int]
    backlog: list[list[float]]
    queue: list[float]
    factor: list[float]
    volume: list[float]
    power: list[float]
    energy_mj: tuple[float, float, float]
    """Transmit, compute, static."""
    slot: int
    efficiency_mbit: float
    ages: list[float]


def view_of(model: Model, state: State, row: int) -> View:
    """The numbers of one row.

    Args:
        model: the constants.
        state: of all rows.
        row: which one.
    """
    one = State(*(leaf[row : row + 1] for leaf in state))
    slot = serve(model, one, one.controls, true_air(model, one.links, one.surface))
    gain = gain_of(true_channel(model, one.links, one.surface)).sum(-1).clamp_min(1e-30)
    energy = one.totals[0, [TRANSMIT, COMPUTE]].sum() + one.slot * model.static_j
    delivered = one.totals[0, USEFUL]
    return View(
        positions=one.position_m[0].tolist(),
        gains_db=(10.0 * torch.log10(gain))[0].tolist(),
        phases=torch.atan2(one.surface[0, 1], one.surface[0, 0]).tolist(),
        order=one.order[0].tolist(),
        backlog=one.backlog_bits[0].tolist(),
        queue=one.queue_bits[0].tolist(),
        factor=one.rho[0].tolist(),
        volume=slot.volume_bits[0].tolist(),
        power=slot.power_w[0].tolist(),
        energy_mj=(
            1e3 * float(slot.transmit_j.sum()),
            1e3 * float(slot.compute_j.sum()),
            1e3 * model.static_j,
        ),
        slot=int(one.slot.item()),
        efficiency_mbit=float((delivered / energy.clamp_min(1e-12)).item()) / 1e6,
        ages=one.ages[0].tolist(),
    )


def draw_scene(model: Model, state: State, row: int, canvas: Canvas) -> None:
    """Paint one row on a clear canvas.

    Args:
        model: the constants.
        state: of all rows.
        row: which one.
        canvas: 600 x 400.
    """
    view = view_of(model, state, row)
    canvas.text((8, 8), "RIS-NOMA", size=16, bold=True)
    canvas.text((104, 11), f"slot {view.slot} of {model.params.horizon_slots}", color=MUTED)
    words = f"efficiency so far {view.efficiency_mbit:.1f} Mbit/J" if view.slot else "first slot"
    canvas.text((592, 9), words, size=14, bold=True, align="right")
    _draw_map(model, view, canvas)
    _draw_surface(model, view, canvas)
    _draw_order(view, canvas)
    _draw_users(model, view, canvas)
    _draw_energy(view, canvas)


def user_color(user: int) -> Color:
    """The colour of a user, the same in every panel."""
    return PALETTE[user % len(PALETTE)]


def _between(start: Color, end: Color, share: float) -> Color:
    share = max(0.0, min(1.0, share))
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
    return red, green, blue


# ---------------------------------------------------------------------------------------------- map


def _draw_map(model: Model, view: View, canvas: Canvas) -> None:
    """Positions from above; the darker a direct line, the stronger the user's whole channel."""
    (x, y), (width, height) = MAP
    p = model.params
    canvas.box((x, y), (width, height), color=GRID, width=1)
    xs = [0.0, p.ris_x_m, *(u[0] for u in view.positions)]
    ys = [0.0, p.ris_y_m, *(u[1] for u in view.positions)]
    centre = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    room = 26.0
    scale = min(
        (width - 2 * room) / max(max(xs) - min(xs), 1.0),
        (height - 2 * room) / max(max(ys) - min(ys), 1.0),
    )

    def at(position: tuple[float, float]) -> Point:
        return (
            x + width / 2 + scale * (position[0] - centre[0]),
            y + height / 2 - scale * (position[1] - centre[1]),
        )

    ap, ris = at((0.0, 0.0)), at((p.ris_x_m, p.ris_y_m))
    if model.elements:
        canvas.line(ap, ris, color=(190, 160, 90), width=2)
    low, high = GAIN_RANGE_DB
    for user, position in enumerate(view.positions):
        spot = at((position[0], position[1]))
        strength = (view.gains_db[user] - low) / (high - low)
        if model.elements:
            canvas.line(spot, ris, color=(222, 205, 165))
        canvas.line(spot, ap, color=_between((232, 234, 238), (20, 40, 70), strength), width=2)
    for user, position in enumerate(view.positions):
        spot = at((position[0], position[1]))
        canvas.circle(spot, 8, color=user_color(user))
        canvas.text(
            (spot[0], spot[1] - 7), str(user + 1), size=11, color=(255, 255, 255), align="center"
        )
    canvas.polygon([(ap[0] - 8, ap[1] + 8), (ap[0] + 8, ap[1] + 8), (ap[0], ap[1] - 10)], color=INK)
    canvas.text((ap[0], ap[1] + 11), "AP", size=11, align="center")
    if model.elements:
        canvas.box((ris[0] - 14, ris[1] - 4), (28, 8), color=(150, 110, 20))
        canvas.text((ris[0] + 18, ris[1] - 7), "RIS", size=11)
    canvas.text((x + 6, y + 4), "map from above", size=11, color=MUTED)
    canvas.text(
        (x + width - 6, y + height - 16),
        "dark line: strong channel",
        size=11,
        color=MUTED,
        align="right",
    )


def _draw_surface(model: Model, view: View, canvas: Canvas) -> None:
    """The panel as users see it: the hand and the hue of every element give its phase."""
    (x, y), (width, _) = DIALS
    canvas.text((x, 34), f"phases of {model.elements} elements", size=11, color=MUTED)
    if not model.elements:
        return
    columns = math.isqrt(model.elements - 1) + 1
    cell = width / columns
    for n, phase in enumerate(view.phases):
        hue = (phase / (2.0 * math.pi)) % 1.0
        red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.55, 0.92))
        left, top = x + cell * (n % columns), y + cell * (n // columns)
        canvas.box(
            (left, top), (max(cell - 1.0, 1.0), max(cell - 1.0, 1.0)), color=(red, green, blue)
        )
        if cell >= SMALL_CELL:
            middle = (left + cell / 2 - 0.5, top + cell / 2 - 0.5)
            reach = 0.42 * cell
            end = (middle[0] + reach * math.cos(phase), middle[1] - reach * math.sin(phase))
            canvas.line(middle, end)


def _draw_order(view: View, canvas: Canvas) -> None:
    """Users from decoded first to last, with their gains."""
    x, y = ORDER_PANEL
    canvas.text((x, y), "decoded first to last", size=11, color=MUTED)
    step = min(18.0, 146.0 / len(view.order))
    low, high = GAIN_RANGE_DB
    for place, user in enumerate(view.order):
        top = y + 18 + place * step
        canvas.circle((x + 7, top + step / 2), min(7.0, step / 2), color=user_color(user))
        if step >= 12:
            at = (x + 7, top + step / 2 - 7)
            canvas.text(at, str(user + 1), size=11, color=(255, 255, 255), align="center")
        share = max(0.02, min(1.0, (view.gains_db[user] - low) / (high - low)))
        canvas.box((x + 18, top + step * 0.3), (66 * share, step * 0.4), color=user_color(user))
        canvas.text(
            (x + 128, top + step / 2 - 7), f"{view.gains_db[user]:.0f} dB", size=11, align="right"
        )


# ------------------------------------------------------------------------------- users and energy


def _draw_users(model: Model, view: View, canvas: Canvas) -> None:
    """Five bars a user: backlog by deadline, semantic queue, extraction, power, factor."""
    (x, y), (width, height) = USER_PANEL
    p = model.params
    canvas.text(
        (x, 204),
        "each user: backlog, queue, extraction, power, factor; coming slot",
        size=11,
        color=MUTED,
    )
    most_power = p.fixed_power_w if model.fixed_power else p.max_power_w
    most_backlog = max(model.window * p.max_task_bits, 1.0)
    step = width / model.users
    bar = min(15.0, (step - 6.0) / 5.0)
    for user in range(model.users):
        left = x + user * step
        buckets = [
            (bits / most_backlog, _between(DUE, LATER, w / max(model.window - 1, 1)))
            for w, bits in enumerate(view.backlog[user])
        ]
        bars: list[list[tuple[float, Color]]] = [
            buckets,
            [(view.queue[user] / p.queue_limit_bits, QUEUED)],
            [(view.volume[user] / p.max_task_bits, EXTRACTED)],
            [(view.power[user] / most_power, POWER)],
            [(view.factor[user], FACTOR)],
        ]
        for i, shares in enumerate(bars):
            canvas.bar((left + i * bar, y), (bar - 1.0, height), shares)
        canvas.circle((left + 2.5 * bar, y - 6), 5, color=user_color(user))
        if step >= 40:
            words = f"{1e3 * view.power[user]:.0f} mW"
            words += f"  rho {view.factor[user]:.2f}" if step >= 95 else ""
            canvas.text((left, y + height + 3), words, size=11)
    legend = [
        ("due now", DUE),
        ("due later", LATER),
        ("queue", QUEUED),
        ("extracted", EXTRACTED),
        ("power", POWER),
        ("factor", FACTOR),
    ]
    for i, (word, color) in enumerate(legend):
        left = x + i * 76
        canvas.box((left, 381), (10, 10), color=color)
        canvas.text((left + 14, 379), word, size=11)


def _draw_energy(view: View, canvas: Canvas) -> None:
    """Where the energy of the coming slot goes, and how long ago each block was set."""
    (x, y), size = ENERGY_PANEL
    total = max(sum(view.energy_mj), 1e-12)
    canvas.text((x, 204), "energy, coming slot", size=11, color=MUTED)
    canvas.text((x, 222), f"{total:.2f} mJ", size=15, bold=True)
    colors = (POWER, EXTRACTED, STATIC)
    shares = [(part / total, color) for part, color in zip(view.energy_mj, colors, strict=True)]
    canvas.bar((x, y), size, shares, vertical=False)
    for i, (word, color) in enumerate(zip(("transmit", "compute", "static"), colors, strict=True)):
        canvas.box((x, 274 + 16 * i), (10, 10), color=color)
        canvas.text((x + 14, 272 + 16 * i), f"{word} {view.energy_mj[i]:.2f}", size=11)
    canvas.text((x, 328), "slots since set", size=11, color=MUTED)
    for i, word in enumerate(("extraction", "surface", "order")):
        canvas.text((x, 343 + 15 * i), f"{word} {view.ages[i]:.0f}", size=11)
