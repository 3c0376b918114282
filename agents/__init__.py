"""What learns: training with Stable-Baselines3, checkpoints, and policies as data.

Everything is imported on use: ``import sixgym.agents`` loads neither torch nor Stable-Baselines3,
and a policy is loaded and played without the latter.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if __name__ != "sixgym.agents":
    raise ImportError(
        "the folder agents/ is the package sixgym.agents: "
        "import it as 'sixgym.agents' (after pip install -e .)"
    )

if TYPE_CHECKING:
    from sixgym.agents.config import TrainConfig
    from sixgym.agents.export import export_policy
    from sixgym.agents.policies import NeuralPolicy, load_policy, save_policy
    from sixgym.agents.train import RunResult, train_from_config
    from sixgym.agents.zoo_index import load

__all__ = [
    "NeuralPolicy",
    "RunResult",
    "TrainConfig",
    "export_policy",
    "load",
    "load_policy",
    "save_policy",
    "train_from_config",
]

_HOMES = {
    "NeuralPolicy": "policies",
    "RunResult": "train",
    "TrainConfig": "config",
    "export_policy": "export",
    "load": "zoo_index",
    "load_policy": "policies",
    "save_policy": "policies",
    "train_from_config": "train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
