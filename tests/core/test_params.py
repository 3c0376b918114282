"""Parameters: strict, ranged, one-line errors, and a hash that names the physics."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import ValidationError, model_validator

from sixgym.envs.core.errors import ParamsError, UnknownIdError
from sixgym.envs.core.params import Params, param


class Cell(Params):
    users: int = param(4, unit="1", source="ours", description="Users.", ge=1, le=16)
    power_w: float = param(0.2, unit="W", source="standard", description="Power.", gt=0.0)
    order: Literal["up", "down"] = param("up", unit="", source="paper", description="Order.")
    gains: tuple[float, ...] = param((1.0, 2.0), unit="1", source="ours", description="Gains.")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}, "dense": {"users": 12}}

    @model_validator(mode="after")
    def _enough(self) -> Cell:
        if self.users < len(self.gains):
            raise ValueError(
                f"gains: {len(self.gains)} of them; allowed: at most users={self.users}"
            )
        return self


def test_presets_and_overrides() -> None:
    assert Cell.create().users == 4
    assert Cell.create("dense").users == 12
    assert Cell.create("dense", users=5, power_w=1).users == 5
    assert Cell.create(users=np.int64(6), gains=[1, np.float32(2)]).gains == (1.0, 2.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"users": 0}, "users=0: .*allowed: int >= 1 and <= 16"),
        ({"users": 2.0}, "users=2.0: .*allowed: int"),
        ({"users": True}, "users=True"),
        ({"users": "4"}, "users='4'"),
        ({"power_w": 0.0}, "power_w=0.0: .*allowed: float > 0"),
        ({"power_w": float("nan")}, "power_w=nan"),
        ({"power_w": float("inf")}, "power_w=inf"),
        ({"order": "side"}, "order='side': .*allowed: 'up', 'down'"),
        ({"user": 3}, "user=3: no such parameter; did you mean users"),
        ({"xyz": 3}, "xyz=3: no such parameter; allowed: users, power_w"),
        ({"users": 1}, "^gains: 2 of them; allowed: at most users=1$"),
    ],
)
def test_a_wrong_value_is_one_line_with_field_value_and_range(
    values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ParamsError, match=words) as caught:
        Cell.create(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("preset", ["sparse", "", 3, ["dense"]])
def test_an_unknown_preset_names_the_known(preset: Any) -> None:
    with pytest.raises(UnknownIdError, match="allowed: default, dense"):
        Cell.create(preset)


def test_parameters_are_frozen_and_copy() -> None:
    cell = Cell.create("dense")
    with pytest.raises(ValidationError):
        cell.users = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(cell)) == copy.deepcopy(cell) == cell  # noqa: S301


def test_the_hash_follows_the_values_only() -> None:
    assert Cell.create("dense").config_hash() == Cell.create(users=12).config_hash()
    assert Cell.create().config_hash() != Cell.create(power_w=0.21).config_hash()
    assert Cell.create(power_w=1).config_hash() == Cell.create(power_w=1.0).config_hash()
    json.dumps(Cell.create().model_dump(mode="json"))


def test_the_table_has_a_row_a_field() -> None:
    rows = {row.name: row for row in Cell.table()}
    assert list(rows) == ["users", "power_w", "order", "gains"]
    assert rows["users"].allowed == "int >= 1 and <= 16"
    assert rows["power_w"].unit == "W"
    assert rows["order"].allowed == "'up', 'down'"
    assert rows["power_w"].source == "standard"
