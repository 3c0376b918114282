"""What a policy hands in: accepted within rounding, refused with field, place and range."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sixgym.envs.core.errors import ActionError, ActionTypeError, OptionsError
from sixgym.envs.core.spaces import ActionReader, all_allowed

BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)
MULTI = spaces.MultiDiscrete([3, 4], start=[1, 0])
BOTH = spaces.Dict(power=BOX, user=spaces.Discrete(3))


def reader(space: spaces.Space[Any], dtype: torch.dtype = torch.float32) -> ActionReader:
    return ActionReader(space, dtype=dtype, device=torch.device("cpu"))


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((3, 2), np.float32),
        np.zeros((3, 2), np.float64),
        np.zeros((3, 2), np.int64),
        [[0.0, 0.0]] * 3,
        torch.zeros(3, 2),
        torch.zeros(3, 2, requires_grad=True),
    ],
)
def test_every_array_of_numbers_is_read_alike(value: Any) -> None:
    read = reader(BOX).read(value, 3)
    assert read.dtype == torch.float32
    assert not read.requires_grad
    assert torch.equal(read, torch.zeros(3, 2))


def test_float64_physics_gets_float64_actions() -> None:
    read = reader(BOX, torch.float64).read(np.full((1, 2), 0.1), 1)
    assert read.dtype == torch.float64
    assert read[0, 0].item() == 0.1


def test_rounding_over_a_bound_is_clipped() -> None:
    read = reader(BOX).read(np.full((1, 2), np.float32(1.000001)), 1)
    assert read.max().item() == 1.0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([0.0, 1.5], r"action\[1\]=1.5: allowed: -1.0 to 1.0"),
        ([np.nan, 0.0], r"action\[0\]=nan"),
        ([0.0, np.inf], r"action\[1\]=inf"),
        ([0.0, -np.inf], r"action\[1\]=-inf"),
        ([0.0], r"shape \(1,\); allowed: \(2,\)"),
        (0.0, r"shape \(\); allowed: \(2,\)"),
        (["a", "b"], "not numbers"),
        ([None, 1.0], "not numbers"),
        ([1j, 1.0], "not numbers"),
        ([True, False], "not numbers"),
    ],
)
def test_a_wrong_float_action_is_named(value: Any, words: str) -> None:
    with pytest.raises(ActionError, match=words):
        reader(BOX).read(value, None)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([0, 0], r"action\[0\]=0: allowed: 1 to 3"),
        ([1, 4], r"action\[1\]=4: allowed: 0 to 3"),
        ([1.0, 2.0], "not integers"),
    ],
)
def test_a_wrong_integer_action_is_named(value: Any, words: str) -> None:
    with pytest.raises(ActionError, match=words):
        reader(MULTI).read(value, None)


def test_a_scalar_for_a_batch_is_a_type_error() -> None:
    """Gymnasium's vector tests want ``TypeError`` here and ``ValueError`` for a wrong count."""
    with pytest.raises(ActionTypeError, match="scalar"):
        reader(spaces.Discrete(3)).read(1, 2)
    assert issubclass(ActionTypeError, TypeError)
    assert issubclass(ActionError, ValueError)


@pytest.mark.parametrize("value", [2, np.int32(2), np.array(2), torch.tensor(2), np.uint8(2)])
def test_a_discrete_action_of_one_environment_has_one_number(value: Any) -> None:
    read = reader(spaces.Discrete(3)).read(value, None)
    assert read.shape == (1,)
    assert read.dtype == torch.int64


def test_a_dictionary_must_have_its_keys() -> None:
    good = {"power": np.zeros(2), "user": 1}
    read = reader(BOTH).read(good, None)
    assert read["power"].shape == (1, 2)
    assert read["user"].tolist() == [1]
    with pytest.raises(ActionError, match="missing or unknown: user"):
        reader(BOTH).read({"power": np.zeros(2)}, None)
    with pytest.raises(ActionTypeError, match="dictionary"):
        reader(BOTH).read(np.zeros(2), None)
    with pytest.raises(ActionError, match=r"action.power\[0\]=2"):
        reader(BOTH).read({"power": [2.0, 0.0], "user": 1}, None)


def test_a_reused_buffer_does_not_reach_what_was_read() -> None:
    """A state may keep an action (phases of a surface); policies write into the same array."""
    buffer = np.zeros((1, 2), np.float32)
    tensor = torch.zeros(1, 2)
    read = reader(BOX).read(buffer, 1)
    read_tensor = reader(BOX).read(tensor, 1)
    buffer[:] = 1.0
    tensor.fill_(1.0)
    assert read.max() == 0.0
    assert read_tensor.max() == 0.0


def test_a_read_only_array_is_no_trouble() -> None:
    frozen = np.broadcast_to(np.float32(0.5), (3, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reader(BOX).read(frozen, 3).shape == (3, 2)


def test_masks_of_systems_without_masks_allow_everything() -> None:
    assert all_allowed(spaces.Discrete(3)).shape == (3,)
    assert all_allowed(MULTI).shape == (7,)
    with pytest.raises(OptionsError, match="Box"):
        all_allowed(BOX)


def test_a_space_that_cannot_be_read_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="Text"):
        reader(spaces.Text(3))


def test_a_binary_choice_may_be_written_as_floats_of_nought_and_one() -> None:
    space = spaces.MultiBinary(3)
    floats = np.array([[0.0, 1.0, 1.0]], np.float32)
    assert space.contains(floats[0])
    read = reader(space).read(floats, 1)
    assert read.dtype == torch.int64
    assert read.tolist() == [[0, 1, 1]]
    for odd in (0.5, np.nan, 2.0):
        with pytest.raises(ActionTypeError, match="not integers"):
            reader(space).read(np.array([[0.0, 1.0, odd]]), 1)
