"""The picture of one row: requests by score and difficulty, threshold, network, queue, learning.

The requests are the last slot's (one request a step: the last K), the network is the coming slot's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sixgym.envs.core.render import GRID, INK, MUTED, Canvas, Color, Point
from sixgym.envs.netgpt.params import NetGptBaseParams
from sixgym.envs.netgpt.requests import split_requests
from sixgym.envs.netgpt.world_params import REGIMES

if TYPE_CHECKING:
    from sixgym.envs.netgpt.route import NetGptRoute
    from sixgym.envs.netgpt.slots import SlotSystem
    from sixgym.envs.netgpt.state import RouteState, SlotState

PANEL = ((34.0, 52.0), (380.0, 248.0))
"""Corner and size of the panel of requests, pixels."""
SIDE_X, SIDE_WIDTH = 446.0, 146.0
CLOUD_ZONE: Color = (224, 236, 246)
CLOUD: Color = (0, 114, 178)
EDGE: Color = (0, 150, 110)
WRONG: Color = (196, 40, 40)
BAR: Color = (86, 120, 160)
FATES = ("edge, wrong", "edge, right", "cloud, wrong", "cloud, right")
"""What the third row of ``shown`` counts."""
REGIME_WORDS = ("good", "medium", "poor", "bad")
BANDWIDTH_RANGE, RTT_RANGE = (0.25, 400.0), (0.005, 1.0)
"""Ends of the logarithmic scales: Mbit/s and s."""


class Dot(NamedTuple):
    """One request in the panel."""

    score: float
    difficulty: float
    fate: int
    """Index of `FATES`; -1 of one that is not decided yet."""


def draw_scene(
    system: SlotSystem[Any] | NetGptRoute,
    one: SlotState | RouteState,
    tau: float | None,
    canvas: Canvas,
) -> None:
    """Paint a state of one row on a clear canvas.

    Args:
        system: of the state.
        one: of a single row, on the CPU.
        tau: the last threshold, -1 before the first; None where there is none.
        canvas: 600 x 400.
    """
    p: NetGptBaseParams = system.params
    slot, place = int(one.desk.slot), int(one.desk.place)
    decided = [Dot(s, d, int(f)) for s, d, f in one.shown[0].T.tolist() if f >= 0.0]
    waiting = split_requests(one.requests)
    dots = [
        Dot(s, d, -1)
        for s, d in zip(waiting.score[0].tolist(), waiting.difficulty[0].tolist(), strict=True)
    ][: int(one.desk.arrived)]
    one_by_one = len(dots) == 1
    canvas.text((8, 8), "NetGPT routing", size=16, bold=True)
    when = f"slot {slot}, request {place + 1} of {p.num_requests}" if one_by_one else f"slot {slot}"
    canvas.text((150, 11), when, color=MUTED)
    _draw_panel(canvas, tau)
    for dot in sorted(decided, key=lambda dot: dot.fate):
        _draw_dot(canvas, dot)
    for dot in dots if one_by_one or not decided else []:
        _draw_dot(canvas, dot)
    _draw_legend(canvas, decided)
    _draw_network(canvas, one)
    _draw_edge(canvas, p, one)


# --------------------------------------------------------------------------------------- requests


def _place(score: float, difficulty: float) -> Point:
    (x, y), (width, height) = PANEL
    return x + width * score, y + height * (1.0 - difficulty)


def _draw_panel(canvas: Canvas, tau: float | None) -> None:
    """Axes, and where requests go."""
    (x, y), (width, height) = PANEL
    has_tau = tau is not None and tau >= 0.0
    if has_tau:
        assert tau is not None
        canvas.box((x, y), (width * tau, height), color=CLOUD_ZONE)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        bottom = _place(share, 0.0)
        canvas.line((bottom[0], y), bottom, color=GRID)
        canvas.text((bottom[0], y + height + 3), f"{share:g}", size=11, color=MUTED, align="center")
        left = _place(0.0, share)
        canvas.text((x - 5, left[1] - 7), f"{share:g}", size=11, color=MUTED, align="right")
    canvas.box((x, y), (width, height), color=MUTED, width=1)
    canvas.text((x, y - 17), "hidden difficulty d", size=11, color=MUTED)
    words = "score s: belief that the edge's draft is right"
    canvas.text((x + width / 2, y + height + 17), words, size=11, color=MUTED, align="center")
    if not has_tau:
        return
    assert tau is not None
    level = x + width * tau
    canvas.box((level - 1.5, y - 4), (3, height + 8), color=CLOUD)
    is_left = tau > 0.5
    canvas.text(
        (level + (-6 if is_left else 6), y + 4),
        f"cloud below {tau:.3f}",
        size=12,
        color=CLOUD,
        bold=True,
        align="right" if is_left else "left",
    )


def _draw_dot(canvas: Canvas, dot: Dot) -> None:
    """A disc for a right answer, a cross for a wrong one, a ring for one to decide."""
    _mark(canvas, _place(dot.score, dot.difficulty), dot.fate)


def _mark(canvas: Canvas, at: Point, fate: int) -> None:
    x, y = at
    if fate < 0:
        canvas.circle(at, 6, color=INK, width=2)
        return
    color = CLOUD if fate >= 2 else EDGE
    if fate % 2:
        canvas.circle(at, 6, color=color)
        return
    canvas.circle(at, 7, color=color, width=2)
    for side in (-1, 1):
        canvas.line((x - 3, y - 3 * side), (x + 3, y + 3 * side), color=WRONG, width=3)


def _draw_legend(canvas: Canvas, decided: Sequence[Dot]) -> None:
    """What the marks mean, and how many of each there are."""
    x, y = PANEL[0][0], 340.0
    if decided:
        sent = sum(dot.fate >= 2 for dot in decided)
        right = sum(dot.fate % 2 for dot in decided)
        many = len(decided)
        words = f"{sent} of {many} offloaded, {right} of {many} answers right"
        canvas.text((x, y), words, size=13, bold=True)
    else:
        canvas.text((x, y), "nothing decided yet", size=13, bold=True)
    marks = (1, 0, 3, 2, -1)
    for i, fate in enumerate(marks):
        at = (x + 8 + 126 * (i % 3), y + 30 + 20 * (i // 3))
        _mark(canvas, at, fate)
        words = FATES[fate] if fate >= 0 else "to decide"
        canvas.text((at[0] + 12, at[1] - 8), words, size=12)


# ------------------------------------------------------------------------------------- side panels


def _scale(value: float, ends: tuple[float, float]) -> float:
    """Place on a logarithmic scale, 0 to 1."""
    low, high = (math.log(end) for end in ends)
    return max(0.0, min(1.0, (math.log(max(value, 1e-9)) - low) / (high - low)))


def _draw_network(canvas: Canvas, one: SlotState | RouteState) -> None:
    """Regime, bandwidth, RTT and price of the coming slot."""
    link, x = one.link, SIDE_X
    regime = int(link.regime)
    canvas.text((x, 40), "network, coming slot", size=11, color=MUTED)
    for i, name in enumerate(REGIMES):
        left, is_now = x + 37 * i, i == regime
        canvas.box((left, 56), (33, 20), color=CLOUD if is_now else GRID, radius=4)
        ink: Color = (255, 255, 255) if is_now else MUTED
        canvas.text((left + 16, 59), name, size=12, bold=is_now, color=ink, align="center")
    words = REGIME_WORDS[regime] if regime >= 0 else "replay of a trace"
    canvas.text((x, 80), words, size=12)
    _draw_bar(
        canvas,
        100.0,
        "bandwidth",
        f"{float(link.bandwidth):.3g} Mbit/s",
        _scale(float(link.bandwidth), BANDWIDTH_RANGE),
    )
    _draw_bar(
        canvas,
        138.0,
        "round trip",
        f"{1e3 * float(link.rtt):.0f} ms",
        _scale(float(link.rtt), RTT_RANGE),
    )
    words = f"cloud price x {float(link.price_mult):.3g}"
    canvas.text((x, 176), words, size=12, bold=float(link.price_mult) != 1.0)


def _draw_edge(canvas: Canvas, p: NetGptBaseParams, one: SlotState | RouteState) -> None:
    """Queue of the edge, its skill and the scorer's, and the buffer."""
    desk, mind, x = one.desk, one.mind, SIDE_X
    canvas.line((x, 200), (x + SIDE_WIDTH, 200), color=GRID)
    backlog = float(desk.backlog)
    # Without a limit: the bar is full at ten slots of work.
    name = "edge queue" if p.queue != "off" else "edge queue (off)"
    _draw_bar(canvas, 206.0, name, f"{backlog:.1f} s", min(1.0, backlog / (10.0 * p.slot_s)))
    canvas.text((x, 246), "edge skill and scorer (hidden)", size=11, color=MUTED)
    kappa, fitted = float(mind.kappa), float(mind.kappa_rm)
    top, size = 264.0, (SIDE_WIDTH, 14.0)
    canvas.bar((x, top), size, [(max(0.0, min(1.0, kappa)), EDGE)], vertical=False)
    mark_x = x + SIDE_WIDTH * max(0.0, min(1.0, fitted))
    canvas.box((mark_x - 1, top - 3), (3, 20), color=INK)
    canvas.text((x, top + 19), f"skill {kappa:.3f}", size=12, color=EDGE)
    canvas.text((x + SIDE_WIDTH, top + 19), f"scorer {fitted:.3f}", size=12, align="right")
    if not p.self_improve:
        canvas.text((x, 304), "no self-improvement", size=12, color=MUTED)
        return
    fresh = float(mind.fresh)
    _draw_bar(
        canvas,
        304.0,
        "new samples",
        f"{fresh:.0f} of {p.update_samples}",
        min(1.0, fresh / p.update_samples),
    )
    canvas.text((x, 344), f"{float(mind.kept):.0f} samples kept", size=12)
    words = f"update {float(mind.updates):.0f}"
    canvas.text((x, 360), words + (", training" if float(mind.training) > 0.5 else ""), size=12)


def _draw_bar(canvas: Canvas, y: float, name: str, value: str, share: float) -> None:
    canvas.text((SIDE_X, y), name, size=11, color=MUTED)
    canvas.text((SIDE_X + SIDE_WIDTH, y - 1), value, size=12, bold=True, align="right")
    canvas.bar((SIDE_X, y + 17), (SIDE_WIDTH, 12), [(share, BAR)], vertical=False)
