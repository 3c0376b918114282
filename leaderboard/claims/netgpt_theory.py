"""Claims of NetGPT that its theory decides: C1, C2 and C11.

Nothing is sampled but random models, and the networks of C2 on a grid of network states.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from sixgym.baselines.netgpt.investment import SAMPLES, Investment, solve_investment
from sixgym.baselines.netgpt.law import Floats, ScoreLaw
from sixgym.baselines.netgpt.laws import DifficultyLaw, ExactLaw, NoisyLaw
from sixgym.baselines.netgpt.model import FROZEN, Model, Network
from sixgym.baselines.netgpt.threshold import check_single_crossing
from sixgym.envs.core.worlds import row_seed
from sixgym.leaderboard import stats
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome, play
from sixgym.leaderboard.claims.netgpt_policies import ID, MONOTONE, NET, above, enough_seeds
from sixgym.leaderboard.claims.rules import Draw, Finding, draw_curves, exact, told, verdict
from sixgym.leaderboard.players import find_player
from sixgym.leaderboard.protocol import VERSION
from sixgym.leaderboard.runner import make_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REGIMES = ("G", "M", "P", "X")


# ---------------------------------------------------------------------- C1: one peak, at tau*

CASES = 200
TAU_GRID = np.linspace(0.0, 1.0, 2001)
NEAR = 1e-3
"""How far from the best grid point the solver's threshold may lie."""
ROUNDING = 1e-13
"""Steps of J below this are none: where hardly a request has such a score, J is flat."""
CASE_SEED = 2511


class Peak(NamedTuple):
    """The local maxima of J on a grid of thresholds."""

    maxima: int
    distance: float
    """From the solver's threshold to the nearest of the best grid points."""


def random_case(rng: np.random.Generator) -> tuple[ScoreLaw, float]:
    """A model that meets A1 to A3, with noise in the score, without, or scored by difficulty.

    Returns:
        Its law of the score, and an extra cost of the cloud.
    """
    model = Model(
        mode="cascade" if rng.random() < 0.5 else "pre",
        schema_gate=bool(rng.random() < 0.7),
        difficulty_a=float(rng.uniform(1.5, 3.0)),
        difficulty_b=float(rng.uniform(1.5, 4.0)),
        edge_slope=float(rng.uniform(3.0, 14.0)),
        skill0=float(rng.uniform(0.3, 0.8)),
        schema_edge=float(rng.uniform(0.7, 1.0)),
        cloud_acc=float(rng.uniform(0.8, 1.0)),
        score_noise=float(rng.uniform(0.3, 2.0)),
        value=float(rng.uniform(0.5, 2.0)),
    )
    skill_rm, bias = float(rng.uniform(0.3, 0.8)), float(rng.normal(0.0, 0.3))
    kind, omega = rng.random(), float(rng.uniform(0.05, 0.6))
    if kind < 0.7:
        return NoisyLaw(model, skill_rm=skill_rm, bias=bias), omega
    if kind < 0.85:
        return ExactLaw(model, skill_rm=skill_rm, bias=bias), omega
    return DifficultyLaw(model), omega


def peak_of(values: Floats, tau: float, grid: Floats = TAU_GRID) -> Peak:
    """Local maxima of values on a grid, and how far a threshold is from the best.

    Args:
        values: (points,) of J.
        tau: the solver's threshold.
        grid: (points,) thresholds.
    """
    rise = np.diff(values)
    sign = np.sign(np.where(np.abs(rise) < ROUNDING, 0.0, rise))
    sign = sign[sign != 0.0]
    turns = sum(a > b for a, b in pairwise(sign))
    ends = int(len(sign) == 0 or sign[0] < 0.0) + int(len(sign) > 0 and sign[-1] > 0.0)
    best = grid[values >= values.max() - 1e-12]
    return Peak(turns + ends, float(np.abs(best - tau).min()))


def peaks(cases: int = CASES, seed: int = CASE_SEED) -> list[Peak]:
    """The peaks of random models."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(cases):
        law, omega = random_case(rng)
        low, high = max(law.low, 1e-6), min(law.high, 1.0 - 1e-6)
        assert check_single_crossing(law.gain, low, high), "A1 holds for all of them"
        found.append(peak_of(law.utility(TAU_GRID, omega), float(law.threshold(omega))))
    return found


def _c1(evidence: Evidence) -> Outcome:
    found = peaks()
    counts, distance = [p.maxima for p in found], max(p.distance for p in found)
    several = sum(c != 1 for c in counts)
    holds, why = verdict(
        [
            Finding(several == 0, f"{several} of {len(found)} models have not one local maximum"),
            Finding(distance <= NEAR, f"tau* is {distance:.4f} from the best grid point"),
        ]
    )
    return Outcome(
        holds,
        f"{len(found)} random models: {len(found) - several} with one local maximum; tau* at most "
        f"{distance:.5f} from the best of {len(TAU_GRID)} grid points (exact)",
        why,
        {"distance": distance, "several": several},
        _draw_peaks,
    )


def _draw_peaks(axes: Axes) -> None:
    """J over tau in the four regimes, the solver's thresholds marked."""
    model = Model()
    law, omega = NoisyLaw(model), model.extra_cost(FROZEN)
    tau, best = law.best(omega)
    for k, name in enumerate(REGIMES):
        axes.plot(
            TAU_GRID[1:], law.utility(TAU_GRID[1:], omega[k]), f"C{k}", label=f"regime {name}"
        )
        axes.plot(tau[k], best[k], f"C{k}o")
    axes.set_xlabel("threshold (dots: the solver's optimum)")
    axes.set_ylabel("expected utility J")
    axes.legend(frameon=False, fontsize=8)


# -------------------------------------------------------------------- C2: monotone in the network

BANDWIDTHS = np.array([0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0])
RTTS = np.array([0.010, 0.020, 0.050, 0.100, 0.200, 0.400])
"""The controlled grid of 6.2: Mbit/s and s."""
SHOWN = (1, 3, 5, 7)
"""Bandwidths in the figure."""
INNER = 1e-6
"""A threshold this near 0 or 1 is clipped."""
TREND = 0.95
"""Spearman's correlation of a trained network with each variable."""
SLOTS_SEEN = 64
"""Slots whose other observations the networks see."""


def wrong_steps(tau: Floats) -> int:
    """Steps of (bandwidths, rtts) thresholds that do not rise with B, or fall with R, strictly.

    Only between interior thresholds.
    """
    inner = (tau > INNER) & (tau < 1.0 - INNER)
    by_bandwidth = (np.diff(tau, axis=0) <= 0.0) & inner[1:] & inner[:-1]
    by_rtt = (np.diff(tau, axis=1) >= 0.0) & inner[:, 1:] & inner[:, :-1]
    return int(by_bandwidth.sum() + by_rtt.sum())


def optimal_thresholds(law: ScoreLaw) -> Floats:
    """(bandwidths, rtts) tau* on the controlled grid."""
    return law.threshold(law.model.extra_cost(Network(BANDWIDTHS[:, None], RTTS)))


def networks_on_grid(policy: str) -> Floats:
    """(seeds, bandwidths, rtts, slots) thresholds of trained networks on the controlled grid.

    All else that they see is of first slots of the evaluation world.
    """
    env = make_rows(ID, SLOTS_SEEN, {})
    seen, _ = env.reset(seed=[row_seed("evaluation", VERSION) + i for i in range(SLOTS_SEEN)])
    batch = np.tile(np.asarray(seen), (len(BANDWIDTHS), len(RTTS), 1, 1))
    batch[..., 0] = np.log(BANDWIDTHS / 10.0)[:, None, None] / 3.0
    batch[..., 1] = np.log(RTTS / 0.1)[:, None] / 2.0
    flat = batch.reshape(-1, batch.shape[-1])
    acts = [
        member.make(env.system).predict(flat, deterministic=True)[0]
        for member in find_player(ID, policy).members
    ]
    return np.stack([np.asarray(a, np.float64).reshape(batch.shape[:3]) for a in acts])


class Trend(NamedTuple):
    """How one network's threshold goes with the network state."""

    bandwidth: float
    """Spearman's correlation of the mean threshold with B."""
    rtt: float
    """With -R."""
    least_line: float
    """The least over single lines of the grid, in the mean over slots."""
    wrong: int
    """Steps of single slots in the wrong direction."""


def trend_of(tau: Floats) -> Trend:
    """The trend of (bandwidths, rtts, slots) thresholds."""

    def correlation(variable: Floats, values: Floats) -> float:
        return float(scipy_stats.spearmanr(variable, values).statistic)

    mean = tau.mean(2)
    lines = [correlation(BANDWIDTHS, line) for line in mean.T]
    lines += [correlation(-RTTS, line) for line in mean]
    wrong = int((np.diff(tau, axis=0) < 0.0).sum() + (np.diff(tau, axis=1) > 0.0).sum())
    return Trend(
        correlation(BANDWIDTHS, mean.mean(1)), correlation(-RTTS, mean.mean(0)), min(lines), wrong
    )


def _c2(evidence: Evidence) -> Outcome:
    laws: dict[str, ScoreLaw] = {"noisy": NoisyLaw(Model()), "calibrated": ExactLaw(Model())}
    best = {name: optimal_thresholds(law) for name, law in laws.items()}
    wrong = {name: wrong_steps(tau) for name, tau in best.items()}
    free, bound = networks_on_grid(NET.policy), networks_on_grid(MONOTONE.policy)
    trends, exactly = [trend_of(t) for t in free], [trend_of(t) for t in bound]
    least = min(min(t.bandwidth, t.rtt) for t in trends)
    broken = sum(t.wrong for t in exactly)
    holds, why = verdict(
        [
            *(Finding(n == 0, f"{name}: {n} steps of tau* go wrong") for name, n in wrong.items()),
            *(enough_seeds(evidence, one) for one in (NET, MONOTONE)),
            Finding(least >= TREND, f"{NET.policy}: Spearman {least:.3f} in one variable"),
            Finding(broken == 0, f"{MONOTONE.policy}: {broken} steps go wrong"),
        ]
    )
    return Outcome(
        holds,
        f"48 network states: {told(wrong.values(), 0)} steps of tau* go wrong (noisy, calibrated "
        f"score; exact). {NET.policy}, {len(trends)} seeds: Spearman with B "
        f"{told([t.bandwidth for t in trends])}, with -RTT {told([t.rtt for t in trends])}, least "
        f"on a single line {told([t.least_line for t in trends], 2)}. {MONOTONE.policy}: {broken} "
        f"wrong steps of {bound.size} thresholds",
        why,
        draw=_draw_thresholds(best["noisy"], free.mean((0, 3)), bound.mean((0, 3))),
    )


def _draw_thresholds(best: Floats, free: Floats, monotone: Floats) -> Draw:
    """Thresholds over RTT, one colour a bandwidth."""
    kinds = (("optimum", best, "-"), (NET.policy, free, "--"), (MONOTONE.policy, monotone, ":"))

    def draw(axes: Axes) -> None:
        for name, tau, style in kinds:
            for color, k in enumerate(SHOWN):
                label = f"{name}, {BANDWIDTHS[k]:g} Mbit/s" if name == "optimum" else None
                axes.plot(1e3 * RTTS, tau[k], f"{style}", color=f"C{color}", label=label)
            if name != "optimum":
                axes.plot([], [], style, color="#20242c", label=name)
        axes.set_xlabel("RTT (ms)")
        axes.set_ylabel("threshold")
        axes.legend(frameon=False, fontsize=8)

    return draw


# ------------------------------------------------------------------- C11: an investment premium

DISCOUNTS = (0.0, 0.9, 0.99)
PREMIUM_ROUNDING = 1e-12
SHOWN_SAMPLES = 10_000
"""Up to here in the figure: later the premium is a step of the grid of thresholds or none."""
LEARNT: dict[str, Any] = {
    "preset": "difficulty_score",
    "self_improve": True,
    "reward_mode": "expected",
    "max_episode_steps": 400,
}
FARSIGHTED, MYOPIC = (play(name, ID, **LEARNT) for name in ("exact_dp", "exact"))
NOISY = {**LEARNT, "preset": "learning"}
"""The scorer of the default, stale between refits, and jitter in the network."""
RIVALS = tuple(play(name, ID, **NOISY) for name in ("exact", "exact_stale", "exact_dp"))
TRAINED = play("ppo_learning", ID, needs_weights=True, **NOISY)
"""PPO, which sees what a router sees; not judged."""


@cache
def investment(discount: float) -> Investment:
    """The dynamic programme at the defaults."""
    model = Model()
    return solve_investment(model, model.extra_cost(FROZEN), discount)


def _c11(evidence: Evidence) -> Outcome:
    solved = {discount: investment(discount) for discount in DISCOUNTS}
    least = min(float(found.premium.min()) for found in solved.values())
    first = solved[0.99].premium[0]
    holds, why = verdict(
        [
            Finding(least >= -PREMIUM_ROUNDING, f"a premium is {least:.4f}"),
            Finding(bool((first > 0.0).all()), f"N=0, gamma=.99: premiums {told(first)}"),
        ]
    )
    gain = stats.paired_difference(evidence.sample(FARSIGHTED), evidence.sample(MYOPIC))
    good = [float(found.tau[0, 0]) for found in solved.values()]
    learned = [(one.policy, above(evidence, TRAINED, one)) for one in RIVALS]
    seeds = len(evidence.result(TRAINED).runs)
    early = SAMPLES <= SHOWN_SAMPLES
    return Outcome(
        holds,
        f"least premium of 120 N x 4 regimes at gamma {told(DISCOUNTS, 2)}: {least:.4f}; at N=0 "
        f"and .99 in G, M, P, X: {told(first)}; thresholds at N=0 in G: {told(good, 4)} (exact). "
        f"Played, score 1 - d, 400 slots, exact_dp less exact: {gain}. PPO in preset learning, "
        f"{seeds} seeds, utility less that of "
        f"{'; '.join(f'{name} {gap}' for name, gap in learned)} (not judged)",
        why,
        draw=draw_curves(
            [
                (f"regime {name}", SAMPLES[early].tolist(), exact(solved[0.99].premium[early, k]))
                for k, name in enumerate(REGIMES)
            ],
            "samples N that the edge has learnt from",
            "premium on the threshold, gamma = .99",
        ),
    )


CLAIMS: dict[str, Claim] = {
    "C1": Claim(
        "C1",
        "[paper; assumptions and formulas: derived]",
        "The optimal rule has one threshold.",
        f"{CASES} random models that meet A1 to A3: J on 2001 thresholds has exactly one local "
        f"maximum, at tau* within {NEAR}",
        (),
        _c1,
    ),
    "C2": Claim(
        "C2",
        "[paper; direction: derived]",
        "The threshold is monotone in RTT and bandwidth.",
        "controlled grid: tau* strictly falls with RTT and rises with bandwidth where interior; "
        f"trained networks: Spearman >= {TREND} in each, each seed; monotone networks exactly",
        (NET, MONOTONE),
        _c2,
    ),
    "C11": Claim(
        "C11",
        "[derived]",
        "Where the edge learns, offloading is an investment.",
        "premium on the myopic threshold >= 0 everywhere, > 0 at N=0 and gamma=.99",
        (FARSIGHTED, MYOPIC, *RIVALS, TRAINED),
        _c11,
    ),
}
