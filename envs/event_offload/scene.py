"""The picture of one row: events on their way through the exits, thresholds, channel, budget.

The exits are the last slot's, the channel is the coming slot's. The panels are functions of plain
numbers, so that the other event-offloading systems draw with them too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from sixgym.envs.core.render import GRID, INK, MUTED, Canvas, Color, Point
from sixgym.envs.event_offload.bank import TAIL
from sixgym.envs.event_offload.rule import run_rule
from sixgym.envs.event_offload.slot import requests_of, serve_by_size, serve_in_order

if TYPE_CHECKING:
    from sixgym.envs.event_offload.state import State
    from sixgym.envs.event_offload.system import EventOffload

EXITS = ((30.0, 52.0), (384.0, 250.0))
"""Corner and size of the panel of exits, pixels."""
SIDE_X, SIDE_WIDTH = 446.0, 146.0
TAIL_COLOR: Color = (213, 94, 0)
HEAD_COLOR: Color = (120, 134, 152)
SERVED: Color = (0, 128, 92)
DROPPED: Color = (176, 32, 48)
CLOSED: Color = (120, 94, 160)
TAIL_ZONE: Color = (252, 232, 214)
HEAD_ZONE: Color = (228, 232, 238)
LOCAL_BAR: Color = (138, 150, 60)
RADIO_BAR: Color = (0, 114, 178)
LEFT_BAR: Color = (0, 158, 115)
SNR_RANGE_DB = (-15.0, 30.0)
MOST_EVENTS = 120
"""More events than this are not drawn one by one."""


class Event(NamedTuple):
    """One event on its way."""

    scores: Sequence[float]
    """Confidences of the exits that it passed, the last one where it left."""
    is_tail: bool
    fate: str
    """"served", "dropped", "closed" (on the device, as a tail) or "head"."""


FATES: dict[str, Color] = {"served": SERVED, "dropped": DROPPED, "closed": CLOSED, "head": MUTED}


def draw_scene(system: EventOffload, state: State, row: int, canvas: Canvas) -> None:
    """Paint one row on a clear canvas.

    Args:
        system: of the state.
        state: of all rows.
        row: which one.
        canvas: 600 x 400.
    """
    p, one = system.params, type(state)(*(leaf[row : row + 1].cpu() for leaf in state))
    slot = int(one.slot.item())
    canvas.text((8, 8), "Event offloading", size=16, bold=True)
    canvas.text((150, 11), f"after slot {slot} of {p.horizon_slots}", color=MUTED)
    if p.labels == "bursty":
        words = "burst (hidden)" if float(one.in_burst) > 0.5 else "calm (hidden)"
        canvas.text((592, 11), words, color=MUTED, align="right")
    low, high = (float(b) for b in one.pair[0]) if slot else (0.0, 1.0)
    events = events_of(system, one) if slot else []
    above = "offload above" if p.semantics == "detect_then_offload" else "close above"
    exits = system.pool.num_exits
    draw_exits(canvas, events, exits, low, high, has_pair=slot > 0, above=above)
    if p.expected:
        canvas.text((EXITS[0][0] + 8, EXITS[0][1] + 8), "expectations: no single events", size=12)
    draw_tally(canvas, events)
    snr = float(one.snr.item())
    draw_channel(canvas, 40.0, system.link.min_snr, snr, _offload_mj(system, snr))
    _draw_budget(system, one, canvas)


def events_of(system: EventOffload, one: State) -> list[Event]:
    """The events of the last slot of a single row; none in the mode of expectations."""
    p, bank = system.params, system.bank
    if int(one.events[0, 0]) < 0:
        return []
    rows = one.events.to(bank.conf.device)
    conf = bank.conf[rows]
    low, high = one.pair.to(conf.device).float().unsqueeze(-1).unbind(1)
    verdict = run_rule(conf, low, high, p.final_rule)
    requests = requests_of(p, verdict)
    fit = one.fit.to(conf.device)
    if p.payload == "per_exit":
        longest = p.deadline_s / system.link.airtime_s(one.last_snr.to(conf.device))
        served = serve_by_size(requests.offload, system.sizes[verdict.exit], fit, longest)
    else:
        served = serve_in_order(requests.offload, fit)
    closed = torch.zeros_like(served) if requests.closed is None else requests.closed
    is_tail = bank.traits[rows][0, :, TAIL] > 0.5
    columns = [conf, is_tail[None], verdict.exit, requests.offload, served, closed]
    found = []
    for score, tail, exit, asks, sent, ends in zip(*(c[0].tolist() for c in columns), strict=True):
        fate = "served" if sent else "dropped" if asks else "closed" if ends else "head"
        found.append(Event(score[: exit + 1], tail, fate))
    return found


def draw_exits(
    canvas: Canvas,
    events: Sequence[Event],
    num_exits: int,
    low: float,
    high: float,
    *,
    has_pair: bool = True,
    above: str = "offload above",
    title: str = "tail confidence at each exit, last slot",
) -> None:
    """Scores over exits: each event is a line that ends where it leaves.

    Args:
        canvas: to paint on.
        events: of a slot.
        num_exits: N.
        low: lower threshold.
        high: upper threshold.
        has_pair: whether there are thresholds yet.
        above: what the upper threshold means.
        title: over the panel.
    """
    (x, y), (width, height) = EXITS
    step = width / num_exits

    def at(exit: float, score: float) -> Point:
        return x + step * (exit + 0.5), y + height * (1.0 - score)

    if has_pair:
        canvas.box((x, y), (width, height * (1.0 - high)), color=TAIL_ZONE)
        canvas.box((x, y + height * (1.0 - low)), (width, height * low), color=HEAD_ZONE)
    for n in range(num_exits):
        top = at(n, 1.0)
        canvas.line(top, (top[0], y + height), color=GRID)
        if num_exits <= 8 or n % 3 == 0:
            words = f"exit {n + 1}" if num_exits <= 8 else f"{n + 1}"
            canvas.text((top[0], y + height + 4), words, size=11, color=MUTED, align="center")
    for score in (0.0, 0.5, 1.0):
        canvas.text((x - 4, at(0, score)[1] - 7), f"{score:g}", size=11, color=MUTED, align="right")
    canvas.text((x, y - 17), title, size=11, color=MUTED)
    for event in sorted(events[:MOST_EVENTS], key=lambda e: e.is_tail):
        color = TAIL_COLOR if event.is_tail else HEAD_COLOR
        points = [at(n, s) for n, s in enumerate(event.scores)]
        canvas.lines([(points[0][0] - 0.4 * step, points[0][1]), *points], color=color)
        mark(canvas, points[-1], event)
    canvas.box((x, y), (width, height), color=MUTED, width=1)
    if has_pair:
        _draw_threshold(canvas, high, f"{above} {high:.3f}", TAIL_COLOR, is_over=high < 0.93)
        _draw_threshold(canvas, low, f"drop below {low:.3f}", INK, is_over=low < 0.07)


def _draw_threshold(
    canvas: Canvas, value: float, words: str, color: Color, *, is_over: bool
) -> None:
    """A thick line through the panel of exits with its words over or under it."""
    (x, y), (width, height) = EXITS
    level = y + height * (1.0 - value)
    canvas.box((x, level - 1.5), (width, 3), color=color)
    at = (x + width - 5, level + (-15.0 if is_over else 3.0))
    canvas.text(at, words, size=11, align="right")


def mark(canvas: Canvas, at: Point, event: Event) -> None:
    """The end of an event's way: a disc if sent or closed, a cross if dropped, a dot if head."""
    x, y = at
    fill = TAIL_COLOR if event.is_tail else HEAD_COLOR
    if event.fate == "head":
        canvas.circle(at, 3, color=fill)
        return
    if event.fate == "dropped":
        for side in (-1, 1):
            canvas.line((x - 5, y - 5 * side), (x + 5, y + 5 * side), color=DROPPED, width=3)
        return
    canvas.circle(at, 6, color=FATES[event.fate])
    canvas.circle(at, 3, color=fill)


def draw_tally(canvas: Canvas, events: Sequence[Event]) -> None:
    """The legend, and what became of the events of the last slot."""
    y = 330.0
    tails = [e for e in events if e.is_tail]
    found = sum(e.fate in ("served", "closed") for e in tails)
    false = sum(e.fate in ("served", "closed") for e in events) - found
    dropped = sum(e.fate == "dropped" for e in events)
    if events:
        words = (
            f"tails found {found} of {len(tails)},  false alarms {false},  "
            f"dropped {dropped},  {len(events)} events"
        )
        canvas.text((30, y), words, size=13, bold=True)
    samples = (
        ("tail, sent", Event((), True, "served")),
        ("head, sent", Event((), False, "served")),
        ("tail, missed", Event((), True, "head")),
        ("head, left", Event((), False, "head")),
        ("no room", Event((), True, "dropped")),
        ("closed here", Event((), True, "closed")),
    )
    for i, (words, event) in enumerate(samples):
        left, top = 36.0 + 132.0 * (i % 3), y + 29.0 + 20.0 * (i // 3)
        mark(canvas, (left, top), event)
        canvas.text((left + 12, top - 8), words, size=11)


def draw_channel(
    canvas: Canvas, y: float, min_snr: float, snr: float, offload_mj: float, x: float = SIDE_X
) -> None:
    """SNR on a scale with the outage part marked, and the price of one offload.

    Args:
        canvas: to paint on.
        y: top of the panel, pixels.
        min_snr: least SNR without outage, linear.
        snr: of the coming slot, linear.
        offload_mj: energy of one offload, mJ.
        x: left of the panel.
    """
    low, high = SNR_RANGE_DB
    level = 10.0 * math.log10(max(snr, 1e-9))
    edge = 10.0 * math.log10(max(min_snr, 1e-9)) if math.isfinite(min_snr) else high
    up = snr >= min_snr
    canvas.text((x, y), "channel, coming slot", size=11, color=MUTED)
    words = f"{level:.1f} dB" if up else f"{level:.1f} dB, outage"
    canvas.text((x, y + 15), words, size=15, bold=True, color=INK if up else DROPPED)

    def place(decibel: float) -> float:
        return max(0.0, min(1.0, (decibel - low) / (high - low)))

    top, size = y + 38.0, (SIDE_WIDTH, 14.0)
    canvas.bar((x, top), size, [(place(level), RADIO_BAR if up else DROPPED)], vertical=False)
    mark_x = x + SIDE_WIDTH * place(edge)
    canvas.box((mark_x - 1, top - 3), (2, 20), color=DROPPED)
    canvas.text((mark_x, top + 17), "outage", size=11, color=DROPPED, align="center")
    canvas.text((x + SIDE_WIDTH, top + 17), f"{high:.0f} dB", size=11, color=MUTED, align="right")
    price = f"one offload {offload_mj:.1f} mJ" if up else "no offload possible"
    canvas.text((x, top + 33), price, size=12)


def draw_energy(
    canvas: Canvas, y: float, local: float, radio: float, budget: float, x: float = SIDE_X
) -> None:
    """Energy of the last slot beside its budget.

    Args:
        canvas: to paint on.
        y: top of the panel, pixels.
        local: energy of computation, J.
        radio: transmit energy, J.
        budget: of the slot, J.
        x: left of the panel.
    """
    canvas.text((x, y), "energy, last slot", size=11, color=MUTED)
    total = local + radio
    words = f"{1e3 * total:.0f} of {1e3 * budget:.0f} mJ"
    color = INK if total <= budget else DROPPED
    canvas.text((x, y + 15), words, size=15, bold=True, color=color)
    # The bar ends at twice the budget, which is marked.
    shares = [(local / (2.0 * budget), LOCAL_BAR), (radio / (2.0 * budget), RADIO_BAR)]
    canvas.bar((x, y + 38), (SIDE_WIDTH, 14), shares, vertical=False)
    canvas.box((x + SIDE_WIDTH / 2 - 1, y + 35), (2, 20), color=INK)
    for i, (word, shade) in enumerate((("compute", LOCAL_BAR), ("radio", RADIO_BAR))):
        canvas.box((x + 74 * i, y + 60), (10, 10), color=shade)
        canvas.text((x + 74 * i + 14, y + 57), word, size=11)


def draw_store(canvas: Canvas, y: float, words: str, share: float, x: float = SIDE_X) -> None:
    """A bar with a name: what is left of a battery, or the mean energy so far."""
    canvas.text((x, y), words, size=11, color=MUTED)
    canvas.text((x + SIDE_WIDTH, y), f"{100 * share:.0f} %", size=12, bold=True, align="right")
    shade = LEFT_BAR if share <= 1.0 else DROPPED
    canvas.bar((x, y + 16), (SIDE_WIDTH, 14), [(min(share, 1.0), shade)], vertical=False)


def _offload_mj(system: EventOffload, snr: float) -> float:
    return 1e3 * float(system.link.offload_energy_j(torch.tensor(snr, dtype=torch.float64)))


def _draw_budget(system: EventOffload, one: State, canvas: Canvas) -> None:
    p, x = system.params, SIDE_X
    slot, spent = float(one.slot.item()), float(one.energy_j.item())
    local, radio = system.last_energy(one)
    draw_energy(canvas, 150.0, local, radio, p.num_events * p.budget_j)
    budget = p.num_events * p.budget_j
    if p.budget_mode == "battery":
        left = max(0.0, 1.0 - spent / (budget * p.horizon_slots))
        draw_store(canvas, 236.0, "battery left", left)
    else:
        draw_store(canvas, 236.0, "mean use of budget", spent / (budget * max(slot, 1.0)))
    draw_store(canvas, 284.0, "episode left", max(0.0, 1.0 - slot / p.horizon_slots))
    lines = {
        "slot": "budget: of every slot",
        "average": "budget: on average",
        "battery": "budget: a battery",
    }
    canvas.text((x, 334), lines[p.budget_mode], size=11)
    capacity = float(system.link.capacity(one.snr)[0])
    canvas.text((x, 350), f"room for {min(capacity, 9999):.0f} offloads", size=11)
