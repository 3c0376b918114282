"""Rows of an environment for Stable-Baselines3 (the ``train`` extra).

Example::

from sixgym.sb3 import make_vec_env
from stable_baselines3 import PPO

env = make_vec_env("sixgym/RisNoma-v0", 256, seed=0)
PPO("MlpPolicy", env, batch_size=4096).learn(100_000)
"""

from __future__ import annotations

from sixgym.envs.core.sb3_view import SixgymSB3VecEnv, make_vec_env

__all__ = ["SixgymSB3VecEnv", "make_vec_env"]
