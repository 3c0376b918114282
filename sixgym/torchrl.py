"""Rows of an environment for TorchRL (the ``torchrl`` extra).

Example::

    from sixgym.torchrl import make_torchrl_env

    env = make_torchrl_env("sixgym/RisNoma-v0", 256, seed=0)
    env.rollout(100, break_when_any_done=False)
"""

from __future__ import annotations

from sixgym.envs.core.torchrl_view import SixgymTorchRLEnv, make_torchrl_env

__all__ = ["SixgymTorchRLEnv", "make_torchrl_env"]
