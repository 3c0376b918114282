"""The claims of RIS-NOMA: C1 to C13.

Read before quoting: the defaults of the model were chosen while looking at results of a prototype,
and nobody read the body of the paper, so agreement of C1 to C3 with the paper's abstract is not
independent evidence for it. The thresholds were set on the prototype and are fixed since. Sweeps
are played by ``ao1``, one round of alternating optimisation in every slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sixgym.baselines.policy import Baseline
from sixgym.baselines.ris_noma import (
    HYBRID,
    SELECT,
    ControlPlanner,
    descending_order,
    plan_fixed_factor,
    plan_with_order,
)
from sixgym.envs.core.system import System
from sixgym.leaderboard import stats
from sixgym.leaderboard.claims import ris_noma_exact, ris_noma_learned
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome, Play, play
from sixgym.leaderboard.claims.ris_noma_learned import EE, efficiencies
from sixgym.leaderboard.claims.rules import (
    Finding,
    at_least,
    does_not_decrease,
    draw_bars,
    draw_curves,
    falls,
    listed,
    rises,
    verdict,
)
from sixgym.leaderboard.stats import Interval

RHOS = (0.2, 0.25, 0.3, 0.4, 0.6, 1.0)
"""Constant extraction factors that are tried."""


def _fixed_rho(rho: float) -> Baseline:
    def make(system: System[Any, Any]) -> ControlPlanner:
        return ControlPlanner(system, f"rho={rho}", plan_fixed_factor(rho), lambda model: 0.0)

    return Baseline(f"rho={rho}", make, "model", "ablation", "ao1 at a constant factor.", HYBRID)


def _sorted_order(system: System[Any, Any]) -> ControlPlanner:
    plan = plan_with_order(descending_order)
    return ControlPlanner(system, "order_descending", plan, lambda model: 0.0)


PLAYERS: dict[str, Baseline] = {
    **{f"rho={rho}": _fixed_rho(rho) for rho in RHOS},
    "order_descending": Baseline(
        "order_descending",
        _sorted_order,
        "model",
        "ablation",
        "ao1 with users sorted by falling gain in place of every order step.",
        HYBRID,
    ),
}
"""Policies that only claims need."""


def ao1(**params: Any) -> Play:
    """The sweeps' policy in a variant."""
    return play("ao1", HYBRID, **params)


def megabits(values: Sequence[Interval]) -> str:
    """Energy efficiencies in words."""
    return listed(values, 1)


def _select(policy: str, **params: Any) -> Play:
    return play(policy, SELECT, **params)


# -------------------------------------------------------------------------------- C1: deferral pays

WINDOWS = (1, 2, 4, 8)
ENERGIES = (1e-10, 2.5e-10, 1e-9)
"""J per cycle of the linear law that are tried; the second is the default."""

DVFS = tuple(ao1(window_slots=w) for w in WINDOWS)
LINEAR = {
    e: tuple(ao1(window_slots=w, cpu_law="linear", energy_per_cycle_j=e) for w in WINDOWS)
    for e in ENERGIES
}
FIXED = tuple(ao1(window_slots=w, tx_mode="fixed_power") for w in (1, 4))


def _c1(evidence: Evidence) -> Outcome:
    dvfs = evidence.ratio(DVFS[2], DVFS[0])
    linear = {e: evidence.ratio(plays[2], plays[0]) for e, plays in LINEAR.items()}
    fixed = evidence.ratio(FIXED[1], FIXED[0])
    findings = [
        rises(evidence, DVFS, [f"W={w} (dvfs)" for w in WINDOWS]),
        at_least("W=4 over W=1 with dvfs", dvfs, 1.6),
    ]
    for energy, plays in LINEAR.items():
        findings += [
            rises(evidence, plays, [f"W={w} (linear, {energy:g} J/cycle)" for w in WINDOWS]),
            at_least(f"W=4 over W=1 at {energy:g} J/cycle", linear[energy], 1.03),
        ]
    found, why = verdict(findings)
    told = ", ".join(f"{e:g} J/cycle {ratio}" for e, ratio in linear.items())
    curves = [("dvfs: cube of the load", WINDOWS, efficiencies(evidence, DVFS))]
    curves += [
        (f"linear, {e:g} J/cycle", WINDOWS, efficiencies(evidence, plays))
        for e, plays in LINEAR.items()
    ]
    return Outcome(
        found,
        f"W=4 over W=1: dvfs {dvfs}; linear law: {told}. "
        f"EE at W=1, 2, 4, 8 in Mbit/J: dvfs {megabits(efficiencies(evidence, DVFS))}; "
        f"linear at 2.5e-10 {megabits(efficiencies(evidence, LINEAR[2.5e-10]))}. "
        f"With fixed_power (dvfs) W=4 over W=1 {fixed}",
        why
        or "the size of the gain is our compute law's: the cube of dvfs rewards spreading a job; "
        "which law the paper uses is unknown",
        {
            "dvfs": dvfs._asdict(),
            "linear": {f"{e:g}": r._asdict() for e, r in linear.items()},
            "fixed_power": fixed._asdict(),
        },
        draw_curves(curves, "extraction window W (slots)", EE),
    )


# ------------------------------------------------------------------- C5: all blocks beat each alone

SINGLES = tuple(_select(name) for name in ("only_ext", "only_ris", "only_order"))
FACTORS = tuple(play(f"rho={rho}", HYBRID) for rho in RHOS)


def _c5(evidence: Evidence) -> Outcome:
    singles = [evidence.ratio(ao1(), one) for one in SINGLES]
    best = max(FACTORS, key=lambda one: evidence.value(one).value)
    over_best = evidence.ratio(ao1(), best)
    findings = [
        at_least(f"ao1 over {one.policy}", ratio, 1.3)
        for one, ratio in zip(SINGLES, singles, strict=True)
    ]
    findings.append(at_least(f"ao1 over constant {best.policy}", over_best, 1.0))
    found, why = verdict(findings)
    told = ", ".join(f"{o.policy} {r}" for o, r in zip(SINGLES, singles, strict=True))
    every = [ao1(), *SINGLES, *FACTORS]
    return Outcome(
        found,
        f"ao1 over {told}; over the best constant factor ({best.policy}) {over_best}",
        why,
        draw=draw_bars([o.policy for o in every], efficiencies(evidence, every), "EE (Mbit/J)"),
    )


# ------------------------------------------------------------------------------ C6: surface's size

ELEMENTS = (0, 8, 16, 32, 64, 128)
FREE = tuple(ao1(num_elements=n) for n in ELEMENTS)
PAID = tuple(ao1(num_elements=n, ris_element_power_w=1.5e-3) for n in ELEMENTS)


def _c6(evidence: Evidence) -> Outcome:
    drop = evidence.ratio(PAID[5], PAID[3])
    findings = [
        rises(evidence, FREE, [f"N={n}" for n in ELEMENTS]),
        Finding(drop.value < 1.0, f"with 1.5 mW an element EE(128)/EE(32) is {drop}"),
    ]
    found, why = verdict(findings)
    free, paid = efficiencies(evidence, FREE), efficiencies(evidence, PAID)
    curves = [("free elements", ELEMENTS, free), ("1.5 mW an element", ELEMENTS, paid)]
    return Outcome(
        found,
        f"EE at N=0, 8, 16, 32, 64, 128 in Mbit/J: free {megabits(free)}; with 1.5 mW an element "
        f"{megabits(paid)}, EE(128)/EE(32) {drop}",
        why,
        draw=draw_curves(curves, "RIS elements N", EE),
    )


# --------------------------------------------------------------------------- C7: users, load, power

USERS = (1, 2, 3, 4, 5, 6)
LOADS = (0.5, 0.75, 1.0, 1.25)
POWERS = (0.05, 0.1, 0.2, 0.5)
BY_USERS = tuple(ao1(num_users=k) for k in USERS)
BY_LOAD = tuple(ao1(min_task_bits=2e4 * f, max_task_bits=6e4 * f) for f in LOADS)
BY_POWER = tuple(ao1(max_power_w=p) for p in POWERS)


def _c7(evidence: Evidence) -> Outcome:
    found, why = verdict(
        [
            falls(evidence, BY_USERS, [f"K={k}" for k in USERS]),
            falls(evidence, BY_LOAD, [f"load x{f}" for f in LOADS]),
            does_not_decrease(evidence, BY_POWER, [f"{p} W" for p in POWERS]),
        ]
    )
    by_users, by_load, by_power = (efficiencies(evidence, s) for s in (BY_USERS, BY_LOAD, BY_POWER))
    curves = [
        ("users, over 4", [k / 4 for k in USERS], by_users),
        ("task sizes, over the default", LOADS, by_load),
        ("power cap, over 0.2 W", [p / 0.2 for p in POWERS], by_power),
    ]
    return Outcome(
        found,
        f"EE in Mbit/J at K=1..6: {megabits(by_users)}; at task sizes x0.5, 0.75, 1, 1.25: "
        f"{megabits(by_load)}; at P_max 0.05, 0.1, 0.2, 0.5 W: {megabits(by_power)}",
        why,
        draw=draw_curves(curves, "relative to the default", EE),
    )


# ---------------------------------------------------------------------- C8 and C13: decoding orders

ORDERS = (ao1(), play("order_identity", HYBRID), play("order_ascending", HYBRID))
FIXED_ORDERS = tuple(
    play(name, HYBRID, tx_mode="fixed_power")
    for name in ("ao1", "order_descending", "order_identity", "order_ascending")
)


def _c8(evidence: Evidence) -> Outcome:
    names = ["descending", "identity", "ascending"]
    found, why = verdict([falls(evidence, ORDERS, names)])
    values = efficiencies(evidence, ORDERS)
    fixed = efficiencies(evidence, FIXED_ORDERS[1:])
    return Outcome(
        found,
        f"EE of descending, identity, ascending in Mbit/J: {megabits(values)}; descending over "
        f"identity {evidence.ratio(ORDERS[0], ORDERS[1])}, identity over ascending "
        f"{evidence.ratio(ORDERS[1], ORDERS[2])}. With fixed_power: {megabits(fixed)}",
        why,
        draw=draw_bars(names, values, "EE (Mbit/J)"),
    )


def _c13(evidence: Evidence) -> Outcome:
    searched = evidence.ratio(FIXED_ORDERS[0], FIXED_ORDERS[1])
    found, why = verdict([at_least("searched over sorted order", searched, 1.0)])
    values = efficiencies(evidence, FIXED_ORDERS)
    return Outcome(
        found,
        f"searched over sorted {searched}; EE of searched, sorted, identity, ascending in Mbit/J: "
        f"{megabits(values)}",
        why,
        draw=draw_bars(["searched", "sorted", "identity", "ascending"], values, "EE (Mbit/J)"),
    )


# ---------------------------------------------------------------------------------- C10: foresight

CHOOSERS = tuple(_select(name) for name in ("greedy", "round_robin", "rollout4"))
QUEUE_CHOOSERS = tuple(
    _select(name, hold="queue") for name in ("greedy", "round_robin", "rollout4")
)


def _c10(evidence: Evidence) -> Outcome:
    names = [one.policy for one in CHOOSERS]
    found, why = verdict([rises(evidence, CHOOSERS, names)])
    held, queue = efficiencies(evidence, CHOOSERS), efficiencies(evidence, QUEUE_CHOOSERS)
    slot = [evidence.value(one, "mean_slot_ee_bit_per_j").value / 1e6 for one in CHOOSERS]
    return Outcome(
        found,
        f"EE of greedy, round_robin, rollout4 in Mbit/J: {megabits(held)}; rollout4 over "
        f"round_robin {evidence.ratio(CHOOSERS[2], CHOOSERS[1])}, round_robin over greedy "
        f"{evidence.ratio(CHOOSERS[1], CHOOSERS[0])}. Mean slot EE ranks otherwise: "
        f"{', '.join(f'{v:.1f}' for v in slot)}. With hold=queue: {megabits(queue)}",
        why,
        draw=draw_bars(names, held, "EE (Mbit/J)"),
    )


# --------------------------------------------------------------------------- C11: slower is easier

CORRELATIONS = (0.0, 0.8, 0.95, 0.99, 1.0)
FADING_AO = tuple(ao1(fading_correlation=c) for c in CORRELATIONS)
FADING_RR = tuple(_select("round_robin", fading_correlation=c) for c in CORRELATIONS)


def _c11(evidence: Evidence) -> Outcome:
    pairs = list(zip(FADING_RR, FADING_AO, strict=True))
    ratios = [evidence.ratio(rr, ao) for rr, ao in pairs]
    findings = []
    for i in range(len(pairs) - 1):
        growth = _growth(evidence, pairs[i], pairs[i + 1])
        step = f"from {CORRELATIONS[i]} to {CORRELATIONS[i + 1]} the ratio changes by {growth}"
        findings.append(Finding(growth.value > 1.0, step))
    whole = _growth(evidence, pairs[0], pairs[-1])
    findings.append(Finding(whole.low > 1.0, f"from end to end the ratio changes by {whole}"))
    found, why = verdict(findings)
    told = ", ".join(f"{c}: {r}" for c, r in zip(CORRELATIONS, ratios, strict=True))
    curve = [("round_robin / ao1", CORRELATIONS, ratios)]
    return Outcome(
        found,
        f"round_robin over ao1 at correlation {told}; last over first {whole}",
        why,
        draw=draw_curves(curve, "correlation of the channel between slots", "ratio of EE"),
    )


def _growth(evidence: Evidence, before: tuple[Play, Play], after: tuple[Play, Play]) -> Interval:
    """How the ratio round_robin / ao1 changes, over common episodes."""
    four = [evidence.sample(one) for one in (*before, *after)]
    return stats.paired(four, lambda v: (v[2] / v[3]) / (v[0] / v[1]))


# -------------------------------------------------------------------------------------------- table

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "[paper]",
        "Deferral raises EE; largely built in by the compute law.",
        "EE rises over W=1, 2, 4, 8 under both laws; W=4 over W=1 >= 1.6 (dvfs), >= 1.03 (linear)",
        (*DVFS, *(one for plays in LINEAR.values() for one in plays), *FIXED),
        _c1,
    ),
    *ris_noma_learned.CLAIMS,
    Claim(
        "C5",
        "[related: 2507.09270]",
        "Joint optimisation beats each single block.",
        "ao1 >= 1.3 x each of only_ext, only_ris, only_order; >= the best constant factor",
        (ao1(), *SINGLES, *FACTORS),
        _c5,
    ),
    Claim(
        "C6",
        "[standard]",
        "EE rises with the surface's size if elements are free, else there is an optimum.",
        "rises over N=0..128; with 1.5 mW an element EE(128) < EE(32)",
        (*FREE, *PAID),
        _c6,
    ),
    Claim(
        "C7",
        "[standard]",
        "EE falls with users and load, and does not decrease with the power cap.",
        "falls over K=1..6 and task sizes x0.5..1.25; no significant fall over P_max",
        (*BY_USERS, *BY_LOAD, *BY_POWER),
        _c7,
    ),
    Claim(
        "C8",
        "[derived]",
        "Strong users should be decoded first.",
        "EE of descending > identity > ascending order",
        (*ORDERS, *FIXED_ORDERS[1:]),
        _c8,
    ),
    ris_noma_exact.C9,
    Claim(
        "C10",
        "[derived]",
        "Foresight pays in the choice of the block (hold=rate).",
        "EE of rollout4 > round_robin > greedy",
        (*CHOOSERS, *QUEUE_CHOOSERS),
        _c10,
    ),
    Claim(
        "C11",
        "[derived]",
        "The slower the channel, the less re-optimising everything is worth.",
        "round_robin / ao1 rises over correlation 0, 0.8, 0.95, 0.99, 1",
        (*FADING_AO, *FADING_RR),
        _c11,
    ),
    ris_noma_exact.C12,
    Claim(
        "C13",
        "[derived]",
        "At fixed power the order is truly combinatorial.",
        "searched order >= sorted order in EE",
        FIXED_ORDERS,
        _c13,
    ),
)
"""In the order of the dossier."""


def retrain(policy: str, output: Path) -> Path:
    """Train a learned claim's policy afresh; see `ris_noma_learned.retrain`."""
    return ris_noma_learned.retrain(policy, output)
