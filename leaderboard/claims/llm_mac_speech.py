"""Claims of LLM-MAC about what is said: C7 to C9."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Sequence
from importlib import resources

import numpy as np

from sixgym.agents.llm.mac import GrammarAdapter
from sixgym.agents.llm.text_policy import GarbageLLM, MockLLM, TextPolicy
from sixgym.baselines.llm_mac.theory import best_aloha
from sixgym.envs.core.rollout import rollout
from sixgym.envs.core.worlds import row_seed
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome, play
from sixgym.leaderboard.claims.llm_mac_learned import ID, MIN_SEEDS, by_seed, enough_seeds
from sixgym.leaderboard.claims.rules import (
    Finding,
    at_least,
    draw_bars,
    draw_curves,
    exact,
    verdict,
)
from sixgym.leaderboard.protocol import VERSION
from sixgym.leaderboard.runner import make_rows
from sixgym.leaderboard.stats import Interval

# ------------------------------------------------------------ C7: the grammar makes speech reliable

LEVELS = (0, 1, 2, 3)
TALKS = 8
"""Episodes of a language model that is played for its grammar."""


def violations(model: TextPolicy, level: int) -> tuple[int, int, float]:
    """Utterances that are none of the language, all utterances, and slots played per episode."""
    env = make_rows(ID, TALKS, {"pag_level": level})
    player = GrammarAdapter(env.system, model)
    seeds = row_seed("evaluation", VERSION) + np.arange(TALKS)
    episodes = rollout(env, player, seeds, deterministic=True)
    tally = player.tally
    return tally.violations, tally.utterances, float(episodes.length.mean())


def _c7(evidence: Evidence) -> Outcome:
    # A model that picks any text of the language which it is constrained to, and one that is not
    # constrained and says anything.
    held = [violations(MockLLM(), level) for level in LEVELS]
    free = violations(GarbageLLM(), 1)
    findings = [
        Finding(v == 0, f"level {level}: {v} of {n} utterances are none")
        for level, (v, n, _) in zip(LEVELS, held, strict=True)
    ]
    findings.append(Finding(free[0] > 0, "garbage without a constraint made no violation"))
    findings.append(Finding(free[2] == 24.0, f"with garbage episodes end after {free[2]} slots"))
    holds, why = verdict(findings)
    shares = [1000.0 * v / n for v, n, _ in (*held, free)]
    return Outcome(
        holds,
        f"constrained, levels 0 to 3: {', '.join(str(v) for v, _, _ in held)} violations of "
        f"{', '.join(str(n) for _, n, _ in held)} utterances; garbage: {free[0]} of {free[1]}, all "
        f"{free[2]:.0f} slots played",
        why,
        draw=draw_bars(
            [*(f"constrained, level {k}" for k in LEVELS), "garbage, unconstrained"],
            exact(shares),
            "violations in 1,000 utterances",
        ),
    )


# ------------------------------------------------------------- C8: the grammar makes learning quick

MARK = 0.8
CURVES = "token_n3_curves.csv"
ASKED = (2, 0, -1)
"""Levels of the grammar from the narrowest to none."""


def curves() -> dict[tuple[int, int], list[tuple[int, float]]]:
    """Slots and goodput of the stored trainings by level and seed."""
    found: dict[tuple[int, int], list[tuple[int, float]]] = {}
    file = resources.files("sixgym.agents").joinpath("zoo", "llm_mac", CURVES)
    if not file.is_file():
        return found
    for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines()):
        point = (int(row["slots"]), float(row["goodput"]))
        found.setdefault((int(row["level"]), int(row["seed"])), []).append(point)
    return found


def slots_to(mark: float, curve: Sequence[tuple[int, float]]) -> float:
    """Slots after which a training first reached a goodput; infinite if it never did."""
    return next((float(slots) for slots, value in sorted(curve) if value >= mark), math.inf)


def _c8(evidence: Evidence) -> Outcome:
    found = curves()
    seeds = {level: sorted(s for at, s in found if at == level) for level in ASKED}
    lacking = [level for level in ASKED if len(seeds[level]) < MIN_SEEDS]
    if lacking:
        return Outcome("not measured", "-", f"stored curves of levels {lacking}: under 5 seeds")
    taken = {k: [slots_to(MARK, found[k, s]) for s in seeds[k]] for k in ASKED}
    median = {level: statistics.median(taken[level]) for level in ASKED}
    holds, why = verdict(
        [
            Finding(
                median[a] < median[b],
                f"level {_named(a)}: {_slots(median[a])} slots, {_named(b)}: {_slots(median[b])}",
            )
            for a, b in ((2, 0), (0, -1))
        ]
    )
    budget = max(slots for curve in found.values() for slots, _ in curve)
    told = "; ".join(
        f"level {_named(k)} {_slots(median[k])} ({', '.join(_slots(v) for v in taken[k])})"
        for k in ASKED
    )
    return Outcome(
        holds,
        f"token policy, 3 users, kappa = 1 rho, slots to goodput {MARK}, median (seeds): {told}; "
        f"budget {budget:,} slots",
        why or "without kappa no token policy passed 0.41; settings were chosen on level 2",
        draw=draw_curves(
            [
                (f"level {_named(k)}", *_median_curve([found[k, s] for s in seeds[k]]))
                for k in ASKED
            ],
            "slots",
            "goodput, median of seeds and their range",
        ),
    )


def _named(level: int) -> str:
    return "none" if level < 0 else str(level)


def _slots(value: float) -> str:
    return "not reached" if math.isinf(value) else f"{value:,.0f}"


def _median_curve(
    runs: Sequence[Sequence[tuple[int, float]]],
) -> tuple[list[float], list[Interval]]:
    """Median and range over runs where all of them were evaluated."""
    tables = [dict(run) for run in runs]
    common = sorted(set.intersection(*(set(table) for table in tables)))
    values = [[table[x] for table in tables] for x in common]
    return [float(x) for x in common], [
        Interval(statistics.median(v), min(v), max(v)) for v in values
    ]


# ------------------------------------------------------------------ C9: messages carry the protocol

ALONE = play("acknowledged", ID, needs_weights=True, preset="acknowledged")
GRANTED = play("granted", ID, needs_weights=True, preset="granted")
USERS, TBLER = 3, 1e-3
SERVED = 0.95


def _c9(evidence: Evidence) -> Outcome:
    bound = best_aloha(USERS, TBLER)
    alone, granted = evidence.value(ALONE), evidence.value(GRANTED)
    half = (alone.high - alone.low) / 2.0
    holds, why = verdict(
        [
            enough_seeds(evidence, ALONE),
            enough_seeds(evidence, GRANTED),
            Finding(alone.value <= bound + half, f"without grants {alone}, above {bound:.4f}"),
            at_least("goodput with grants", granted, SERVED),
        ]
    )
    shown = [", ".join(f"{v:.3f}" for v in by_seed(evidence, one, "goodput")) for one in _C9]
    return Outcome(
        holds,
        f"3 saturated users by one network of (q, m): acknowledged only {alone} (seeds "
        f"{shown[0]}), best ALOHA {bound:.4f}; granted in turns {granted} (seeds {shown[1]})",
        why,
        draw=draw_bars(
            ["acknowledged only", "granted in turns"],
            [alone, granted],
            "goodput, packets a slot",
            line=bound,
        ),
    )


_C9 = (ALONE, GRANTED)

CLAIMS: dict[str, Claim] = {
    "C7": Claim(
        "C7",
        "[paper: the grammar's reliability]",
        "Constrained speech never leaves the language, and what does leave it does no harm.",
        "no violation at levels 0 to 3 with constrained decoding; some with garbage, and the "
        "episodes go on to their end",
        (),
        _c7,
    ),
    "C8": Claim(
        "C8",
        "[paper: the grammar's efficiency]",
        "A narrower language is learned sooner.",
        f"3 users, slots to goodput {MARK}, median of 5 seeds: level 2 below level 0 below none",
        (),
        _c8,
    ),
    "C9": Claim(
        "C9",
        "[our question]",
        "Communication matters: users that nobody can tell apart need to be told who sends.",
        f"3 saturated users: without grants at most the best ALOHA's {best_aloha(3, TBLER):.4f} "
        f"and half an interval; with them at least {SERVED}",
        _C9,
        _c9,
    ),
}
