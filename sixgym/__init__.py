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
from typing import Any

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

_LAZY = {
    "System": "sixgym.envs.core.system",
    "Metric": "sixgym.envs.core.system",
    "Score": "sixgym.envs.core.system",
    "Step": "sixgym.envs.core.system",
    "Params": "sixgym.envs.core.params",
    "param": "sixgym.envs.core.params",
    "register": "sixgym.envs.core.registry",
    "entries": "sixgym.envs.core.registry",
    "rollout": "sixgym.envs.core.rollout",
    "SixgymError": "sixgym.envs.core.errors",
}
"""Where each public name lives; loaded on first touch (PEP 562)."""

__all__ = [*_LAZY, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    """Load a public name on first touch."""
    if name not in _LAZY:
        raise AttributeError(f"module 'sixgym' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
