"""Claims of NetGPT about routers at play: C3 and C5 without learning, C6, C7 and C10 with it.

All in preset ``exact`` (deterministic sizes, Markov regimes without jitter), where the dossier's
numbers are exact. First and last slots of an episode are read from records of every slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from sixgym.baselines.netgpt.design import Design
from sixgym.baselines.netgpt.fits import (
    SHARES,
    best_frugal,
    best_share,
    fit_affine,
    frugal_threshold,
    share_threshold,
)
from sixgym.baselines.netgpt.law import Floats
from sixgym.envs.core.errors import UnknownIdError
from sixgym.envs.core.rollout import rollout
from sixgym.envs.core.worlds import row_seed
from sixgym.envs.netgpt.params import NetGptThresholdParams
from sixgym.leaderboard import stats
from sixgym.leaderboard.claims import netgpt_agent
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome, Play, play
from sixgym.leaderboard.claims.rules import (
    Curve,
    Finding,
    draw_bars,
    draw_curves,
    exact,
    listed,
    series,
    told,
    verdict,
)
from sixgym.leaderboard.players import find_player
from sixgym.leaderboard.protocol import VERSION
from sixgym.leaderboard.runner import make_rows
from sixgym.leaderboard.stats import Interval, Sample

ID = "sixgym/NetGptThreshold-v0"
PRESET = "exact"
MIN_SEEDS = 5


def still(policy: str, *, learned: bool = False) -> Play:
    """A policy where the edge does not learn."""
    return play(policy, ID, needs_weights=learned, preset=PRESET)


def enough_seeds(evidence: Evidence, one: Play, least: int = MIN_SEEDS) -> Finding:
    """As many training seeds as a learned claim needs."""
    seeds = len(evidence.result(one).runs)
    return Finding(seeds >= least, f"{one.policy}: only {seeds} training seeds")


def above(evidence: Evidence, one: Play, other: Play) -> Interval:
    """Utility of one less that of another, paired."""
    return stats.paired_difference(evidence.sample(one), evidence.sample(other))


# ------------------------------------------------------------------- C3: dynamic beats fixed

GAIN, GAIN_TOLERANCE, CLOSE = 0.0072, 0.002, 0.003
EXACT, FIXED = still("exact"), still("best_fixed")
FUNCTION, OTHER_FUNCTION = still("func_dyn"), still("func_dyn_l")
NET = still("policy_net", learned=True)
MONOTONE = still("policy_net_monotone", learned=True)
PPO = still("ppo", learned=True)
DYNAMIC = (EXACT, FUNCTION, OTHER_FUNCTION, NET, MONOTONE, PPO)


def _c3(evidence: Evidence) -> Outcome:
    over = {one.policy: above(evidence, one, FIXED) for one in DYNAMIC}
    short = {one.policy: above(evidence, EXACT, one) for one in DYNAMIC[1:]}
    judged = (FUNCTION, NET)
    gain = over[EXACT.policy]
    holds, why = verdict(
        [
            Finding(abs(gain.value - GAIN) <= GAIN_TOLERANCE, f"exact over best_fixed is {gain}"),
            enough_seeds(evidence, NET),
            *(
                Finding(
                    short[one.policy].value <= CLOSE, f"{one.policy}: {short[one.policy]} short"
                )
                for one in judged
            ),
            *(
                Finding(
                    over[one.policy].low > 0.0,
                    f"{one.policy} less best_fixed is {over[one.policy]}",
                )
                for one in (EXACT, *judged)
            ),
        ]
    )
    values = series(evidence, [FIXED, *DYNAMIC])
    return Outcome(
        holds,
        f"utility of best_fixed, {', '.join(over)}: {listed(values, 4)}; less best_fixed: "
        f"{'; '.join(map(str, over.values()))}; short of exact: "
        f"{'; '.join(f'{name} {gap}' for name, gap in short.items())}",
        why,
        draw=draw_bars(
            list(over),
            list(over.values()),
            "utility of a request above the best fixed threshold's",
            line=GAIN,
        ),
    )


# ----------------------------------------------------------------- C5: static routers of others

ROUTE_LLM, FRUGAL_GPT, HYBRID_LLM = (
    still(f"{name}") for name in ("route_llm", "frugal_gpt", "hybrid_llm")
)
MULTIPLIERS = np.geomspace(0.01, 4.0, 40)
"""Of latency and price in the eyes of FuncDyn: its knob."""


class Points(NamedTuple):
    """Policies in expectation, (points,) each."""

    cost: Floats
    """Total: C + omega_0, so that modes compare."""
    quality: Floats


def designed(**params: Any) -> Design:
    """The design at mean sizes and without jitter, where the theory is exact."""
    return Design(NetGptThresholdParams.create(PRESET, **params))


def points_of(design: Design, tau: Floats) -> Points:
    """Total cost and quality of thresholds, (points, states) or (points, 1)."""
    rates = design.law.rates(np.broadcast_to(tau, (len(tau), len(design.omega))))
    cost = (rates.offload * design.omega) @ design.mix.chance
    return Points(cost + design.model.floor_cost, rates.quality @ design.mix.chance)


@cache
def function_points() -> Points:
    """FuncDyn-A, fitted to optima at multiples of the cost, in ascending order of its own cost."""
    true = designed()
    tau = []
    for mult in MULTIPLIERS:
        p = true.params
        seen = designed(w_latency=float(mult) * p.w_latency, w_price=float(mult) * p.w_price)
        tau.append(fit_affine(seen).thresholds(true.mix.network))
    found = points_of(true, np.stack(tau))
    order = np.argsort(found.cost)
    return Points(found.cost[order], found.quality[order])


def matched_gain(points: Points, other: Points) -> Floats:
    """Quality of a family less that of other policies at their total cost; NaN out of its range."""
    own = np.interp(other.cost, points.cost, points.quality, left=np.nan, right=np.nan)
    return own - other.quality


def rival_points() -> dict[str, Points]:
    """The other routers over all nine shares and budgets."""
    pre, cascade = designed(mode="pre"), designed()
    shares = [share_threshold(pre, float(s)) for s in SHARES]
    budgets = [frugal_threshold(cascade, float(s) * cascade.mean_price) for s in SHARES]
    return {
        "RouteLLM-like": points_of(pre, np.array(shares)[:, None]),
        "FrugalGPT-like": points_of(cascade, np.array(budgets)[:, None]),
    }


def best_rivals() -> dict[str, tuple[float, Points]]:
    """Utility of the best of each, and where it is."""
    pre, cascade = designed(mode="pre"), designed()
    best = {
        "RouteLLM-like": (pre, best_share(pre)),
        "FrugalGPT-like": (cascade, best_frugal(cascade)),
    }
    return {
        name: (float(d.mean_utility(tau)), points_of(d, np.array([[tau]])))
        for name, (d, tau) in best.items()
    }


def _c5(evidence: Evidence) -> Outcome:
    ours, rivals, best = function_points(), rival_points(), best_rivals()
    played = {
        one.policy: above(evidence, FUNCTION, one) for one in (ROUTE_LLM, FRUGAL_GPT, HYBRID_LLM)
    }
    matched = {name: float(matched_gain(ours, points)[0]) for name, (_, points) in best.items()}
    holds, why = verdict(
        [
            *(
                Finding(played[one.policy].low > 0.0, f"over {one.policy}: {played[one.policy]}")
                for one in (ROUTE_LLM, FRUGAL_GPT)
            ),
            *(
                Finding(gain > 0.0, f"at the cost of {name}: quality {gain:+.4f}")
                for name, gain in matched.items()
            ),
        ]
    )
    everywhere = {name: matched_gain(ours, points) for name, points in rivals.items()}
    curves: list[Curve] = [
        (name, points.cost.tolist(), exact(points.quality))
        for name, points in {"FuncDyn": ours, **rivals}.items()
    ]
    return Outcome(
        holds,
        f"utility of func_dyn less route_llm, frugal_gpt, hybrid_llm: "
        f"{'; '.join(map(str, played.values()))}. Exact utility of the best RouteLLM-, "
        f"FrugalGPT-like: {told([u for u, _ in best.values()], 4)}; FuncDyn's quality less theirs "
        f"at their total cost {told(matched.values(), 4)}; over all nine shares, budgets: "
        + "; ".join(told(gain) for gain in everywhere.values()),
        why or "nan: beyond the range of costs of FuncDyn",
        draw=draw_curves(curves, "total cost of a request, C + omega_0", "quality"),
    )


# ------------------------------------------------------------- the learning edge, slot by slot

SLOTS, EPISODES = 400, 128
RECORD = ("requests", "utility", "offload", "quality", "schema_ok", "routing_right", "edge_valid")
FIRST, LAST, FINAL = slice(0, 25), slice(-25, None), slice(-100, None)
BLOCK = 25
"""Slots of a point in the figures: an update's period."""


class Learning(NamedTuple):
    """Episodes with every slot kept."""

    records: Mapping[str, Floats]
    """(training seeds, episodes, slots) by metric."""

    def over(self, metric: str, slots: slice) -> Sample:
        """A metric per request in some slots."""
        top, bottom = (self.records[name][:, :, slots].sum(2) for name in (metric, "requests"))
        return stats.sample(top, bottom)

    def mean(self, metric: str, slots: slice) -> Interval:
        """The same with its interval."""
        return stats.ratio_interval(self.over(metric, slots))

    def change(self, metric: str) -> Interval:
        """From the first to the last slots."""
        return stats.paired_difference(self.over(metric, LAST), self.over(metric, FIRST))

    def blocks(self, metric: str) -> list[Interval]:
        """The course of a metric over an episode."""
        slots = self.records[metric].shape[2]
        return [self.mean(metric, slice(s, s + BLOCK)) for s in range(0, slots, BLOCK)]


@cache
def learning(
    policy: str,
    params: tuple[tuple[str, Any], ...] = (),
    episodes: int = EPISODES,
    slots: int = SLOTS,
) -> Learning:
    """Play a policy where the edge improves itself.

    Args:
        policy: its name; trained ones play with all their seeds.
        params: what differs from preset ``exact`` with self-improvement.
        episodes: row seeds, the first of the evaluation world.
        slots: of an episode.

    Raises:
        UnknownIdError: no such policy.
    """
    kwargs = {"preset": PRESET, "self_improve": True, "max_episode_steps": slots, **dict(params)}
    env = make_rows(ID, episodes, kwargs)
    seeds = row_seed("evaluation", VERSION) + np.arange(episodes)
    runs = [
        rollout(
            env,
            member.make(env.system),
            seeds,
            deterministic=member.deterministic,
            record=RECORD,
        ).records
        for member in find_player(ID, policy).members
    ]
    return Learning({name: np.stack([run[name] for run in runs]) for name in RECORD})


def difference(one: Learning, other: Learning, metric: str, slots: slice = FINAL) -> Interval:
    """A metric per request of one less that of another in some slots, paired."""
    return stats.paired_difference(one.over(metric, slots), other.over(metric, slots))


def _courses(runs: Mapping[str, Learning], metrics: Mapping[str, str]) -> list[Curve]:
    """The course of metrics, by run and metric."""
    found: list[Curve] = []
    for name, run in runs.items():
        for metric, word in metrics.items():
            values = run.blocks(metric)
            middle = [BLOCK * (k + 0.5) for k in range(len(values))]
            found.append((f"{word}, {name}" if name else word, middle, values))
    return found


# -------------------------------------------------------- C6: offloading falls, quality holds

FALL, QUALITY_SLACK, VALID = 0.05, 0.005, 0.98
ROUTERS = ("exact_stale", "func_dyn")
"""Routers that do not know how far the edge has come."""
SHOWN = ("best_fixed", "ppo_learning")
"""Reported beside them, where there are weights."""


def falling(name: str, run: Learning) -> list[Finding]:
    """Whether a router's offloading falls while quality and validity hold."""
    offload, quality = run.change("offload"), run.change("quality")
    valid = run.mean("schema_ok", LAST)
    return [
        Finding(offload.value <= -FALL, f"{name}: offload changes by {offload}"),
        Finding(quality.value >= -QUALITY_SLACK, f"{name}: quality changes by {quality}"),
        Finding(valid.value >= VALID, f"{name}: {valid} of the last answers are valid"),
    ]


def _known(names: Sequence[str]) -> dict[str, Learning]:
    """The runs of those policies that there are."""
    found = {}
    for name in names:
        try:
            found[name] = learning(name)
        except UnknownIdError:
            continue
    return found


def _c6(evidence: Evidence) -> Outcome:
    runs = _known((*ROUTERS, *SHOWN))
    holds, why = verdict([f for name in ROUTERS for f in falling(name, runs[name])])
    parts = [
        f"{name}: offload {_told(run, 'offload')}, quality {_told(run, 'quality')}, valid answers "
        f"{_told(run, 'schema_ok')}, valid drafts {_told(run, 'edge_valid')}"
        for name, run in runs.items()
    ]
    metrics = {"offload": "offloaded", "quality": "right", "schema_ok": "valid"}
    loop = netgpt_agent.loop_course()
    real = "" if loop is None else ". " + netgpt_agent.loop_words(loop)
    return Outcome(
        holds,
        f"first and last 25 of {SLOTS} slots, {EPISODES} episodes. {'; '.join(parts)}{real}",
        why,
        draw=draw_curves(
            _courses({"": runs[ROUTERS[0]]}, metrics), "slot", f"share of requests, {ROUTERS[0]}"
        ),
    )


def _told(run: Learning, metric: str) -> str:
    """First, last and change."""
    first, last = (run.mean(metric, slots).value for slots in (FIRST, LAST))
    change = run.change(metric)
    return f"{first:.3f} to {last:.3f} ([{change.low:+.3f}, {change.high:+.3f}])"


# --------------------------------------------------------- C7, C10: refreshing the scorer

ROUTER = "exact_stale"
NEVER = (("refresh_every", 0),)
VALIDITY_FIXED = (("schema_edge_max", 0.96),)
"""Drafts do not get more often valid, as in the dossier's reference trajectory."""
STAYS, STAYS_WITHIN = 0.353, 0.01
"""Offload of a router that is never refreshed. [the tolerance is our choice]"""


def refreshing(fresh: Learning, stale: Learning) -> list[Finding]:
    """Whether the refreshed router is better at the end and the other one stays where it was."""
    accuracy = difference(fresh, stale, "routing_right")
    utility = difference(fresh, stale, "utility")
    offload = stale.mean("offload", FINAL)
    return [
        Finding(accuracy.low > 0.0, f"routing accuracy changes by {accuracy}"),
        Finding(utility.low > 0.0, f"utility changes by {utility}"),
        Finding(
            abs(offload.value - STAYS) <= STAYS_WITHIN,
            f"M=0: offload does not stay at {STAYS}, it is {offload}",
        ),
    ]


def _c7(evidence: Evidence) -> Outcome:
    fresh, stale = learning(ROUTER), learning(ROUTER, NEVER)
    held = learning(ROUTER, (*NEVER, *VALIDITY_FIXED))
    holds, why = verdict(refreshing(fresh, stale))
    if why:
        why += (
            "; in the environment drafts get more often valid by the updates, so fewer are sent by "
            f"the gate; with their validity held at .96 it is {held.mean('offload', FINAL)}"
        )
    accuracy, utility, offload = (
        f"{fresh.mean(m, FINAL).value:.4f} and {stale.mean(m, FINAL).value:.4f} "
        f"(difference {difference(fresh, stale, m)})"
        for m in ("routing_right", "utility", "offload")
    )
    runs = {"M=2": fresh, "M=0": stale, "M=0, validity fixed": held}
    return Outcome(
        holds,
        f"last 100 of {SLOTS} slots, {ROUTER}, M=2 and M=0: routing accuracy {accuracy}, utility "
        f"{utility}, offload {offload}",
        why,
        draw=draw_curves(
            _courses(runs, {"offload": "offloaded"}), "slot", "share of requests offloaded"
        ),
    )


CELLS: dict[str, tuple[tuple[str, Any], ...]] = {
    "learns, refreshed": (),
    "learns, not refreshed": NEVER,
    "does not learn, refreshed": (("self_improve", False),),
    "neither": (("self_improve", False), *NEVER),
}


def best_together(cells: Mapping[str, Learning]) -> tuple[list[Finding], list[Interval]]:
    """Whether the first cell has the best final utility; and its differences to the others."""
    first, *others = cells
    gains = [difference(cells[first], cells[name], "utility") for name in others]
    findings = [
        Finding(gain.low > 0.0, f"{first} less {name}: {gain}")
        for name, gain in zip(others, gains, strict=True)
    ]
    return findings, gains


def _c10(evidence: Evidence) -> Outcome:
    cells = {name: learning(ROUTER, params) for name, params in CELLS.items()}
    findings, gains = best_together(cells)
    holds, why = verdict(findings)
    values = [run.mean("utility", FINAL) for run in cells.values()]
    return Outcome(
        holds,
        f"utility in the last 100 of {SLOTS} slots, {ROUTER}: {', '.join(cells)}: "
        f"{listed(values, 4)}; the first less the others: {'; '.join(map(str, gains))}",
        why or "without learning there is nothing to refit: the last two cells are one",
        draw=draw_bars(
            list(cells),
            [difference(run, cells["neither"], "utility") for run in cells.values()],
            "utility of a request above that of neither, last 100 slots",
        ),
    )


CLAIMS: dict[str, Claim] = {
    "C3": Claim(
        "C3",
        "[paper; numbers: derived]",
        "A threshold that follows the network beats a fixed one.",
        f"exact less best_fixed {GAIN} within {GAIN_TOLERANCE}; func_dyn and policy_net within "
        f"{CLOSE} of exact; all above best_fixed, intervals above 0",
        (FIXED, *DYNAMIC),
        _c3,
    ),
    "C5": Claim(
        "C5",
        "[notes; numbers: derived]",
        "And it beats static routers like RouteLLM's and FrugalGPT's.",
        "utility of func_dyn above the best RouteLLM-like (exact .675) and FrugalGPT-like (.684), "
        "intervals above 0; higher quality at their total cost",
        (FUNCTION, ROUTE_LLM, FRUGAL_GPT, HYBRID_LLM),
        _c5,
    ),
    "C6": Claim(
        "C6",
        "[paper]",
        "Offloading falls while success and schema-correctness hold.",
        f"offload of the last 25 slots <= the first 25's - {FALL}, quality not lower "
        f"(-{QUALITY_SLACK}), valid answers >= {VALID}; exact_stale and func_dyn",
        (),
        _c6,
    ),
    "C7": Claim(
        "C7",
        "[notes]",
        "Refreshing the scorer improves routing accuracy.",
        "last 100 slots, M=2 less M=0: routing accuracy and utility, intervals above 0; M=0's "
        f"offload stays at {STAYS} (within {STAYS_WITHIN})",
        (),
        _c7,
    ),
    "C10": Claim(
        "C10",
        '[paper: "coherently"; the test: our question]',
        "Router and edge updated together beat either alone.",
        "{learning on, off} x {refresh on, off}: on, on has the best final utility, intervals "
        "above 0",
        (),
        _c10,
    ),
}
