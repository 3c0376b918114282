"""The picture of LLM-MAC: a cell for every user and slot, coloured by what became of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mac_cases import SILENT, draws, first, game, play, random_moves
from numpy.typing import NDArray

pytest.importorskip("pygame")

from sixgym.envs.core.render import INK, Canvas, Color
from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_SG
from sixgym.envs.llm_mac.scene import (
    DELETE_COLOR,
    DUP_COLOR,
    EMPTY,
    ERASED_COLOR,
    LEFT,
    LOST_COLOR,
    NEW_COLOR,
    RIGHT,
    TOP,
    VOID_COLOR,
)
from sixgym.envs.llm_mac.state import LOG_SLOTS

WHITE: Color = (255, 255, 255)


def picture(system: Any, state: Any, row: int = 0) -> NDArray[np.uint8]:
    canvas = Canvas()
    system.draw(state, row, canvas)
    image: NDArray[np.uint8] = canvas.array()
    return image


def cell(image: NDArray[np.uint8], slot: int, seat: int) -> Color:
    """The colour of a cell, above the dot of a request and right of a letter; 44 pixels a seat."""
    x = LEFT + (slot + 0.75) * (RIGHT - LEFT) / LOG_SLOTS
    red, green, blue = image[int(TOP + seat * 44 + 30), int(x)].tolist()
    return (red, green, blue)


def test_cells_tell_what_became_of_each_move() -> None:
    system = game(2, initial_queue=3, pag_level=0, **SILENT)
    state = first(system)
    script: list[tuple[tuple[int, int], Color, Color]] = [
        ((2, 0), NEW_COLOR, WHITE),
        ((2, 0), DUP_COLOR, WHITE),
        ((4, 2), DELETE_COLOR, NEW_COLOR),
        ((2, 2), LOST_COLOR, LOST_COLOR),
        ((4, 4), INK, DELETE_COLOR),
        ((4, 0), INK, WHITE),
        ((2, 0), VOID_COLOR, WHITE),
    ]
    for ue, *_ in script:
        state, _ = play(system, state, (DCM_SG, DCM_ACK), ue)
    image = picture(system, state)
    for slot, (_, first_color, second_color) in enumerate(script):
        assert cell(image, slot, 0) == first_color, slot
        assert cell(image, slot, 1) == second_color, slot
    assert cell(image, len(script), 0) == EMPTY, "slots to come"


def test_erasures_have_a_colour_of_their_own() -> None:
    system = game(2, initial_queue=3, **{**SILENT, "tbler": 1.0})
    state, _ = play(system, first(system), (0, 0), (2, 0))
    assert cell(picture(system, state), 0, 0) == ERASED_COLOR


@pytest.mark.parametrize(
    "params",
    [
        {"preset": "birth_death", "population": "birth_death", "n_max": 10},
        {"n_max": 64, "population": "fixed", "num_users": 64},
        {"opaque": True, "num_ucm": 8, "num_dcm": 8},
        {"role": "leader"},
        {"role": "follower"},
    ],
)
def test_every_variant_can_be_painted_at_any_time(params: dict[str, Any]) -> None:
    system = game(**params)
    state, generator = first(system, 3), torch.Generator().manual_seed(0)
    for t in range(1, 40):
        if t in (1, 10, 39):
            assert picture(system, state, 2).std() > 5
        state, _ = system.play(state, random_moves(system, 3, generator), draws(system, 3, t))
    assert (picture(system, state, 0) != picture(system, state, 2)).any()
