"""A policy that ONNX Runtime computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sixgym.envs.core.errors import PolicyError

ARRAYS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
"""Types of inputs."""


class OnnxPolicy:
    """An ONNX graph from ``observation`` (and ``action_mask``) to ``action``.

    Rows come first in all of them. A Dict observation comes as ``observation.KEY`` for each key
    that the graph takes. For a Box the action is the action itself, which is clipped to its bounds;
    for a Discrete one either the index of the choice, or a number for each choice, of which the
    largest is taken among the allowed ones; for other spaces, whole numbers.

    Args:
        data: the file, checked by `sixgym.leaderboard.submissions.onnx_file`.
        action_space: of one row.
        name: what tables and error messages call it.

    Raises:
        PolicyError: ONNX Runtime does not take the file.
    """

    def __init__(self, data: bytes, action_space: gym.Space[Any], *, name: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        self.name = name
        self._space = action_space
        try:
            self._session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base
            raise PolicyError(f"{name}: ONNX Runtime: {_one_line(error)}") from None
        self._inputs = {found.name: found.type for found in self._session.get_inputs()}

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
        action_masks: Any = None,
    ) -> tuple[NDArray[Any], Any]:
        """Actions of a batch; see `sixgym.envs.core.rollout.Policy`."""
        given = {name: self._given(name, observation, action_masks) for name in self._inputs}
        try:
            (found,) = self._session.run(["action"], given)
        except Exception as error:
            raise PolicyError(f"{self.name}: ONNX Runtime: {_one_line(error)}") from None
        return self._action(np.asarray(found), action_masks), None

    def _given(self, name: str, observation: Any, masks: Any) -> NDArray[Any]:
        """What one input of the graph is given."""
        kind, _, key = name.partition(".")
        value = masks if kind == "action_mask" else observation
        if key:
            if not isinstance(observation, Mapping) or key not in observation:
                raise PolicyError(f"{self.name}: takes {name!r}, which is not observed")
            value = observation[key]
        if value is None or isinstance(value, Mapping) or self._inputs[name] not in ARRAYS:
            raise PolicyError(f"{self.name}: takes {name!r} as {self._inputs[name]}: there is none")
        return np.asarray(value, dtype=ARRAYS[self._inputs[name]])

    def _action(self, found: NDArray[Any], masks: Any) -> NDArray[Any]:
        space = self._space
        if isinstance(space, spaces.Box):
            return np.asarray(np.clip(found, space.low, space.high), dtype=space.dtype)
        if isinstance(space, spaces.Discrete) and found.ndim == 2 and found.shape[1] == space.n:
            if not np.isfinite(found).all():
                raise PolicyError(f"{self.name}: a number of a choice is not finite")
            if masks is not None:
                found = np.where(np.asarray(masks, dtype=bool), found, -np.inf)
            return np.asarray(found.argmax(axis=1) + space.start)
        if found.dtype.kind not in "iub":
            raise PolicyError(f"{self.name}: gives {found.dtype}; allowed: whole numbers")
        return found


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
