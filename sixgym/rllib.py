"""Environments for RLlib's new API stack (``ray[rllib]``, in an environment of its own).

Example::

    import sixgym.rllib
    from ray.rllib.algorithms.ppo import PPOConfig

    sixgym.rllib.register()
    config = PPOConfig().environment("sixgym/RisNoma-v0", env_config={"num_users": 4})
    config.env_runners(num_envs_per_env_runner=64, gym_env_vectorize_mode="vector_entry_point")
    config.build_algo().train()
"""

from __future__ import annotations

from ray.tune.registry import register_env

from sixgym.envs.core.registry import entries, entry
from sixgym.envs.core.rllib_view import (
    SixgymMultiAgentEnv,
    SixgymRLlibEnv,
    SixgymRLlibVectorEnv,
    creator,
    joint_creator,
)

__all__ = [
    "JOINT",
    "SixgymMultiAgentEnv",
    "SixgymRLlibEnv",
    "SixgymRLlibVectorEnv",
    "creator",
    "joint_creator",
    "register",
]

JOINT = "joint:"
"""Before a game's id, for the game as one controller's: ``joint:sixgym/LlmMac-v0``."""


def register(*ids: str) -> list[str]:
    """Put ids into RLlib's registry of environments, under their own names; can be repeated.

    A game stands there twice: its id has agents by name, ``joint:`` and its id one controller.

    Args:
        *ids: of systems; none is all of them, installed packages included.

    Returns:
        The names that were registered.

    Raises:
        UnknownIdError: no such system.
    """
    makers = {}
    for found in [entry(id) for id in ids] or entries():
        makers[found.id] = creator(found.id)
        if found.is_game:
            makers[JOINT + found.id] = joint_creator(found.id)
    for name, make in makers.items():
        register_env(name, make)
    return list(makers)
