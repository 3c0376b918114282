"""Actions in, observations out: validated tensors of a Gymnasium space, and NumPy views of them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from sixgym.envs.core.errors import ActionError, ActionTypeError, OptionsError
from sixgym.envs.core.system import Action, Observation

_SLACK = 1e-5
"""How far a float action may overshoot its bounds by rounding; it is then clipped to them."""
MOST_CHOICES = 256
"""Discrete actions of a single environment up to so many are tensors made beforehand."""


class ActionReader:
    """Turns what a policy hands in into validated tensors.

    Args:
        space: the action space of one row: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of
            these.
        dtype: of float actions.
        device: of the result.
        name: of the field in error messages.

    Raises:
        TypeError: the space is of another kind.
    """

    def __init__(
        self,
        space: gym.Space[Any],
        *,
        dtype: torch.dtype,
        device: torch.device,
        name: str = "action",
    ) -> None:
        self.name = name
        self.dtype = dtype
        self.device = device
        self._parts: dict[str, ActionReader] | None = None
        if isinstance(space, spaces.Dict):
            self._parts = {
                k: ActionReader(s, dtype=dtype, device=device, name=f"{name}.{k}")
                for k, s in space.items()
            }
            return
        self.low, self.high, self.shape = _bounds(space)
        self.is_float = isinstance(space, spaces.Box) and space.dtype is not None
        self.is_float = self.is_float and np.issubdtype(np.dtype(space.dtype), np.floating)
        self._is_binary = isinstance(space, spaces.MultiBinary)
        self._wanted = (
            (dtype if dtype == torch.float64 else torch.float32) if self.is_float else torch.int64
        )
        self._own_kind = torch.zeros(0, dtype=self._wanted).numpy().dtype
        self._is_elsewhere = device.type != "cpu" or (self.is_float and dtype != self._wanted)
        self._least = self.low.astype(self._own_kind)
        self._most = self.high.astype(self._own_kind)
        self._choices: tuple[Tensor, ...] = ()
        if isinstance(space, spaces.Discrete) and space.n <= MOST_CHOICES:
            choices = range(int(self.low), int(self.high) + 1)
            self._choices = tuple(torch.tensor([i], device=device) for i in choices)

    def read(self, value: Any, rows: int | None) -> Action:
        """Validate and convert the actions of a batch.

        Args:
            value: an array, a tensor, or a dictionary of them, (rows, *shape).
            rows: how many rows; None for a single environment's action without a row axis.

        Returns:
            Tensors (rows, *shape): floats in the system's dtype within their bounds, integers as
            int64 counted from the space's own start.

        Raises:
            ActionTypeError: not an array of numbers, or a scalar where rows are wanted.
            ActionError: wrong shape, not finite, or outside the space.
        """
        if self._parts is not None:
            return self._read_parts(value, rows)
        if rows is None and self._choices and type(value) in (int, np.int64):
            place = int(value) - int(self.low)
            if 0 <= place < len(self._choices):
                return self._choices[place]
        if isinstance(value, Tensor):
            return self._read_tensor(value, rows)
        array = as_array(self.name, value)
        self._check_shape(array.shape, rows)
        if self._is_binary and array.dtype.kind == "f" and np.isin(array, (0.0, 1.0)).all():
            array = array.astype(np.int8)  # as SB3 draws them; they are in Gymnasium's space, too
        self._check_kind(array.dtype.kind)
        # A copy: a state may keep an action, and callers reuse their buffers.
        if array.dtype == self._own_kind:
            own = array.copy()
        else:
            own = torch.tensor(array, dtype=self._wanted).numpy()
        # NaN differs, too, and so may a zero's sign; comparing bytes is the fastest for few.
        if np.fmin(np.fmax(own, self._least), self._most).tobytes() != own.tobytes():
            tensor = torch.tensor(self._snap(array), dtype=self._wanted)
        else:
            tensor = torch.from_numpy(own)
        if self._is_elsewhere:
            tensor = tensor.to(self.device, self.dtype if self.is_float else torch.int64)
        return tensor.unsqueeze(0) if rows is None else tensor

    def _read_parts(self, value: Any, rows: int | None) -> dict[str, Tensor]:
        parts = self._parts or {}
        if not isinstance(value, dict):
            raise ActionTypeError(f"{self.name}: allowed: a dictionary with {', '.join(parts)}")
        if value.keys() != parts.keys():
            odd = ", ".join(sorted(map(str, value.keys() ^ parts.keys())))
            allowed = ", ".join(parts)
            raise ActionError(f"{self.name}: missing or unknown: {odd}; allowed: {allowed}")
        read: dict[str, Tensor] = {}
        for key, reader in parts.items():
            tensor = reader.read(value[key], rows)
            assert isinstance(tensor, Tensor)
            read[key] = tensor
        return read

    def _read_tensor(self, value: Tensor, rows: int | None) -> Tensor:
        """As `read`, for a tensor.

        On an accelerator the range is enforced by clipping, because a check would wait for it.
        """
        if value.layout is not torch.strided or value.device.type == "meta":
            raise ActionTypeError(
                f"{self.name}: tensor of layout {value.layout} on {value.device}; "
                "allowed: a dense tensor that holds numbers"
            )
        if value.device.type == "cpu":
            tensor = self.read(as_array(self.name, value), rows)
            assert isinstance(tensor, Tensor)
            return tensor
        self._check_shape(tuple(value.shape), rows)
        self._check_kind("f" if value.is_floating_point() else "i")
        low = torch.as_tensor(self.low, device=value.device)
        high = torch.as_tensor(self.high, device=value.device)
        tensor = torch.minimum(torch.maximum(value.detach(), low), high)
        tensor = tensor.to(self.device, self.dtype if self.is_float else torch.int64)
        return tensor[None] if rows is None else tensor

    def _check_shape(self, shape: tuple[int, ...], rows: int | None) -> None:
        wanted = self.shape if rows is None else (rows, *self.shape)
        if shape == wanted:
            return
        if shape == () and rows is not None:
            raise ActionTypeError(f"{self.name}: a scalar; allowed: an array of shape {wanted}")
        raise ActionError(f"{self.name}: shape {shape}; allowed: {wanted}")

    def _check_kind(self, kind: str) -> None:
        allowed = "fiu" if self.is_float else "iub"
        if kind not in allowed:
            words = "numbers" if self.is_float else "integers"
            raise ActionTypeError(f"{self.name}: not {words} (array kind {kind!r})")

    def _snap(self, array: NDArray[Any]) -> NDArray[Any]:
        """Clip what overshoots by rounding only; refuse everything else, naming the first."""
        if self.is_float:
            slack = _SLACK * np.maximum(1.0, np.abs(self.high))
            fine = (array >= self.low - slack) & (array <= self.high + slack)
        else:
            fine = (array >= self.low) & (array <= self.high)
        if fine.all():
            return np.asarray(np.clip(array, self.low, self.high))
        where = tuple(int(i) for i in np.argwhere(~fine)[0])
        bad = array[where]
        low = np.broadcast_to(self.low, array.shape)[where]
        high = np.broadcast_to(self.high, array.shape)[where]
        place = f"[{', '.join(map(str, where))}]" if where else ""
        raise ActionError(f"{self.name}{place}={bad.item()!r}: allowed: {low} to {high}")


def as_array(name: str, value: Any) -> NDArray[Any]:
    """An action as an array, whatever it is; what it is made of may raise anything.

    Args:
        name: of the field, for the message.
        value: an array, a tensor, or what NumPy makes one of.

    Raises:
        ActionTypeError: there is no array of it.
    """
    try:
        if isinstance(value, Tensor):
            is_short = value.dtype is torch.bfloat16  # NumPy has none
            value = (value.float() if is_short else value).detach().cpu()
        return np.asarray(value)
    except Exception as error:
        reason = str(error)[:200]
        raise ActionTypeError(
            f"{name}: {type(value).__name__} that is no array of numbers: {reason}"
        ) from None


def _bounds(space: gym.Space[Any]) -> tuple[NDArray[Any], NDArray[Any], tuple[int, ...]]:
    """Lowest and highest values, and the shape, of a plain space."""
    if isinstance(space, spaces.Box):
        return space.low, space.high, space.shape
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return np.asarray(start), np.asarray(start + int(space.n) - 1), ()
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1, space.shape
    if isinstance(space, spaces.MultiBinary):
        zeros = np.zeros(space.shape, dtype=np.int64)
        return zeros, zeros + 1, space.shape
    raise TypeError(f"{type(space).__name__} is not supported as an action space")


def all_allowed(space: gym.Space[Any]) -> NDArray[np.bool_]:
    """The mask of a system without masks: one flag for every choice of every part, all true.

    Raises:
        OptionsError: the space is not discrete.
    """
    if isinstance(space, spaces.Discrete):
        return np.ones(int(space.n), dtype=np.bool_)
    if isinstance(space, spaces.MultiDiscrete):
        return np.ones(int(space.nvec.sum()), dtype=np.bool_)
    if isinstance(space, spaces.MultiBinary):
        return np.ones(2 * int(np.prod(space.shape)), dtype=np.bool_)
    raise OptionsError(f"action_masks: {type(space).__name__}; allowed only for discrete actions")


def to_numpy(observation: Observation) -> Any:
    """NumPy views (no copy on the CPU) of a tensor or a dictionary of tensors."""
    if isinstance(observation, dict):
        return {k: v.cpu().numpy() for k, v in observation.items()}
    return observation.cpu().numpy()


def row_of(observation: Any, row: int) -> Any:
    """One row of an array or of a dictionary of arrays."""
    if isinstance(observation, dict):
        return {k: v[row] for k, v in observation.items()}
    return observation[row]


def copied(observation: Any) -> Any:
    """An array, or a dictionary of arrays, with memory of its own."""
    if isinstance(observation, dict):
        return {k: v.copy() for k, v in observation.items()}
    return observation.copy()
