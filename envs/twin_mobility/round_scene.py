"""The picture of a row of `sixgym/TwinRound-v0`: the map, the regions' scores, the agents' time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixgym.envs.core.render import GRID, INK, MUTED, PALETTE, Canvas, Color, Point
from sixgym.envs.twin_mobility.state import NOWHERE

if TYPE_CHECKING:
    from sixgym.envs.twin_mobility.round import TwinRound
    from sixgym.envs.twin_mobility.round_state import RoundState

MAP, SIDE = (10.0, 34.0), 340.0
"""Upper left corner and side of the map."""
PANEL, PANEL_END = 364.0, 592.0
REGIONS_TOP, REGIONS_HEIGHT = 52.0, 132.0
AGENTS_TOP, AGENTS_HEIGHT = 216.0, 146.0
MISSED: Color = (200, 40, 40)
STAGES: tuple[tuple[str, Color], ...] = (
    ("move", (86, 180, 233)),
    ("sense", (0, 158, 115)),
    ("process", (230, 159, 0)),
    ("approach", (0, 114, 178)),
    ("transmit", (204, 121, 167)),
)
LEAST_SCALE = 2.0
"""The bars of the regions reach at least to this deviation."""


def draw_round(system: TwinRound, state: RoundState, row: int, canvas: Canvas) -> None:
    """Paint one row on a clear canvas.

    Args:
        system: of the state.
        state: of all rows.
        row: which one.
        canvas: 600 x 400.
    """
    one = type(state)(*(leaf[row : row + 1].cpu() for leaf in state))
    played = int(one.round[0])
    canvas.text((10, 8), "Twins of regions, a round", size=16, bold=True)
    when = f"round {played} of {system.params.num_rounds}" if played else "before the first round"
    when = f"{when}, t = {float(one.time_s[0]):.0f} s"
    canvas.text((592, 11), when, color=MUTED, align="right")
    _draw_map(system, one, canvas)
    _draw_regions(system, one, canvas, played > 0)
    _draw_agents(system, one, canvas)
    _draw_legend(canvas)


def region_color(region: int) -> Color:
    """The colour of a region, the same in every panel."""
    return PALETTE[region % len(PALETTE)]


def _draw_map(system: TwinRound, one: RoundState, canvas: Canvas) -> None:
    p = system.params
    scale = SIDE / p.area_m

    def at(place: list[float]) -> Point:
        return MAP[0] + scale * place[0], MAP[1] + SIDE - scale * place[1]

    canvas.box(MAP, (SIDE, SIDE), color=(255, 255, 255))
    for region, centre in enumerate(one.centre[0].tolist()):
        color, (x, y) = region_color(region), at(centre)
        canvas.circle((x, y), max(4.0, scale * p.sensing_radius_m), color=color, width=2)
        canvas.text((x, y - 8), f"r{region}", size=12, color=color, align="center")
    station = at(list(p.bs_xy_m))
    canvas.polygon(
        [(station[0], station[1] - 8), (station[0] - 7, station[1] + 6),
         (station[0] + 7, station[1] + 6)]
    )  # fmt: skip
    ways = zip(
        one.origin[0].tolist(),
        one.sensed_at[0].tolist(),
        one.position[0].tolist(),
        one.target[0].tolist(),
        one.delivered[0].tolist(),
        one.battery_j[0].tolist(),
        strict=True,
    )
    for agent, (origin, sensed, end, target, delivered, battery) in enumerate(ways):
        if target != NOWHERE:
            canvas.line(at(origin), at(sensed), color=region_color(target))
            canvas.line(at(sensed), at(end), color=region_color(target), width=2)
            canvas.circle(at(origin), 3, color=MUTED, width=1)
        color = INK if battery > 0.0 else GRID
        canvas.circle(at(end), 6, color=color)
        if target != NOWHERE and not delivered:
            canvas.circle(at(end), 9, color=MISSED, width=2)
        x, y = at(end)
        canvas.text((x, y - 6), str(agent), size=10, color=(255, 255, 255), align="center")
    canvas.box(MAP, (SIDE, SIDE), color=MUTED, width=1)


def _draw_regions(system: TwinRound, one: RoundState, canvas: Canvas, played: bool) -> None:
    """A bar a region: its score in the last round, or its deviation before the first."""
    title = "score of the round (red: missed)" if played else "deviation"
    canvas.text((PANEL, REGIONS_TOP - 18), title, size=12, color=MUTED)
    missed = [played and not done for done in one.refreshed[0].tolist()]
    shown = (one.score if played else system.observer.deviations(one))[0].tolist()
    served = [s for s, lost in zip(shown, missed, strict=True) if not lost]
    full = max([LEAST_SCALE, *served])
    pitch = min(22.0, REGIONS_HEIGHT / len(shown))
    height = max(3.0, pitch - 4.0)
    for region, (score, lost) in enumerate(zip(shown, missed, strict=True)):
        y = REGIONS_TOP + region * pitch
        x, width = PANEL + 26, PANEL_END - PANEL - 76
        color = MISSED if lost else region_color(region)
        canvas.bar((x, y), (width, height), [(min(score / full, 1.0), color)], vertical=False)
        if pitch >= 9.0:
            size = 12 if pitch >= 14.0 else 9
            canvas.text((PANEL, y - 1), f"r{region}", size=size, color=region_color(region))
            canvas.text((PANEL_END, y - 1), f"{score:.2f}", size=size, color=color, align="right")


def _draw_agents(system: TwinRound, one: RoundState, canvas: Canvas) -> None:
    """A bar an agent: its battery, and how the stages of the last round took its time."""
    p = system.params
    times = one.stage_s[0].tolist()
    longest = max([p.round_min_s, *(sum(t) for t in times)])
    canvas.text((PANEL, AGENTS_TOP - 18), "battery", size=12, color=MUTED)
    canvas.text((PANEL_END, AGENTS_TOP - 18), f"stages, up to {longest:.0f} s", size=12,
                color=MUTED, align="right")  # fmt: skip
    pitch = min(18.0, AGENTS_HEIGHT / p.num_agents)
    height = max(1.0, pitch - 4.0)
    left = PANEL + 66
    for agent, stages in enumerate(times):
        y = AGENTS_TOP + agent * pitch
        charge = float(one.battery_j[0, agent]) / p.battery_j
        share = [(min(charge, 1.0), INK)]
        canvas.bar((PANEL + 20, y), (36, height), share, vertical=False)
        parts = [(t / longest, c) for t, (_, c) in zip(stages, STAGES, strict=True)]
        canvas.bar((left, y), (PANEL_END - left, height), parts, vertical=False)
        if pitch >= 9.0:
            canvas.text((PANEL, y - 1), str(agent), size=12 if pitch >= 14.0 else 9)


def _draw_legend(canvas: Canvas) -> None:
    x = 10.0
    for name, color in STAGES:
        canvas.box((x, 382), (10, 10), color=color)
        canvas.text((x + 14, 380), name, size=12)
        x += 72.0
    canvas.polygon([(x + 5, 381), (x, 392), (x + 10, 392)])
    canvas.text((x + 14, 380), "station", size=12)
    canvas.circle((x + 80, 387), 5, color=MISSED, width=2)
    canvas.text((x + 90, 380), "delivered nothing", size=12)
