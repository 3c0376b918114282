"""Claims of RIS-NOMA about learned policies; they stand on the weights that ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sixgym.baselines.ris_noma import HYBRID, SELECT
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome, Play, play
from sixgym.leaderboard.claims.rules import (
    Finding,
    at_least,
    draw_bars,
    series,
    verdict,
)
from sixgym.leaderboard.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEGA = 1e6
"""Bit/J in a Mbit/J."""
EE = "energy efficiency (Mbit/J)"

LEARNED = play("ppo", SELECT, needs_weights=True)
"""``select_drl`` of the dossier: PPO chooses the block."""
FULL = play("drl_full_ppo", HYBRID, needs_weights=True)
"""``drl_full`` of the dossier: PPO sets all controls itself and sees the channel."""
ROUND_ROBIN, RANDOM = play("round_robin", SELECT), play("random", SELECT)
ALL, ALL_ONCE = play("ao", SELECT), play("ao1", SELECT)

BATCH = 64
"""Rows for which the prototype's times per slot were taken, and so the threshold of C3."""
MIN_SEEDS = 3
"""Training seeds that a learned claim needs at least."""


def efficiencies(evidence: Evidence, plays: Sequence[Play]) -> list[Interval]:
    """Energy efficiencies of a sweep in Mbit/J."""
    return series(evidence, plays, MEGA)


def _seeds(evidence: Evidence) -> list[int]:
    runs = evidence.result(LEARNED).runs
    return [run.training_seed for run in runs if run.training_seed is not None]


def _enough_seeds(evidence: Evidence) -> Finding:
    seeds = _seeds(evidence)
    return Finding(len(seeds) >= MIN_SEEDS, f"only {len(seeds)} training seeds")


def _c2(evidence: Evidence) -> Outcome:
    over_turns = evidence.ratio(LEARNED, ROUND_ROBIN)
    over_random = evidence.ratio(LEARNED, RANDOM)
    found, why = verdict(
        [
            _enough_seeds(evidence),
            at_least("select_drl over round_robin", over_turns, 1.04),
            at_least("select_drl over random", over_random, 1.2),
        ]
    )
    every = [LEARNED, ROUND_ROBIN, RANDOM]
    return Outcome(
        found,
        f"over round_robin {over_turns}, over random {over_random}; "
        f"{len(_seeds(evidence))} training seeds, resampled too",
        why,
        draw=draw_bars([one.policy for one in every], efficiencies(evidence, every), "EE (Mbit/J)"),
    )


def _c3(evidence: Evidence) -> Outcome:
    told, bars, labels, findings = [], [], [], []
    references = (ALL, ALL_ONCE)
    batched = evidence.paces(LEARNED, references, BATCH)
    alone = evidence.paces(LEARNED, references, 1)
    for reference, pace, single in zip(references, batched, alone, strict=True):
        name = reference.policy
        ops, theirs = (evidence.value(one, "solver_ops_per_slot") for one in (LEARNED, reference))
        work = ops.value / theirs.value
        score = evidence.ratio(LEARNED, reference)
        told.append(
            f"against {name}: ops {work:.2f}, time {pace} (one row alone {single}), EE {score}"
        )
        labels += [f"ops / {name}", f"time / {name}", f"EE / {name}"]
        bars += [Interval(work, work, work), pace, score]
        if reference == ALL:
            findings = [
                Finding(work <= 0.6, f"solver ops are {work:.2f} of ao's, not <= 0.6"),
                Finding(pace.value <= 0.6, f"time per slot is {pace} of ao's, not <= 0.6"),
                at_least("EE over ao's", score, 0.8),
            ]
    found, why = verdict(findings)
    return Outcome(
        found,
        "; ".join(told) + ". Judged against ao (two rounds), the reference, and by the processor "
        f"time of {BATCH} rows as on the prototype (fastest of some rounds, range of all); in a "
        "batch every block is solved in every slot, because rows choose differently",
        why,
        draw=draw_bars(labels, bars, "ratio", line=0.6),
    )


def _c4(evidence: Evidence) -> Outcome:
    steps = {
        one.policy: {run.training_steps for run in evidence.result(one).runs}
        for one in (LEARNED, FULL)
    }
    ratio = evidence.ratio(LEARNED, FULL)
    equal = len(steps[LEARNED.policy] | steps[FULL.policy]) == 1
    found, why = verdict(
        [
            Finding(equal, f"trained for different steps: {steps}"),
            at_least("select_drl over drl_full", ratio, 1.2),
        ]
    )

    def draw(axes: Axes) -> None:
        for one, color in ((LEARNED, "C0"), (FULL, "C1")):
            for place, run in enumerate(evidence.result(one).runs):
                steps_done = [step for step, _ in run.curve]
                scores = [score / MEGA for _, score in run.curve]
                label = one.policy if place == 0 else None
                axes.plot(steps_done, scores, color=color, marker=".", label=label)
        axes.set_xlabel("environment steps")
        axes.set_ylabel("EE on the validation episodes (Mbit/J)")
        axes.legend(frameon=False)

    return Outcome(
        found,
        f"select_drl over drl_full {ratio} after {sorted(steps[LEARNED.policy], key=str)} steps",
        why,
        draw=draw,
    )


def retrain(policy: str, output: Path) -> Path:
    """Train the policy of a learned claim afresh, all seeds of its configuration.

    Args:
        policy: the name of its configuration below ``ris_noma/``.
        output: folder of the runs.

    Returns:
        The folder of the run, with one sub-folder a training seed.
    """
    from sixgym.agents import train_from_config

    runs = train_from_config(f"ris_noma/{policy}", output=output)
    return Path(runs[0].folder.parent)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C2",
        "[paper]",
        "Learning which block to optimise beats fixed and random schedules.",
        "select_drl >= 1.04 x round_robin and >= 1.2 x random in EE, at least 3 training seeds",
        (LEARNED, ROUND_ROBIN, RANDOM),
        _c2,
    ),
    Claim(
        "C3",
        "[paper]",
        "The learned choice cuts running time.",
        "solver ops and time per slot <= 0.6 x ao's, with EE >= 0.8 x ao's",
        (LEARNED, ALL, ALL_ONCE),
        _c3,
    ),
    Claim(
        "C4",
        "[paper]",
        "It learns better than learning all controls at once.",
        "at equal environment steps select_drl >= 1.2 x drl_full in EE",
        (LEARNED, FULL),
        _c4,
    ),
)
