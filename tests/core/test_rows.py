"""Rows: a row is a function of its seed alone, in any batch, at any time, through save and load."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_systems import Counter, CounterParams, Gate, Tank

from sixgym.envs.core.errors import OptionsError, StateError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.rows import Outcome, Rows
from sixgym.envs.core.spaces import ActionReader


def rows_of(system: Any, n: int, **kwargs: Any) -> Rows[Any, Any]:
    return Rows(make_system(system), n, **kwargs)


def push(rows: Rows[Any, Any], seed: int) -> Tensor:
    """Actions that depend on the row's own seed and step only."""
    return torch.sin(rows.seed.float() + rows.step + seed)[:, None]


def play(rows: Rows[Any, Any], steps: int) -> list[Outcome]:
    """Steps with restarts of ended rows."""
    outcomes = []
    for _ in range(steps):
        out = rows.advance(push(rows, 0))
        outcomes.append(out)
        ended = (out.terminated | out.truncated).nonzero()[:, 0]
        if len(ended):
            rows.start(ended)
    return outcomes


@pytest.mark.parametrize("n", [1, 3, 64, 257, 600])
def test_row_i_of_a_batch_is_the_row_of_its_seed_alone(n: int) -> None:
    many = rows_of(Counter, n, max_episode_steps=9)
    many.start(seeds=torch.arange(n) + 100)
    together = play(many, 25)
    for i in {0, n // 2, n - 1}:
        one = rows_of(Counter, 1, max_episode_steps=9)
        one.start(seeds=torch.tensor([100 + i]))
        for alone, batch in zip(play(one, 25), together, strict=True):
            assert torch.equal(alone.observation[0], batch.observation[i])
            assert torch.equal(alone.reward[0], batch.reward[i])
            assert torch.equal(alone.metrics[0], batch.metrics[i])
            assert alone.terminated[0] == batch.terminated[i]
            assert alone.truncated[0] == batch.truncated[i]


def test_a_restart_of_some_rows_leaves_the_others_alone() -> None:
    rows = rows_of(Counter, 5)
    rows.start(seeds=torch.arange(5))
    rows.advance(torch.zeros(5, 1))
    before = [leaf.clone() for leaf in rows.state]
    rows.start(torch.tensor([1, 4]), torch.tensor([7, 8]))
    for was, now in zip(before, rows.state, strict=True):
        assert torch.equal(was[[0, 2, 3]], now[[0, 2, 3]])
    assert rows.seed.tolist() == [0, 7, 2, 3, 8]
    assert rows.step.tolist() == [1, 0, 1, 1, 0]


def test_episodes_count_up_without_seeds_and_start_over_with_one() -> None:
    rows = rows_of(Counter, 2)
    first = rows.start(seeds=torch.tensor([3, 4])).clone()
    second = rows.start()
    assert rows.episode.tolist() == [1, 1]
    assert not torch.equal(first, second)
    assert torch.equal(first, rows.start(seeds=torch.tensor([3, 4])))
    assert torch.equal(second, rows.start())


def test_truncation_comes_at_the_limit_and_not_before() -> None:
    rows = rows_of(Tank, 2, max_episode_steps=3)
    rows.start(seeds=torch.tensor([0, 1]))
    action = {"pump": torch.zeros(2, 2), "valve": torch.zeros(2, dtype=torch.int64)}
    flags = [rows.advance(action).truncated.tolist() for _ in range(3)]
    assert flags == [[False, False], [False, False], [True, True]]


def test_nothing_is_written_after_it_was_handed_out() -> None:
    rows = rows_of(Counter, 3)
    rows.start(seeds=torch.arange(3))
    out = rows.advance(torch.ones(3, 1))
    kept = copy.deepcopy(out)
    for _ in range(3):
        rows.advance(torch.ones(3, 1))
    rows.start()
    assert torch.equal(out.observation, kept.observation)
    assert torch.equal(out.reward, kept.reward)
    assert torch.equal(out.metrics, kept.metrics)


@pytest.mark.parametrize("how", ["state_dict", "pickle", "deepcopy"])
def test_a_saved_batch_continues_identically(how: str) -> None:
    rows = rows_of(Counter, 4, max_episode_steps=6)
    rows.start(seeds=torch.arange(4))
    play(rows, 5)
    if how == "state_dict":
        twin = rows_of(Counter, 4, max_episode_steps=6)
        twin.load_state_dict(rows.state_dict())
    else:
        twin = pickle.loads(pickle.dumps(rows)) if how == "pickle" else copy.deepcopy(rows)  # noqa: S301
    for a, b in zip(play(rows, 10), play(twin, 10), strict=True):
        assert torch.equal(a.observation, b.observation)
        assert torch.equal(a.terminated, b.terminated)


def test_a_saved_state_is_a_copy() -> None:
    rows = rows_of(Counter, 2)
    rows.start(seeds=torch.arange(2))
    saved = rows.state_dict()
    kept = {k: v.clone() for k, v in saved.items()}
    rows.advance(torch.ones(2, 1))
    assert all(torch.equal(saved[k], kept[k]) for k in saved)
    rows.load_state_dict(saved)
    saved["state.value"].zero_()
    assert torch.equal(rows.state.value, kept["state.value"])


@pytest.mark.parametrize("spoil", ["missing", "extra", "shape", "dtype"])
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(spoil: str) -> None:
    rows = rows_of(Counter, 2)
    rows.start(seeds=torch.arange(2))
    saved = rows.state_dict()
    rows.advance(torch.ones(2, 1))
    before = rows.state_dict()
    if spoil == "missing":
        del saved["state.slot"]
    elif spoil == "extra":
        saved["state.more"] = torch.zeros(2)
    elif spoil == "shape":
        saved["state.value"] = torch.zeros(3)
    else:
        saved["state.value"] = saved["state.value"].double()
    with pytest.raises(StateError, match="state"):
        rows.load_state_dict(saved)
    assert all(torch.equal(v, rows.state_dict()[k]) for k, v in before.items())


def test_a_row_that_is_pushed_does_not_move_its_neighbour() -> None:
    rows = rows_of(Counter, 3)
    rows.start(seeds=torch.arange(3))
    saved = rows.state_dict()
    quiet = rows.advance(torch.zeros(3, 1))
    rows.load_state_dict(saved)
    loud = rows.advance(torch.tensor([[0.0], [1.0], [0.0]]))
    assert torch.equal(quiet.observation[[0, 2]], loud.observation[[0, 2]])
    assert not torch.equal(quiet.observation[1], loud.observation[1])


def test_float64_draws_the_same_worlds() -> None:
    single, double = (
        Rows(make_system(Counter, dtype=dtype), 8) for dtype in ("float32", "float64")
    )
    for rows in (single, double):
        rows.start(seeds=torch.arange(8))
    a = single.advance(torch.full((8, 1), 0.25))
    b = double.advance(torch.full((8, 1), 0.25, dtype=torch.float64))
    assert b.reward.dtype == torch.float64
    assert a.observation.dtype == b.observation.dtype == torch.float32
    torch.testing.assert_close(a.reward.double(), b.reward, rtol=1e-5, atol=1e-6)
    assert torch.equal(a.terminated, b.terminated)


def test_discrete_actions_reach_the_system_with_one_number_a_row() -> None:
    system = make_system(Gate)
    reader = ActionReader(system.action_space, dtype=system.dtype, device=system.device)
    assert reader.read(2, None).shape == (1,)
    assert reader.read([1, 2, 3], 3).shape == (3,)


@pytest.mark.parametrize(
    ("kwargs", "field"),
    [({"num_rows": 0}, "num_envs"), ({"num_rows": 1, "max_episode_steps": 0}, "max_episode")],
)
def test_numbers_out_of_range_are_refused(kwargs: dict[str, int], field: str) -> None:
    with pytest.raises(OptionsError, match=field):
        Rows(make_system(Counter), **kwargs)


def test_a_system_with_a_solver_is_not_compiled() -> None:
    class Solving(Counter):
        contains_solver = True

    with pytest.raises(OptionsError, match="solver"):
        Rows(Solving(CounterParams()), 2, compile=True)


def test_nothing_goes_before_the_first_seeded_start() -> None:
    rows = rows_of(Counter, 2)
    with pytest.raises(StateError, match="reset"):
        rows.advance(torch.zeros(2, 1))
    with pytest.raises(StateError, match="seed all rows"):
        rows.start()
    with pytest.raises(StateError, match="seed all rows"):
        rows.start(torch.tensor([0]), torch.tensor([1]))
