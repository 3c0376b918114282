"""Rows of an environment for TorchRL (the ``torchrl`` extra).

Example::

    from sixgym.torchrl import make_torchrl_env, make_torchrl_game

    env = make_torchrl_env("sixgym/RisNoma-v0", 256, seed=0)
    env.rollout(100, break_when_any_done=False)
    game = make_torchrl_game("sixgym/EventOffloadMulti-v0", 64)
    game.rollout(10)["next", "devices", "reward"]  # (64 rows, 10 steps, 6 devices, 1)
"""

from __future__ import annotations

from sixgym.envs.core.torchrl_game import SixgymTorchRLGame, make_torchrl_game
from sixgym.envs.core.torchrl_view import SixgymTorchRLEnv, make_torchrl_env

__all__ = ["SixgymTorchRLEnv", "SixgymTorchRLGame", "make_torchrl_env", "make_torchrl_game"]
