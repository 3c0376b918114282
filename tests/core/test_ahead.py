"""Draws made ahead are those of the step, bit for bit."""

from __future__ import annotations

import torch

from sixgym.envs.backend.rng import DrawTable, episode_key
from sixgym.envs.core.ahead import MOST_ROWS, DrawsAhead


def table() -> DrawTable:
    return DrawTable(
        {"fading": ("cn", (7,)), "wind": ("normal", (3,)), "arrivals": ("uniform", (2, 4))}
    )


def assert_draws(ahead: DrawsAhead, key: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    now, draws = ahead.next(key, step)
    assert torch.equal(now, step + 1)
    for name, wanted in table().draw(key, now).items():
        assert torch.equal(draws[name], wanted), name
    return now


def test_each_step_gets_its_own_draws() -> None:
    for rows in (1, 5, 16, MOST_ROWS + 1):
        key = episode_key(torch.arange(rows), torch.zeros(rows, dtype=torch.int64))
        ahead, step = DrawsAhead(table(), rows), torch.arange(rows)
        for _ in range(40):
            step = assert_draws(ahead, key, step)


def test_a_reset_of_some_rows_or_a_jump_in_time_throws_the_rest_away() -> None:
    rows = 3
    key = episode_key(torch.arange(rows), torch.zeros(rows, dtype=torch.int64))
    ahead, step = DrawsAhead(table(), rows), torch.zeros(rows, dtype=torch.int64)
    for _ in range(5):
        step = assert_draws(ahead, key, step)
    key = episode_key(torch.arange(rows), torch.tensor([0, 1, 0]))
    step = step * torch.tensor([1, 0, 1])
    for _ in range(5):
        step = assert_draws(ahead, key, step)
    assert_draws(ahead, key, step + 100)
    assert_draws(ahead, key, step)
