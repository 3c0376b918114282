"""The claim of event offloading about learned policies; it stands on the weights that ship."""

from __future__ import annotations

from pathlib import Path

from sixgym.baselines.event_offload.single import ID
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome, Play, play
from sixgym.leaderboard.claims.rules import (
    Finding,
    at_least,
    draw_bars,
    listed,
    series,
    verdict,
)

BURSTY = "bursty_battery"
LEARNED = play("ppo", ID, needs_weights=True)
"""PPO where every slot has its budget: a contextual bandit whose optimum is the table."""
SEQUENTIAL = play("ppo_bursty", ID, needs_weights=True, preset=BURSTY)
"""PPO where labels come in bursts and a battery lasts an episode."""
LOOKUP, LOOKUP_BURSTY = play("lookup", ID), play("lookup", ID, preset=BURSTY)
OTHERS = tuple(play(name, ID, preset=BURSTY) for name in ("battery_dp", "belief_price"))

MIN_SEEDS = 3
"""Training seeds that a learned claim needs at least."""


def _enough_seeds(evidence: Evidence, one: Play) -> Finding:
    seeds = [run.training_seed for run in evidence.result(one).runs]
    return Finding(len(seeds) >= MIN_SEEDS, f"{one.policy}: only {len(seeds)} training seeds")


def _c12(evidence: Evidence) -> Outcome:
    bandit = evidence.ratio(LEARNED, LOOKUP)
    gain = evidence.ratio(SEQUENTIAL, LOOKUP_BURSTY)
    learned, table = evidence.value(SEQUENTIAL), evidence.value(LOOKUP_BURSTY)
    found, why = verdict(
        [
            _enough_seeds(evidence, LEARNED),
            _enough_seeds(evidence, SEQUENTIAL),
            at_least("ppo over lookup", bandit, 0.97),
            Finding(
                gain.low > 1.0 and learned.low > table.high,
                f"bursty_battery: learned {learned}, lookup {table}",
            ),
        ]
    )
    every = [LEARNED, LOOKUP, SEQUENTIAL, LOOKUP_BURSTY, *OTHERS]
    values = series(evidence, every)
    return Outcome(
        found,
        f"slot: ppo over lookup {bandit}; f_acc of ppo, lookup {listed(values[:2], 3)}. "
        f"bursty_battery: learned over lookup {gain}; f_acc of the learned policy, lookup, "
        f"battery_dp, belief_price {listed(values[2:], 3)}. Test split",
        why,
        draw=draw_bars(
            [f"{one.policy}{', bursty_battery' if one.params else ''}" for one in every],
            values,
            "rare-event accuracy f_acc, test split",
        ),
    )


def retrain(policy: str, output: Path) -> Path:
    """Train the policy of a learned claim afresh, all seeds of its configuration.

    Args:
        policy: the name of its configuration below ``event_offload/``.
        output: folder of the runs.

    Returns:
        The folder of the run, with one sub-folder a training seed.
    """
    from sixgym.agents import train_from_config

    runs = train_from_config(f"event_offload/{policy}", output=output)
    return Path(runs[0].folder.parent)


C12 = Claim(
    "C12",
    "[our question]",
    "A learned policy matches the table where it is optimal and beats it where slots are coupled.",
    "slot budgets: PPO >= .97 of lookup; bursty labels with a battery: above lookup, intervals "
    "apart; at least 3 training seeds each",
    (LEARNED, LOOKUP, SEQUENTIAL, LOOKUP_BURSTY, *OTHERS),
    _c12,
)
