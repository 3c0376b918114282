"""The claim of NetGPT about quality against cost: C4, and the frontiers of trained networks.

The frontiers that are judged are exact means over network states. Those of trained networks are
played, and are shown beside the exact ones without being judged: the dossier asks nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from sixgym.baselines.netgpt.design import Design, design_of
from sixgym.baselines.netgpt.frontier import (
    Frontier,
    dynamic_frontier,
    fixed_frontier,
    hypervolume,
    improvement_in_quality,
    normalised,
)
from sixgym.baselines.netgpt.law import GATE, Floats
from sixgym.baselines.netgpt.rules import Exact
from sixgym.envs.core.errors import UnknownIdError
from sixgym.envs.core.rollout import Policy, rollout
from sixgym.envs.core.worlds import row_seed
from sixgym.leaderboard import stats
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome
from sixgym.leaderboard.claims.netgpt_policies import ID, NET, PPO, PRESET, Points, designed
from sixgym.leaderboard.claims.netgpt_theory import REGIMES, TAU_GRID
from sixgym.leaderboard.claims.rules import Finding, told, verdict
from sixgym.leaderboard.players import find_player
from sixgym.leaderboard.protocol import VERSION
from sixgym.leaderboard.runner import make_rows
from sixgym.leaderboard.stats import Interval, Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sixgym.envs.core.vector_view import SixgymVectorEnv
    from sixgym.leaderboard.players import Member

SCHEDULES = ("flat", "tou", "premium", "surge")

# ------------------------------------------------------------------- C4: quality-cost frontiers

STEP = 0.02
"""Of the cost, as a part of the cloud's, in second differences of the recovered quality. They shall
be bounded, and the dossier names no bound: they are told, and judged by their sign only."""
CONCAVE = 1e-9
"""Rises of the slope below this are rounding."""
AIQ_GAIN = 0.01
POINTS = 300


class Frontiers(NamedTuple):
    """Frontiers of one design, normalised: AllEdge at (0, 0), AllCloud at (1, 1)."""

    fixed: Frontier
    dynamic: Frontier
    cloud: tuple[float, float]
    """Composite cost and quality of AllCloud."""
    edge: float
    """Quality of AllEdge."""

    @property
    def gain(self) -> float:
        """AIQ of dynamic thresholds less that of fixed ones."""
        return improvement_in_quality(self.dynamic) - improvement_in_quality(self.fixed)


def frontiers(design: Design) -> Frontiers:
    """Both frontiers of a design, dense enough for areas and second differences."""
    law, omega, chance = design.law, design.omega, design.mix.chance
    edge, all_sent = float(law.rates(0.0).quality), float(law.rates(1.0).quality)
    cloud = (float(chance @ omega), all_sent)
    fixed = fixed_frontier(law, omega, chance, np.concatenate([[0.0, GATE], TAU_GRID[1:]]))
    # At the last multiplier not even an invalid draft is worth the cheapest state.
    last = 1.01 * design.model.value * all_sent / float(omega.min())
    dynamic = dynamic_frontier(law, omega, chance, last * np.linspace(1e-6, 1.0, POINTS))
    return Frontiers(normalised(fixed, edge, cloud), normalised(dynamic, edge, cloud), cloud, edge)


def bends(frontier: Frontier, step: float = STEP) -> Floats:
    """Second differences of the quality over a normalised cost in equal steps."""
    order = np.argsort(frontier.cost, kind="stable")
    cost, quality = frontier.cost[order], frontier.quality[order]
    grid = np.arange(0.0, cost[-1], step)
    return np.diff(np.interp(grid, cost, quality), 2)


@cache
def all_frontiers() -> tuple[dict[str, Frontiers], dict[str, Frontiers]]:
    """By regime and schedule, and by schedule on the Markov mix of regimes."""
    frozen = {
        f"{regime} {schedule}": frontiers(designed(network=f"frozen:{regime}", pricing=schedule))
        for regime in REGIMES
        for schedule in SCHEDULES
    }
    return frozen, {schedule: frontiers(designed(pricing=schedule)) for schedule in SCHEDULES}


# ------------------------------------------------------- trained networks, their threshold shifted

LEARNED = (NET.policy, PPO.policy)
KNOBS = 61
"""Points of a frontier that is played. [our choice]"""
SHIFTS = np.linspace(-6.0, 4.0, KNOBS)
"""Added to the logit of a network's threshold: from hardly any offload to nearly all. [ours]"""
MULTIPLIERS = np.geomspace(4.0, 0.02, KNOBS)
"""Of the cost in the eyes of the exact threshold: its knob. [our choice]"""
FIXED = np.concatenate([[0.0, GATE], np.linspace(0.02, 1.0, KNOBS - 2)])
"""Constant thresholds: the first is AllEdge, the last AllCloud."""
INNER = 1e-3
"""How near to 0 and 1 a network's threshold may lie before its logit is taken."""
EPISODES = 32

Rows = NDArray[np.float64]
"""(rows,) one number a row of the batch."""
Rule = Callable[[Any], Rows]
"""Thresholds of a batch of observations."""
Family = Callable[[Any, Rows], Rule]
"""From an environment and the knob in each row to thresholds."""


class Played(NamedTuple):
    """A family of policies in play, by training seed, knob and episode; sums over the episode."""

    cost: Floats
    """(seeds, knobs, episodes) composite cost above the floor."""
    quality: Floats
    """(seeds, knobs, episodes) right answers, expected given difficulty and validity."""
    requests: Floats
    """(episodes,)."""

    def samples(self, seed: int) -> list[Sample]:
        """Costs of all knobs, then qualities, per request."""
        pairs = (*self.cost[seed], *self.quality[seed])
        return [stats.sample(values, self.requests) for values in pairs]

    def points(self, seed: int) -> Points:
        """Means of all episodes."""
        total = self.requests.sum()
        return Points(self.cost[seed].sum(1) / total, self.quality[seed].sum(1) / total)


class _Thresholds:
    """A policy made of a rule."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Actions; see `sixgym.envs.core.rollout.Policy`."""
        return self._rule(observation).astype(np.float32)[:, None], None


def constants(env: SixgymVectorEnv, knob: Rows) -> Rule:
    """Fixed thresholds."""
    return lambda observation: knob


def multiplied(env: SixgymVectorEnv, knob: Rows) -> Rule:
    """Exact thresholds at multiples of the cost."""
    exact = Exact(env.system, "exact")
    exact.attach(env)
    return lambda observation: exact.of_truth(exact.view.truth(), knob)


def shifted(member: Member) -> Family:
    """Thresholds of a trained network, the logit shifted by the knob."""

    def family(env: SixgymVectorEnv, knob: Rows) -> Rule:
        policy = member.make(env.system)

        def rule(observation: Any) -> Rows:
            tau, _ = policy.predict(observation, deterministic=True)
            inner = np.clip(np.asarray(tau, np.float64)[:, 0], INNER, 1.0 - INNER)
            return np.asarray(expit(logit(inner) + knob))

        return rule

    return family


def sweep(
    families: Sequence[Family], knobs: Floats, episodes: int = EPISODES, slots: int | None = None
) -> Played:
    """Play families on the same episodes, all values of the knob side by side.

    Args:
        families: one a training seed.
        knobs: (knobs,).
        episodes: row seeds, the first of the evaluation world.
        slots: of an episode; None are those of the id.
    """
    kwargs: dict[str, Any] = {"preset": PRESET, "reward_mode": "expected"}
    if slots is not None:
        kwargs["max_episode_steps"] = slots
    seeds = row_seed("evaluation", VERSION) + np.arange(episodes)
    cost, quality = [], []
    requests = np.ones(episodes)
    for family in families:
        env = make_rows(ID, len(knobs) * episodes, kwargs)
        policy: Policy = _Thresholds(family(env, np.repeat(knobs, episodes)))
        done = rollout(env, policy, np.tile(seeds, len(knobs)))
        floor = design_of(env.system).model.floor_cost
        value = done.sums["utility"] + done.sums["cost"] + floor * done.sums["requests"]
        cost.append(done.sums["cost"].reshape(len(knobs), episodes))
        quality.append(value.reshape(len(knobs), episodes))
        requests = done.sums["requests"][:episodes]
        env.close()
    return Played(np.stack(cost), np.stack(quality), requests)


@cache
def played() -> dict[str, Played]:
    """Fixed and exact thresholds, and the networks that there are."""
    found = {
        "fixed": sweep([constants], FIXED),
        "dynamic": sweep([multiplied], MULTIPLIERS),
    }
    for name in LEARNED:
        try:
            members = find_player(ID, name).members
        except UnknownIdError:
            continue
        found[name] = sweep([shifted(member) for member in members], SHIFTS)
    return found


def volumes_of(frame: Played, one: Played) -> list[float]:
    """Hypervolume of each training seed.

    Args:
        frame: fixed thresholds, whose first is AllEdge and last AllCloud.
        one: whose.
    """
    ends = frame.points(0)
    every = [one.points(seed) for seed in range(len(one.cost))]
    return [_volume(ends.cost, ends.quality, p.cost, p.quality) for p in every]


def _volume(frame_cost: Floats, frame_quality: Floats, cost: Floats, quality: Floats) -> float:
    """Hypervolume of points, the frame's first at (0, 0) and its last at (1, 1)."""
    frontier = Frontier(cost, quality, cost)
    cloud = (float(frame_cost[-1]), float(frame_quality[-1]))
    return hypervolume(normalised(frontier, float(frame_quality[0]), cloud))


def volume_gap(frame: Played, one: Played, other: Played) -> Interval:
    """Hypervolume of one less that of another, means over training seeds, paired by episode."""
    parts = [frame, *([one] * len(one.cost)), *([other] * len(other.cost))]
    seeds = [0, *range(len(one.cost)), *range(len(other.cost))]
    samples = [s for part, seed in zip(parts, seeds, strict=True) for s in part.samples(seed)]

    def gap(scores: list[Floats]) -> Floats:
        table = np.stack(scores).reshape(len(parts), 2, -1, len(scores[0]))
        found = []
        for costs, qualities in table.transpose(3, 1, 0, 2):
            values = [_volume(costs[0], qualities[0], c, q)
                      for c, q in zip(costs[1:], qualities[1:], strict=True)]  # fmt: skip
            mine, theirs = values[: len(one.cost)], values[len(one.cost) :]
            found.append(np.mean(mine) - np.mean(theirs))
        return np.array(found)

    return stats.paired(samples, gap, resamples=RESAMPLES)


RESAMPLES = 400
"""Of episodes, for the interval of a hypervolume."""


def _told_played(found: Mapping[str, Played]) -> tuple[str, dict[str, Any]]:
    """Hypervolumes in play, in words and as plain data."""
    frame, dynamic = found["fixed"], found["dynamic"]
    volumes = {name: volumes_of(frame, one) for name, one in found.items()}
    parts = [f"fixed {volumes['fixed'][0]:.4f}, dynamic {volumes['dynamic'][0]:.4f}"]
    for name in [n for n in LEARNED if n in found]:
        each = volumes[name]
        parts.append(
            f"{name}, {len(each)} seeds, {np.mean(each):.4f} ({min(each):.4f} to {max(each):.4f}), "
            f"less dynamic {volume_gap(frame, found[name], dynamic)}, less fixed "
            f"{volume_gap(frame, found[name], frame)}"
        )
    text = (
        f". Played, {EPISODES} episodes, {KNOBS} points each, networks with the threshold shifted "
        f"in the logit (not judged): hypervolume of {'; '.join(parts)}"
    )
    return text, {f"hypervolume {name}": values for name, values in volumes.items()}


def _c4(evidence: Evidence) -> Outcome:
    frozen, mixed = all_frontiers()
    findings, rises, falls = [], [], []
    for name, found in frozen.items():
        bend = bends(found.dynamic)
        rises.append(float(bend.max()))
        falls.append(float(-bend.min()))
        findings += [
            Finding(rises[-1] <= CONCAVE, f"{name}: not concave, slope rises by {rises[-1]:.2g}"),
        ]
    gains = {name: found.gain for name, found in mixed.items()}
    findings += [
        Finding(gain >= AIQ_GAIN, f"{name}: dynamic AIQ is {gain:.4f} above fixed")
        for name, gain in gains.items()
    ]
    holds, why = verdict(findings)
    if min(gains.values()) < AIQ_GAIN <= gains["flat"]:
        why += (
            f"; with the default flat price it is {gains['flat']:.4f}. Where tokens are dear the "
            "network is a smaller part of the cost, and following it gains less"
        )
    flat = mixed["flat"]
    areas = [improvement_in_quality(f) for f in (flat.fixed, flat.dynamic)]
    volumes = [hypervolume(f) for f in (flat.fixed, flat.dynamic)]
    words, values = _told_played(played())
    return Outcome(
        holds,
        f"4 regimes x 4 schedules: largest rise of a slope {max(rises):.1g}, largest bend "
        f"{max(falls):.4f} of the recovered quality in cost steps of {STEP} (exact). Markov mix, "
        f"fixed and dynamic: AIQ {told(areas, 4)}, hypervolume {told(volumes, 4)} (random "
        f"routing .5); dynamic AIQ above fixed with {', '.join(SCHEDULES)}: "
        f"{told(gains.values(), 4)}{words}",
        why,
        {"aiq_gain": gains, "hypervolume": volumes, **values},
        _draw_frontiers,
    )


def _draw_frontiers(axes: Axes) -> None:
    """Quality over cost: each regime, the mix under two schedules, networks; with hypervolumes."""
    frozen, mixed = all_frontiers()

    def line(found: Frontiers, frontier: Frontier, label: str, style: str, width: float) -> None:
        order = np.argsort(frontier.cost)
        cost = frontier.cost[order] * found.cloud[0]
        quality = found.edge + frontier.quality[order] * (found.cloud[1] - found.edge)
        shown = cost <= 0.35
        text = f"{label}: HV {hypervolume(frontier):.3f}"
        axes.plot(cost[shown], quality[shown], style, linewidth=width, label=text)

    for k, regime in enumerate(REGIMES):
        found = frozen[f"{regime} flat"]
        line(found, found.dynamic, f"regime {regime}", f"C{k}-", 1.0)
    for color, schedule in (("k", "flat"), ("C5", "surge")):
        found = mixed[schedule]
        line(found, found.fixed, f"mix, {schedule}, fixed", f"{color}--", 1.5)
        line(found, found.dynamic, f"mix, {schedule}, dynamic", f"{color}-", 2.0)
    in_play = played()
    for color, name in zip(("C6", "C8"), [n for n in LEARNED if n in in_play], strict=False):
        one = in_play[name]
        points = [one.points(seed) for seed in range(len(one.cost))]
        cost = np.mean([p.cost for p in points], 0)
        quality = np.mean([p.quality for p in points], 0)
        inside = cost <= 0.35
        text = f"{name}, shifted, played: HV {np.mean(volumes_of(in_play['fixed'], one)):.3f}"
        axes.plot(cost[inside], quality[inside], f"{color}.", markersize=5, label=text)
    so = {name: volumes_of(in_play["fixed"], in_play[name])[0] for name in ("fixed", "dynamic")}
    words = ", ".join(f"{name} {volume:.3f}" for name, volume in so.items())
    axes.plot([], [], " ", label=f"played in as many points: {words}")
    axes.set_xlabel("composite cost of a request above the edge's")
    axes.set_ylabel("quality: share of right answers")
    axes.legend(frameon=False, fontsize=7)


CLAIMS: dict[str, Claim] = {
    "C4": Claim(
        "C4",
        "[paper]",
        "Quality-cost frontiers are smooth over network states and prices.",
        "per regime and schedule: concave, second differences bounded; Markov mix under each "
        f"schedule: dynamic AIQ >= fixed AIQ + {AIQ_GAIN}",
        (),
        _c4,
    ),
}
