"""Users who come and go: laws, names that are never used again, seats that are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mac_cases import draws, first, game, random_moves
from torch import Tensor

from sixgym.envs.llm_mac.params import LlmMacParams
from sixgym.envs.llm_mac.population import Population, first_sizes, stationary_law

CPU = torch.device("cpu")


def crowd(**params: object) -> tuple[LlmMacParams, Population]:
    made = LlmMacParams.create(None, **params)
    return made, Population(made, CPU)


def run(population: Population, rows: int, slots: int, seed: int = 0) -> list[Tensor]:
    """Numbers on the seats in every slot, from random numbers of torch's own."""
    p = population.params
    generator = torch.Generator().manual_seed(seed)
    shapes = {"size": (), "seats": (p.n_max,), "population": (3,), "leavers": (p.n_max,)}

    def noise() -> dict[str, Tensor]:
        return {k: torch.rand(rows, *s, generator=generator) for k, s in shapes.items()}

    ids = population.start(noise(), rows)
    next_id = (ids >= 0).sum(1)
    story = [ids]
    for t in range(1, slots):
        change = population.change(ids, next_id, torch.full((rows,), t), noise())
        ids, next_id = change.agent_id, change.next_id
        story.append(ids)
    return story


def test_the_stationary_law_balances_births_and_deaths() -> None:
    """The law of 1.5 is the left eigenvector of the chain with leaves before joins."""
    p = LlmMacParams.create("birth_death", p_join=0.3, p_leave=0.2)
    sizes = range(p.n_lo, p.n_hi + 1)
    chain = np.zeros((len(sizes), len(sizes)))
    for i, n in enumerate(sizes):
        leave = p.p_leave if n > p.n_lo else 0.0
        for after, chance in ((n - 1, leave), (n, 1.0 - leave)):
            if chance:
                join = p.p_join if after < p.n_hi else 0.0
                chain[i, after - p.n_lo] += chance * (1.0 - join)
                if join:
                    chain[i, after + 1 - p.n_lo] += chance * join
    law = stationary_law(p)
    assert law @ chain == pytest.approx(law, abs=1e-12)


def test_the_default_birth_death_has_5_01_users_on_average() -> None:
    """Section 6: mean population 5.01."""
    p = LlmMacParams.create("birth_death")
    assert stationary_law(p) @ np.arange(p.n_lo, p.n_hi + 1) == pytest.approx(5.01, abs=0.005)


@pytest.mark.parametrize(("p_join", "p_leave"), [(0.02, 0.02), (0.3, 0.2), (0.1, 0.4)])
def test_birth_death_keeps_its_stationary_law(p_join: float, p_leave: float) -> None:
    """4 * 10^5 slots, started from the law; it is kept, in every part of the run."""
    p, population = crowd(
        population="birth_death", p_join=p_join, p_leave=p_leave, max_agents=10_000
    )
    story = torch.stack(run(population, 4000, 100))
    number = (story >= 0).sum(-1)
    law = torch.from_numpy(stationary_law(p))
    for part in (number[:1], number[50:51], number[-1:], number):
        count = torch.bincount(part.flatten(), minlength=p.n_hi + 1)[p.n_lo :].double()
        assert float((count / count.sum() - law).abs().max()) < 0.025
    assert int(number.min()) >= p.n_lo
    assert int(number.max()) <= p.n_hi


def test_where_nobody_leaves_or_joins_all_start_at_the_end() -> None:
    assert stationary_law(LlmMacParams.create("birth_death", p_leave=0.0))[-1] == 1.0
    assert stationary_law(LlmMacParams.create("birth_death", p_join=0.0))[0] == 1.0
    assert stationary_law(LlmMacParams.create("birth_death", p_join=1.0))[-1] == 1.0


@pytest.mark.parametrize(
    "params",
    [
        {"population": "birth_death", "p_join": 0.5, "p_leave": 0.5, "n_lo": 0},
        {"population": "birth_death", "p_join": 1.0, "p_leave": 1.0, "max_agents": 30},
        {"preset": "sudden_change", "schedule": ((0, 2), (3, 7), (4, 1), (9, 10))},
    ],
)
def test_numbers_are_never_used_again_and_joiners_take_the_lowest_free_seats(
    params: dict[str, object],
) -> None:
    p = LlmMacParams.create(params.pop("preset", None), **params)  # type: ignore[arg-type]
    rows, slots = 64, 60
    story = run(Population(p, CPU), rows, slots)
    for row in range(rows):
        used: set[int] = set()
        before: list[int] = []
        for ids in story:
            now = ids[row].tolist()
            here = [i for i in now if i >= 0]
            assert len(set(here)) == len(here)
            fresh = [i for i in here if i not in before]
            assert not set(fresh) & used, "a number came back"
            assert fresh == sorted(fresh)
            assert all(i < p.agents for i in here)
            if before:  # below a joiner nobody's seat is free
                last = max((now.index(i) for i in fresh), default=-1)
                assert all(i >= 0 for i in now[: last + 1])
            used |= set(here)
            before = now
        assert used == set(range(len(used))), "numbers are given in order"


def test_the_schedule_is_kept_from_its_slots_on() -> None:
    p, population = crowd(population="schedule", schedule=((0, 3), (5, 8), (9, 2), (12, 2)))
    sizes = [int(n) for n in (torch.stack(run(population, 1, 15)) >= 0).sum(-1)]
    assert sizes == [3] * 5 + [8] * 4 + [2] * 6
    assert p.agents == max(10, 3 + 5)


def test_leavers_of_a_schedule_are_drawn_uniformly() -> None:
    _, population = crowd(population="schedule", schedule=((0, 4), (1, 1)))
    stays = run(population, 8000, 2)[1] >= 0
    assert stays.double().mean(0)[:4].tolist() == pytest.approx([0.25] * 4, abs=0.02)


def test_the_leaver_of_birth_death_is_drawn_uniformly() -> None:
    _, population = crowd(
        population="birth_death", n_lo=3, n_hi=5, p_leave=1.0, p_join=0.0, random_rows=True
    )
    ids = torch.tensor([[-1, 0, -1, 1, 2, -1, 3, 4, -1, -1]]).expand(8000, -1)
    uniform = torch.rand(8000, 3, generator=torch.Generator().manual_seed(1))
    change = population.change(
        ids, torch.full((8000,), 5), torch.ones(8000), {"population": uniform}
    )
    left = change.leaves.double().mean(0)
    assert left[ids[0] >= 0].tolist() == pytest.approx([0.2] * 5, abs=0.02)
    assert left[ids[0] < 0].tolist() == [0.0] * 5


def test_the_largest_uniform_still_picks_a_user() -> None:
    """1 - 2^-24 times n is below n in float32 for every n."""
    largest = torch.tensor(1.0 - 2.0**-24)
    for n in range(1, 65):
        assert int(largest * n) == n - 1


def test_episodes_draw_their_number_of_users() -> None:
    sizes, law = first_sizes(LlmMacParams.create())
    assert (sizes, law.tolist()) == ([2, 3, 4, 5], [0.25] * 4)
    _, population = crowd()
    number = (run(population, 8000, 1)[0] >= 0).sum(1)
    share = torch.bincount(number, minlength=6)[2:].double() / 8000
    assert share.tolist() == pytest.approx([0.25] * 4, abs=0.02)


def test_random_rows_seat_users_anywhere() -> None:
    _, population = crowd(population="fixed", num_users=3, random_rows=True)
    ids = run(population, 6000, 1)[0]
    assert ((ids >= 0).sum(1) == 3).all()
    assert (ids >= 0).double().mean(0).tolist() == pytest.approx([0.3] * 10, abs=0.025)
    seated = ids[ids >= 0].view(-1, 3)
    assert (seated == torch.arange(3)).all(), "numbers ascend by seat"


def test_who_joins_starts_afresh_on_a_seat_that_was_used() -> None:
    """1.5: q, d, a, u, m are zero, decoded_last is 0 whatever o says of the former user."""
    system = game(
        2,
        population="birth_death",
        n_lo=1,
        n_hi=2,
        p_leave=0.9,
        p_join=0.9,
        horizon_slots=50,
        initial_queue=3,
    )
    state = first(system, 256)
    generator = torch.Generator().manual_seed(0)
    recycled = 0
    for t in range(1, 20):
        before = state
        state, _ = system.play(state, random_moves(system, 256, generator), draws(system, 256, t))
        seat = torch.arange(1, 3)
        fresh = state.here & (state.agent_id != before.agent_id)
        for leaf in (state.q, state.d, state.a, state.u, state.m, state.age, state.delivered):
            assert (leaf[fresh] == 0).all()
        was_decoded = fresh & (state.o.unsqueeze(1) == seat)
        recycled += int(was_decoded.sum())
        seen = system.perceive(state, {})["bs.rows"][:, 0]
        assert (seen[..., -2][fresh] == 0).all(), "decoded_last"
        assert (seen[..., -1][fresh] == 1).all(), "joined"
        assert (seen[~state.here] == 0).all()
    assert recycled > 20


def test_saturated_users_who_join_bring_full_buffers() -> None:
    system = game(4, population="birth_death", n_lo=1, n_hi=4, p_join=0.5, traffic="saturated")
    state = first(system, 64)
    generator = torch.Generator().manual_seed(0)
    for t in range(1, 30):
        state, _ = system.play(state, random_moves(system, 64, generator), draws(system, 64, t))
        assert torch.equal(state.q, 20 * state.here.long())
