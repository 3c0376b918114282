"""sixgym: reinforcement-learning environments for control problems of 6G networks.

``import sixgym`` registers every environment with Gymnasium (and the games with PettingZoo) and
imports neither torch nor a learning library; what needs them is loaded when it is first touched::

    import gymnasium as gym
    import sixgym

    env = gym.make("sixgym/RisNoma-v0")
    batch = gym.make_vec("sixgym/RisNoma-v0", num_envs=1024)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

try:
    importlib.import_module("sixgym.envs")
except ModuleNotFoundError as error:
    if error.name != "sixgym.envs":
        raise
    raise ImportError(
        "sixgym.envs is missing: only the front-door folder is on the path; "
        "run pip install -e . in the checkout"
    ) from None

importlib.import_module("sixgym.registration").register_envs()

if TYPE_CHECKING:
    from sixgym.envs.core.errors import SixgymError
    from sixgym.envs.core.params import Params, param
    from sixgym.envs.core.registry import entries, register
    from sixgym.envs.core.rollout import rollout
    from sixgym.envs.core.system import Metric, Score, Step, System

__all__ = [
    "Metric",
    "Params",
    "Score",
    "SixgymError",
    "Step",
    "System",
    "__version__",
    "entries",
    "param",
    "register",
    "rollout",
]

_HOMES = {
    "Metric": "system",
    "Params": "params",
    "Score": "system",
    "SixgymError": "errors",
    "Step": "system",
    "System": "system",
    "entries": "registry",
    "param": "params",
    "register": "registry",
    "rollout": "rollout",
}
"""The module of ``sixgym.envs.core`` where each public name lives."""


def __getattr__(name: str) -> Any:
    """Load a public name on first touch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sixgym' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sixgym.envs.core.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
