"""The picture of RIS-NOMA: it can be painted in every variant and shows what is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("pygame")

from sixgym.envs.core.make import make_system
from sixgym.envs.core.render import Canvas
from sixgym.envs.core.rows import Rows
from sixgym.envs.ris_noma.scene import draw_scene, user_color, view_of


def picture(rows: Rows[Any, Any], row: int = 0) -> NDArray[np.uint8]:
    canvas = Canvas()
    draw_scene(rows.system.model, rows.state, row, canvas)  # type: ignore[attr-defined]
    image: NDArray[np.uint8] = canvas.array()
    return image


def world(**params: Any) -> Rows[Any, Any]:
    rows: Rows[Any, Any] = Rows(make_system("sixgym.envs.ris_noma:RisNomaSelect", **params), 2)
    rows.start(seeds=torch.arange(2))
    for block in (0, 1, 2):
        rows.advance(torch.full((2,), block))
    return rows


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"num_elements": 0},
        {"num_users": 16, "num_elements": 300},
        {"num_users": 1, "window_slots": 1, "num_antennas": 2, "num_elements": 4},
        {"tx_mode": "fixed_power", "users_radius_m": 0.0},
        {"tx_mode": "tdma"},
    ],
)
def test_every_variant_can_be_painted(params: dict[str, Any]) -> None:
    image = picture(world(**params))
    assert image.shape == (400, 600, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5


def test_every_user_is_there_and_rows_differ() -> None:
    rows = world()
    first, second = picture(rows, 0), picture(rows, 1)
    for user in range(4):
        # On the map, in the order and above the bars.
        assert (first == np.array(user_color(user), np.uint8)).all(-1).sum() > 150
    assert (first != second).any()


def test_numbers_are_those_of_the_state() -> None:
    rows = world()
    view = view_of(rows.system.model, rows.state, 1)  # type: ignore[attr-defined]
    assert view.slot == 3
    assert view.order == rows.state.order[1].tolist()
    assert view.queue == rows.state.queue_bits[1].tolist()
    assert view.ages == [2.0, 1.0, 0.0]
    assert view.energy_mj[2] == pytest.approx(0.2)
    best = max(range(4), key=lambda k: view.gains_db[k])
    assert view.order[0] == best
