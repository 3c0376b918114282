"""The claims of twin mobility: C1 to C9, one table for the three environments.

Read before quoting: of the paper (arXiv 2605.14625) the abstract was read, and no number of it; of
its companion (arXiv 2604.02381) what a public reproduction tells. [paper] marks a finding of the
abstract, [notes] one told by others; every threshold and every number measured is of this model.
"""

from __future__ import annotations

from pathlib import Path

from sixgym.leaderboard.claims import (
    twin_mobility_aggregation,
    twin_mobility_exact,
    twin_mobility_fidelity,
    twin_mobility_learned,
    twin_mobility_rounds,
    twin_mobility_sweeps,
)
from sixgym.leaderboard.claims.framework import Claim

_BY_ID: dict[str, Claim] = {
    **twin_mobility_rounds.CLAIMS,
    **twin_mobility_sweeps.CLAIMS,
    **twin_mobility_fidelity.CLAIMS,
    **twin_mobility_exact.CLAIMS,
    **twin_mobility_aggregation.CLAIMS,
    **twin_mobility_learned.CLAIMS,
}

CLAIMS: tuple[Claim, ...] = tuple(_BY_ID[id] for id in sorted(_BY_ID))
"""In order; a part that is judged by itself has a letter."""


def retrain(policy: str, output: Path) -> Path:
    """Train the policy of a learned claim afresh, all seeds of its configuration.

    Args:
        policy: the name of its configuration below ``twin_mobility/``.
        output: folder of the runs.

    Returns:
        The folder of the run, with one sub-folder a training seed.
    """
    from sixgym.agents import train_from_config

    runs = train_from_config(f"twin_mobility/{policy}", output=output)
    return Path(runs[0].folder.parent)
