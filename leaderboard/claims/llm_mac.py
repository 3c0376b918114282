"""The claims of LLM-MAC: C1 to C12.

Read before quoting: of the paper (arXiv 2510.10895) only the abstract and the opening were read.
Its percentages are gains over baselines that we do not know; [paper] marks the statement, and every
number that is compared here is of this model, with baselines that are named.
"""

from __future__ import annotations

from pathlib import Path

from sixgym.leaderboard.claims import llm_mac_game, llm_mac_learned, llm_mac_speech
from sixgym.leaderboard.claims.framework import Claim

_BY_ID: dict[str, Claim] = {
    **llm_mac_learned.CLAIMS,
    **llm_mac_speech.CLAIMS,
    **llm_mac_game.CLAIMS,
}

CLAIMS: tuple[Claim, ...] = tuple(_BY_ID[f"C{i}"] for i in range(1, len(_BY_ID) + 1))
"""In the order of the dossier."""


def retrain(policy: str, output: Path) -> Path:
    """Train the policy of a learned claim afresh, all seeds of its configuration.

    Args:
        policy: the name of its configuration below ``llm_mac/``.
        output: folder of the runs.

    Returns:
        The folder of the run, with one sub-folder a training seed.
    """
    from sixgym.agents import train_from_config

    runs = train_from_config(f"llm_mac/{policy}", output=output)
    return Path(runs[0].folder.parent)
