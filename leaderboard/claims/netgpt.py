"""The claims of NetGPT: C1 to C11, one table for the three environments.

Read before quoting: of the paper (arXiv 2511.22217) the abstract, the opening and the README of the
authors' repository were read, and no number of it. [paper] marks a statement, [notes] one that
third parties who read the paper make of it; every number here is of this model.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sixgym.leaderboard.claims import (
    netgpt_agent,
    netgpt_frontier,
    netgpt_policies,
    netgpt_theory,
)
from sixgym.leaderboard.claims.framework import Claim

_BY_ID: dict[str, Claim] = {
    **netgpt_theory.CLAIMS,
    **netgpt_frontier.CLAIMS,
    **netgpt_policies.CLAIMS,
    **netgpt_agent.CLAIMS,
}

CLAIMS: tuple[Claim, ...] = tuple(_BY_ID[f"C{i}"] for i in range(1, len(_BY_ID) + 1))
"""In the order of the dossier."""


def retrain(policy: str, output: Path) -> Path:
    """Train the policy of a learned claim afresh, all seeds.

    Args:
        policy: a network of `sixgym.agents.netgpt`, or the name of a configuration below
            ``netgpt/``.
        output: folder of the runs.

    Returns:
        The folder of the weights, or of the run with one sub-folder a training seed.
    """
    from sixgym.agents import train_from_config
    from sixgym.agents.netgpt.policy_net import RECIPES

    if policy in RECIPES:
        folder = output / policy
        command = [sys.executable, "-m", "sixgym.agents.netgpt", policy, "--out", str(folder)]
        subprocess.run(command, check=True)
        return folder
    runs = train_from_config(f"netgpt/{policy}", output=output)
    return Path(runs[0].folder.parent)
