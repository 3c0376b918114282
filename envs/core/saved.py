"""States that come back: whether tensors are those that were saved, before any of them is used."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sixgym.envs.core.errors import StateError


def check_saved(saved: object, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a saved state, if they are what is expected.

    Args:
        saved: whatever is to be loaded.
        expected: tensors of the same names, shapes and kinds.

    Raises:
        StateError: it is no dictionary; a tensor is missing, too many, of another shape or kind,
            or has NaN in it. (Infinite it may be: some times of a state are never.)
    """
    if not isinstance(saved, Mapping):
        raise StateError(f"state: {type(saved).__name__}; allowed: a dictionary of tensors")
    if expected.keys() != saved.keys():
        odd = ", ".join(sorted(map(str, expected.keys() ^ saved.keys())))
        raise StateError(f"state: missing or unknown tensors: {odd}")
    for name, like in expected.items():
        _check_tensor(name, saved[name], like)
    return dict(saved)


def _check_tensor(name: str, got: object, like: Tensor) -> None:
    allowed = f"allowed: {tuple(like.shape)} {like.dtype}"
    if not isinstance(got, Tensor):
        raise StateError(f"state: {name} is of type {type(got).__name__}; {allowed}")
    if got.shape != like.shape or got.dtype != like.dtype:
        raise StateError(f"state: {name} is {tuple(got.shape)} {got.dtype}; {allowed}")
    if got.layout is not torch.strided or got.device.type == "meta":
        raise StateError(f"state: {name} is {got.layout} on {got.device}; {allowed}, dense")
    if got.is_floating_point() and bool(got.isnan().any()):
        raise StateError(f"state: {name} has NaN in it; allowed: numbers")
