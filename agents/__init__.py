"""What learns: training with Stable-Baselines3, checkpoints, and the weights that ship."""

from __future__ import annotations

if __name__ != "sixgym.agents":
    raise ImportError(
        "the folder agents/ is the package sixgym.agents: import it as 'sixgym.agents' (after pip install -e .)"
    )
