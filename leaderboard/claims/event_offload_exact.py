"""Claims about event offloading that tables decide: ways to detect, channel and prevalence.

Nothing is sampled: see `sixgym.leaderboard.claims.event_offload_tables`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from sixgym.envs.event_offload.lookup import LookupTable
from sixgym.envs.event_offload.scores import TraceName, named_pool
from sixgym.envs.event_offload.tables import OperatingPoints
from sixgym.leaderboard.claims.event_offload_tables import (
    BUDGET_J,
    BUDGETS_J,
    DEFAULT,
    SHARES,
    SNRS_DB,
    Floats,
    Setting,
    design,
    families,
    table_of,
    within_budget,
    within_share,
)
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome
from sixgym.leaderboard.claims.rules import Curve, Draw, Finding, draw_curves, exact, told, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SNR_LABEL = "received SNR (dB)"
ACCURACY = "rare-event accuracy f_acc"
SHARE_LABEL = "limit on the share of offloaded events"
ROUND_OFF = 1e-9
"""Differences below this are none."""

RARE, LESS_RARE = DEFAULT, Setting(prevalence=0.2)
"""Nine and four head events for a tail event."""
OTHERS = (
    LESS_RARE,
    Setting(rule="mid"),
    Setting("breast_cancer"),
)


class Sweep:
    """Best f_acc of the three ways over budgets and SNRs, (budgets, SNRs) each.

    Args:
        setting: traces, last rule, prevalence.
    """

    def __init__(self, setting: Setting) -> None:
        found = families(setting)
        self.dual, self.single, self.last = (_over_budgets(points) for points in found)

    @property
    def gain(self) -> Floats:
        """(budgets, SNRs) dual over coupled thresholds."""
        return self.dual - self.single


def _over_budgets(points: OperatingPoints) -> Floats:
    return np.stack([within_budget(points, budget, SNRS_DB) for budget in BUDGETS_J])


@cache
def sweep(setting: Setting) -> Sweep:
    """The sweep of a setting, once."""
    return Sweep(setting)


def _curves(xs: Floats, families_of: dict[str, Floats]) -> list[Curve]:
    return [(label, xs.tolist(), exact(ys.tolist())) for label, ys in families_of.items()]


def _draw_shares(families_of: dict[str, Floats]) -> Draw:
    """Curves over the limit, up to a half: beyond it little happens."""
    shown = SHARES <= 0.5
    cut = {label: ys[shown] for label, ys in families_of.items()}
    return draw_curves(_curves(SHARES[shown], cut), SHARE_LABEL, ACCURACY)


# --------------------------------------------------------------------------- C1: at equal energy


def _c1(evidence: Evidence) -> Outcome:
    findings, parts = [], []
    for setting in (DEFAULT, *OTHERS):
        found = sweep(setting)
        single, last = float(found.gain.min()), float((found.dual - found.last).min())
        findings += [
            Finding(single >= -ROUND_OFF, f"{setting}: dual minus coupled is {single:.4f}"),
            Finding(last >= -0.01, f"{setting}: dual minus terminal is {last:.4f}"),
        ]
        parts.append(f"{setting}: {single:.4f}, {last:.4f}")
    holds, why = verdict(findings)
    default = sweep(DEFAULT)

    def draw(axes: Axes) -> None:
        ways = {"dual": default.dual, "coupled": default.single, "terminal": default.last}
        for color, (name, values) in enumerate(ways.items()):
            for place, style in ((1, "-"), (4, "--")):
                label = f"{name}, {1e3 * BUDGETS_J[place]:g} mJ"
                axes.plot(SNRS_DB, values[place], f"{style}o", color=f"C{color}", label=label, ms=4)
        axes.set_xlabel(SNR_LABEL)
        axes.set_ylabel(ACCURACY)
        axes.legend(frameon=False, fontsize=8)

    return Outcome(
        holds,
        "smallest f_acc of dual minus coupled and minus terminal over 11 SNRs and 5 budgets: "
        f"{'; '.join(parts)} (exact counts of the full traces)",
        why,
        draw=draw,
    )


# ---------------------------------------------------------------- C2, C3: at equal communication


def _c2(evidence: Evidence) -> Outcome:
    findings, parts = [], []
    for setting in (DEFAULT, *OTHERS):
        dual, single, _ = shares_of(setting)
        gap = dual - single
        findings.append(Finding(bool(gap.min() >= -ROUND_OFF), f"{setting}: {gap.min():.4f}"))
        parts.append(f"{setting}: {gap.min():.3f} to {gap.max():.3f}")
    holds, why = verdict(findings)
    dual, single, _ = shares_of(DEFAULT)
    return Outcome(
        holds,
        f"dual minus coupled over limits of 0 to 1 in steps of .005: {'; '.join(parts)} (exact)",
        why or "true by inclusion: the coupled pairs are among the dual ones",
        draw=_draw_shares({"dual": dual, "coupled": single}),
    )


def shares_of(setting: Setting) -> tuple[Floats, Floats, Floats]:
    """(limits,) best f_acc of dual, coupled and terminal thresholds."""
    dual, single, last = (within_share(points, SHARES) for points in families(setting))
    return dual, single, last


@cache
def free_last_threshold() -> Floats:
    """(limits,) best f_acc of a pair and a last threshold of its own, in steps of .025."""
    best = np.zeros(len(SHARES))
    for theta in np.arange(41) / 40.0:
        points = table_of(DEFAULT.scores, float(theta)).at(DEFAULT.prevalence)
        best = np.maximum(best, within_share(points, SHARES))
    return best


def _c3(evidence: Evidence) -> Outcome:
    findings, parts = [], []
    for setting in (DEFAULT, *OTHERS):
        dual, _, last = shares_of(setting)
        gap = dual - last
        worst = int(gap.argmin())
        where = f"{setting}: {gap[worst]:.3f} at p={SHARES[worst]:.3f}"
        findings.append(Finding(bool(gap[worst] >= -ROUND_OFF), where))
        parts.append(where)
    dual, _, last = shares_of(DEFAULT)
    free = free_last_threshold()
    at = np.searchsorted(SHARES, (0.05, 0.1, 0.2, 0.3))
    holds, why = verdict(findings)
    if why:
        why = (
            "a common pair must also decide at the last exit, where one threshold is best; with a "
            f"last threshold of its own the worst gap is {(free - last).min():.4f} (steps of .025; "
            "none by inclusion on a full grid). Under an energy limit dual thresholds win (C1)"
        )
    return Outcome(
        holds,
        f"worst dual minus terminal: {'; '.join(parts)}. {DEFAULT} at p=.05, .1, .2, .3: dual "
        f"{told(dual[at])}; with a free last threshold {told(free[at])}; terminal {told(last[at])} "
        "(exact)",
        why,
        draw=_draw_shares({"dual": dual, "dual, free last": free, "terminal": last}),
    )


# ------------------------------------------------------------------------------ C4, C11: over SNR

FINE_DB = np.linspace(-10.0, 30.0, 81)


def _c4(evidence: Evidence) -> Outcome:
    points = families(DEFAULT).dual
    fine, coarse = (within_budget(points, BUDGET_J, x) for x in (FINE_DB, SNRS_DB))
    steps = np.diff(coarse)
    limit = named_pool(DEFAULT.scores).accuracy["tail"]
    saturated = coarse[1:] >= limit - ROUND_OFF
    drop = float(np.diff(fine).min())
    holds, why = verdict(
        [
            Finding(drop >= -ROUND_OFF, f"falls by {-drop:.4f} in a step of 0.5 dB"),
            Finding(bool(((steps > 0.0) | saturated).all()), "constant over 2.5 dB"),
        ]
    )
    return Outcome(
        holds,
        f"f* at 5 mJ and -5 to 20 dB: {told(coarse)}; smallest step of 0.5 dB from -10 to 30 dB "
        f"{drop:.4f}; the server's limit is {limit:.3f} (exact)",
        why,
        draw=draw_curves(_curves(FINE_DB, {"dual": fine}), SNR_LABEL, ACCURACY),
    )


def _c11(evidence: Evidence) -> Outcome:
    table = LookupTable.build(families(DEFAULT).dual, design().params, SNRS_DB)
    trends = [float(stats.spearmanr(SNRS_DB, x).statistic) for x in (table.low, table.high)]
    holds, why = verdict(
        [
            Finding(trend <= -0.9, f"Spearman of beta_{name} is {trend:.3f}")
            for name, trend in zip("lu", trends, strict=True)
        ]
    )
    low, high = table.low.tolist(), table.high.tolist()
    return Outcome(
        holds,
        f"Spearman {told(trends)}; at 5 mJ and -5 to 20 dB beta_l {told(low)}; beta_u "
        f"{told(high)} (exact)",
        why or "a trend, not step by step: where the optimum is flat the pair may move back",
        draw=draw_curves(
            _curves(SNRS_DB, {"lower": np.array(low), "upper": np.array(high)}),
            SNR_LABEL,
            "threshold",
        ),
    )


# ------------------------------------------------------- C5, C6: where dual thresholds gain most


def _c5(evidence: Evidence) -> Outcome:
    gain = sweep(DEFAULT).gain[1]
    single = sweep(DEFAULT).single[1]
    steps = np.diff(gain)
    falls = ", ".join(f"{SNRS_DB[i]:g}" for i in np.flatnonzero(steps < -ROUND_OFF))
    holds, why = verdict(
        [
            Finding(bool((steps >= -ROUND_OFF).all()), f"falls after {falls} dB"),
            Finding(bool(gain[-1] > gain[0]), "smaller at 20 dB than at -5 dB"),
        ]
    )
    if why:
        first = SNRS_DB[int((single > 0.0).argmax())]
        why += (
            f". Coupled thresholds are infeasible (f_acc 0) below {first:g} dB at this budget: up "
            "to there the gap is the whole f_acc, then nearly nothing, and grows from there"
        )
    budgets = {f"{1e3 * b:g} mJ": g for b, g in zip(BUDGETS_J, sweep(DEFAULT).gain, strict=True)}
    return Outcome(
        holds,
        f"dual minus coupled at 5 mJ and -5 to 20 dB: {told(gain)} (exact)",
        why,
        draw=draw_curves(_curves(SNRS_DB, budgets), SNR_LABEL, "gain in f_acc"),
    )


def _c6(evidence: Evidence) -> Outcome:
    rare, less = sweep(RARE).gain, sweep(LESS_RARE).gain
    shares = [float((d - s).mean()) for d, s, _ in (shares_of(RARE), shares_of(LESS_RARE))]
    holds, why = verdict(
        [
            Finding(
                float(rare.mean()) > float(less.mean()),
                f"the mean gain is {rare.mean():.3f} at pi=.1 and {less.mean():.3f} at pi=.2",
            )
        ]
    )
    if why:
        why += (
            ". Where coupled thresholds become feasible at all decides it: rarer events need "
            "fewer offloads, so they do so at a lower SNR"
        )
    by_budget = [
        f"{1e3 * b:g} mJ {r:.3f}, {o:.3f}"
        for b, r, o in zip(BUDGETS_J, rare.mean(1), less.mean(1), strict=True)
    ]
    curves = {f"pi=0.1, {1e3 * BUDGETS_J[i]:g} mJ": rare[i] for i in (1, 4)}
    curves |= {f"pi=0.2, {1e3 * BUDGETS_J[i]:g} mJ": less[i] for i in (1, 4)}
    return Outcome(
        holds,
        f"dual minus coupled at pi=.1, .2, mean over SNRs: {'; '.join(by_budget)}; over all "
        f"{rare.mean():.3f}, {less.mean():.3f}; larger at pi=.1 in {(rare > less).sum()} of "
        f"{rare.size} settings; without an energy limit, mean over p: {told(shares)} (exact)",
        why,
        draw=draw_curves(_curves(SNRS_DB, curves), SNR_LABEL, "gain in f_acc"),
    )


# ------------------------------------------------------------------------- C7: bits that are saved

NEARLY = 0.95
NEEDED: dict[TraceName, tuple[float, float, float]] = {
    "digits38": (0.203, 0.325, 0.185),
    "breast_cancer": (0.125, 0.168, 0.109),
}
"""Share of offloads of dual mid, dual head, terminal, as the dossier measured on its own traces."""
WAYS = ("dual mid", "dual head", "terminal")
TOLERANCE = 0.03


def needed_shares(scores: TraceName) -> Floats:
    """(3,) share of offloads for 95 % of always-offload's f_acc: dual mid, dual head, terminal."""
    goal = NEARLY * named_pool(scores).accuracy["tail"]
    head = families(Setting(scores))
    ways = families(Setting(scores, "mid")).dual, head.dual, head.last
    return np.array([points.p_off[points.f_acc >= goal].min() for points in ways])


def _c7(evidence: Evidence) -> Outcome:
    findings, parts = [], []
    for scores, expected in NEEDED.items():
        found = needed_shares(scores)
        for way, ours, theirs in zip(WAYS, found, expected, strict=True):
            findings.append(
                Finding(
                    abs(ours - theirs) <= TOLERANCE, f"{scores} {way}: {ours:.3f}, not {theirs}"
                )
            )
        parts.append(f"{scores} {told(found)}")
    holds, why = verdict(findings)
    ways = {
        "dual, mid": shares_of(Setting(rule="mid"))[0],
        "dual, head": shares_of(DEFAULT)[0],
        "terminal": shares_of(DEFAULT)[2],
        "95 % of always offloading": np.full(
            len(SHARES), NEARLY * named_pool(DEFAULT.scores).accuracy["tail"]
        ),
    }
    return Outcome(
        holds,
        f"share of the bits, dual mid, dual head, terminal: {'; '.join(parts)} (exact)",
        why or "without an energy limit terminal detection needs the fewest bits",
        draw=_draw_shares(ways),
    )


CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for claim in (
        Claim(
            "C1",
            "[notes]",
            "At equal energy dual thresholds beat coupled ones and terminal detection.",
            "dual >= coupled (exactly) and >= terminal - .01 at -5..20 dB and 4 to 10 mJ",
            (),
            _c1,
        ),
        Claim(
            "C2",
            "[notes]",
            "At equal communication dual thresholds beat coupled ones.",
            "dual >= coupled for every limit p on the share of offloads",
            (),
            _c2,
        ),
        Claim(
            "C3",
            "[notes]",
            "At equal communication dual thresholds beat terminal detection.",
            "dual >= terminal for every limit p on the share of offloads",
            (),
            _c3,
        ),
        Claim(
            "C4",
            "[derived]",
            "The best accuracy rises with the SNR until it saturates.",
            "never falls over -10..30 dB; rises over each 2.5 dB of -5..20 dB until the server's "
            "limit",
            (),
            _c4,
        ),
        Claim(
            "C5",
            "[notes]",
            "The gain of dual over coupled thresholds grows with the SNR.",
            "dual minus coupled does not fall over -5..20 dB at 5 mJ, and is larger at the end",
            (),
            _c5,
        ),
        Claim(
            "C6",
            "[notes]",
            "Dual thresholds gain more where tails are rarer (9:1 against 4:1).",
            "mean of dual minus coupled over SNRs and budgets larger at pi=.1 than at .2",
            (),
            _c6,
        ),
        Claim(
            "C7",
            "[our measurement]",
            "A fraction of the bits buys nearly the accuracy of offloading everything.",
            "share of offloads for 95 % of always_offload's f_acc: digits .203, .325, .185, breast "
            "cancer .125, .168, .109 (dual mid, dual head, terminal), each within .03",
            (),
            _c7,
        ),
        Claim(
            "C11",
            "[our measurement]",
            "Both thresholds fall as the SNR rises.",
            "Spearman <= -.9 for both over -5..20 dB at 5 mJ",
            (),
            _c11,
        ),
    )
}
"""By id."""
