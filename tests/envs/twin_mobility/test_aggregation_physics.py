"""Areas, work, link and motion of agent aggregation: the numbers of section 9, items 19 to 23."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from aggregation_cases import controls, one_round, pair_state, sends_to, system
from hypothesis import given, settings
from hypothesis import strategies as st

from sixgym.envs.twin_mobility.aggregation_areas import (
    FEW_ROWS,
    Raster,
    disc_jaccard,
    lens_area,
    mask_jaccard,
    sorting_network,
    union_jaccard,
)
from sixgym.envs.twin_mobility.aggregation_params import AgentAggregationParams
from sixgym.envs.twin_mobility.aggregation_round import (
    best_move_time_s,
    grid_pair_cost,
    move_energy_j,
    potential_j,
    send,
    work_flop,
)

DOUBLE = {"dtype": torch.float64}
PARAMS = AgentAggregationParams.create()


def scenario(rows: int, num_agents: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centre = 500.0 * torch.rand(rows, num_agents, 2, generator=generator, **DOUBLE)
    radius = 80.0 + 20.0 * torch.rand(rows, num_agents, generator=generator, **DOUBLE)
    return centre, radius


# ------------------------------------------------------------------------------------------- areas


@pytest.mark.parametrize(
    ("distance", "index"),
    [(0.0, 1.0), (45.0, 0.520956), (90.0, 0.243010), (135.0, 0.0777567), (180.0, 0.0)],
)
def test_jaccard_index_of_two_discs_of_90_m(distance: float, index: float) -> None:
    """Item 19: the closed form; the raster of 5 m within 0.01."""
    assert disc_jaccard(distance, 90.0, 90.0) == pytest.approx(index, abs=5e-7)
    made = system(num_agents=2)
    state = pair_state(made, distance, [8e6, 6e6])
    assert state.jaccard[0, 0, 1] == pytest.approx(index, abs=0.01)
    assert state.jaccard[0, 0, 0] == 1.0


def test_a_raster_of_10_m_is_not_good_enough() -> None:
    """Item 19: the largest error over offsets of two discs by less than a cell."""
    worst = {}
    for cell in (5.0, 10.0):
        raster = Raster(AgentAggregationParams.create(num_agents=2, cell_m=cell))
        off = torch.cartesian_prod(*[torch.arange(0.0, 10.0, 1.0, **DOUBLE)] * 2)
        for distance in (45.0, 90.0, 135.0):
            first = torch.tensor([200.0, 200.0], **DOUBLE) + off
            second = first + torch.tensor([distance, 0.0], **DOUBLE)
            centre = torch.stack([first, second], 1)
            masks = raster.masks(centre, torch.full(centre.shape[:2], 90.0, **DOUBLE))
            error = (mask_jaccard(masks)[:, 0, 1] - disc_jaccard(distance, 90.0, 90.0)).abs()
            worst[cell] = max(worst.get(cell, 0.0), float(error.max()))
    assert worst[5.0] < 0.01 < worst[10.0]


def test_lens_of_equal_discs_has_its_textbook_area() -> None:
    """2 R^2 acos(d / 2R) - (d / 2) sqrt(4 R^2 - d^2)."""
    d, r = 70.0, 90.0
    area = 2 * r * r * math.acos(d / (2 * r)) - d / 2 * math.sqrt(4 * r * r - d * d)
    assert lens_area(d, r, r) == pytest.approx(area)
    assert lens_area(5.0, 90.0, 80.0) == pytest.approx(math.pi * 6400.0)


@pytest.mark.parametrize("num_agents", [2, 3, 10])
def test_the_table_of_unions_is_what_counting_cells_gives(num_agents: int) -> None:
    """Every cell of every disc by its distance, unions by OR: equal for all sets of sources."""
    raster = Raster(AgentAggregationParams.create(num_agents=num_agents))
    assert raster.num_cells == 19_600
    centre, radius = scenario(4, num_agents)
    x = raster.centre_m
    place = torch.stack(torch.meshgrid(x, x, indexing="xy"), -1)
    far = (place - centre[:, :, None, None]).square().sum(-1).sqrt()
    cells = far <= radius[..., None, None]
    assert torch.equal(cells, raster.masks(centre, radius))
    table = raster.union_cells(centre, radius, torch.float64)
    generator = torch.Generator().manual_seed(1)
    for subset in torch.randint(0, 2**num_agents, (40,), generator=generator).tolist():
        members = [i for i in range(num_agents) if subset >> i & 1]
        union = cells[:, members].any(1).sum((1, 2))
        assert table[:, subset].tolist() == union.tolist()


@pytest.mark.parametrize("size", range(1, 13))
def test_a_sorting_network_sorts_all_zeros_and_ones(size: int) -> None:
    """By the 0-1 principle it then sorts any numbers [standard: Knuth, TAOCP 3, 5.3.4]."""
    numbers = list((torch.arange(2**size) >> torch.arange(size).unsqueeze(-1)) & 1)
    due = torch.stack(numbers).sort(0).values
    for i, j in sorting_network(size):
        assert i < j
        low, high = numbers[i], numbers[j]
        numbers[i], numbers[j] = torch.minimum(low, high), torch.maximum(low, high)
    assert torch.equal(torch.stack(numbers), due)


@pytest.mark.parametrize("num_agents", [2, 3, 10, 12])
def test_many_rows_are_counted_like_few(num_agents: int) -> None:
    """By a sorting network what is counted by a sort."""
    raster = Raster(AgentAggregationParams.create(num_agents=num_agents))
    centre, radius = scenario(FEW_ROWS, num_agents, seed=7)
    many = raster.counts(centre, radius)
    assert (many.sum(1) == raster.num_cells).all()
    few = zip(centre.split(FEW_ROWS // 2), radius.split(FEW_ROWS // 2), strict=True)
    assert torch.equal(many, torch.cat([raster.counts(c, r) for c, r in few]))


def test_jaccard_of_accumulated_areas_is_that_of_the_united_rasters() -> None:
    """By one product of 0/1 matrices, for sets of several sources, and none for an empty set."""
    raster = Raster(AgentAggregationParams.create(num_agents=6))
    centre, radius = scenario(8, 6, seed=3)
    sources = torch.tensor([[0b000011, 0b001100, 0b110000, 0, 0b000001, 0b111111]] * 8)
    masks = raster.masks(centre, radius)
    held = (sources.unsqueeze(-1) >> torch.arange(6)) & 1
    united = (held[..., None, None].bool() & masks.unsqueeze(1)).any(2)
    found = union_jaccard(raster.union_cells(centre, radius, torch.float32), sources)
    assert torch.allclose(found, mask_jaccard(united))
    assert (found[:, 3] == 0.0).all()


# ------------------------------------------------------------------------------ work, link, motion


def test_motion_energy_and_its_best_time() -> None:
    """Item 23: t* = d sqrt(k2 / P_s), 10 m: 2.236 s, 1.394427 J; in 2 s 1.4 J."""
    way = torch.tensor([10.0], **DOUBLE)
    best = best_move_time_s(PARAMS, way)
    assert best.item() == pytest.approx(2.236, abs=5e-4)
    assert move_energy_j(PARAMS, way, best).item() == pytest.approx(1.394427, abs=5e-7)
    assert move_energy_j(PARAMS, way, torch.tensor([2.0], **DOUBLE)).item() == pytest.approx(1.4)
    assert move_energy_j(PARAMS, 0.0 * way, 0.0 * way).item() == 0.0


def test_sending_costs_less_the_longer_it_may_take() -> None:
    """Item 23: falling in t1, to S ln2 sigma^2 / (B h) in the limit."""
    time = torch.logspace(-1.0, 7.0, 60, **DOUBLE)
    bits, distance = torch.full_like(time, 4e6), torch.full_like(time, 200.0)
    energy = send(PARAMS, bits, time, distance).energy_j
    sent = ~send(PARAMS, bits, time, distance).fails
    assert (energy[sent].diff() < 0.0).all()
    limit = 4e6 * math.log(2.0) * 3.98e-15 / (1e6 * 1.25e-11)
    assert energy[-1].item() == pytest.approx(limit, rel=1e-6)


@settings(max_examples=40)
@given(
    st.floats(1e4, 1e8),
    st.floats(-1.0, 20.0),
    st.floats(0.0, 700.0),
    st.sampled_from(["least", "max"]),
)
def test_a_link_either_fits_within_its_power_or_fails(
    bits: float, time: float, distance: float, power: Any
) -> None:
    params = AgentAggregationParams.create(power=power)
    link = send(params, *(torch.tensor([v], **DOUBLE) for v in (bits, time, distance)))
    h = 1e-4 * max(distance, 1.0) ** -3
    most = 1e6 * max(time, 0.0) * math.log2(1.0 + 1.0 * h / 3.98e-15)
    fits = time > 0.01 and bits <= most
    if abs(bits - most) > 1e-9 * most:
        assert link.fails.item() is not fits
    assert 0.0 <= link.power_w.item() <= 1.0
    assert 0.0 <= link.energy_j.item() <= max(time, 0.0) * (1.0 + 1e-9)
    assert math.isfinite(link.energy_j.item())


def test_the_first_compression_is_free_and_knowledge_that_is_shared_saves_work() -> None:
    """Artefact of the model: at rho = 1 the ratio does not matter; No-RAG pays as rho = 0."""
    payload, ratio = torch.tensor([8e6] * 2, **DOUBLE), torch.tensor([0.05, 1.0], **DOUBLE)
    assert work_flop(PARAMS, payload, torch.ones(2, **DOUBLE), ratio).tolist() == [4.8e8, 4.8e8]
    bare = AgentAggregationParams.create(use_redundancy=False)
    shared = torch.full((2,), 0.7, **DOUBLE)
    none = torch.zeros(2, **DOUBLE)
    assert torch.equal(
        work_flop(bare, payload, shared, ratio), work_flop(PARAMS, payload, none, ratio)
    )


def test_potential_of_an_agent_200_m_from_the_mean() -> None:
    """Item 24: 7.6 Mbit, zeta = 1e-14: .608 J."""
    position = torch.tensor([[0.0, 0.0], [400.0, 0.0], [77.0, 5.0]], **DOUBLE)
    active = torch.tensor([True, True, False])
    field = potential_j(PARAMS, position, active, torch.full((3,), 7.6e6, **DOUBLE))
    assert field[:2].tolist() == pytest.approx([0.608, 0.608])


# -------------------------------------------------------------------------------- a pair, a round


def test_pair_of_the_first_round_by_hand() -> None:
    """Item 20: d = 200 m, L = (8, 6) Mbit, eta = (.5, .6), no motion, rho = 1."""
    made = system(num_agents=2, pairing="central")
    state = pair_state(made, 200.0, [8e6, 6e6])
    u = [controls(made, send=0.5), controls(made, keep=0.6)]
    new, told, reward = one_round(made, state, sends_to(made, 0, 1), u)
    assert told["agent_energy_j"] == pytest.approx([0.048 + 1.1467878e-3, 0.036], rel=1e-7)
    assert told["agent_time_left_s"] == pytest.approx([5.52, 5.52])
    assert told["send_j"] == pytest.approx(1.1467878e-3, rel=1e-7)
    assert told["agent_power_w"] == pytest.approx([2.07751e-4, 0.0], rel=1e-5)
    assert told["energy_j"] == pytest.approx(0.0851467878, rel=1e-9)
    assert new.payload_bit[0].tolist() == pytest.approx([0.0, 7.6e6])
    assert reward == pytest.approx(-0.0851467878 / 0.5)
    assert told["completed"] == 1.0
    assert told["root_bit"] == pytest.approx(7.6e6)


def test_pair_of_a_later_round_by_hand() -> None:
    """Item 20 with rho = (.3, .2): .306930246 J."""
    made = system(num_agents=2, pairing="central")
    state = pair_state(made, 200.0, [8e6, 6e6])
    state = state._replace(redundancy=torch.tensor([[0.3, 0.2]], **DOUBLE))
    u = [controls(made, send=0.5), controls(made, keep=0.6)]
    _, told, _ = one_round(made, state, sends_to(made, 0, 1), u)
    flop = work_flop(
        made.params, state.payload_bit, state.redundancy, torch.tensor([[0.5, 0.6]], **DOUBLE)
    )
    assert flop[0].tolist() == pytest.approx([1.8385685e9, 1.2181870e9], rel=1e-7)
    assert told["compute_j"] == pytest.approx(0.18385685 + 0.12181870, rel=1e-7)
    assert told["agent_time_left_s"] == pytest.approx([4.16143153] * 2, rel=1e-8)
    assert told["send_j"] == pytest.approx(1.2546940e-3, rel=1e-7)
    assert told["energy_j"] == pytest.approx(0.306930246, rel=1e-8)


@pytest.mark.parametrize("ratio", [0.2, 0.5])
def test_pair_under_stress_that_moves_every_term_by_hand(ratio: float) -> None:
    """Item 21: 20 and 16 Mbit, 10 m in 2 s and 5 m in 1.5 s towards each other, rho = (.3, .2).

    At .2 the link needs .64 W; at .5 more than P_max = 1 W, so it fails, but motion and work are
    spent.
    """
    made = system(preset="stress", num_agents=2, pairing="central")
    state = pair_state(made, 200.0, [20e6, 16e6])
    state = state._replace(redundancy=torch.tensor([[0.3, 0.2]], **DOUBLE))
    reach, spare = 5.0 * 2.3, 2.3  # v_max (T_max - 0.2)
    u = [
        controls(made, length=10.0 / reach, time=0.0, send=ratio),
        controls(made, angle=math.pi, length=5.0 / reach, time=1.5 / spare, keep=0.6),
    ]
    new, told, reward = one_round(made, state, sends_to(made, 0, 1), u)
    flop = [
        20e6 * (60 + 120 * 0.7 * math.log(1 / ratio)),
        16e6 * (60 + 120 * 0.8 * math.log(1 / 0.6)),
    ]
    spent = [
        0.2 * 2.0 + 0.05 * 10 + 0.01 * 100 / 2.0 + 6.25e-10 * flop[0],
        0.2 * 1.5 + 0.05 * 5 + 0.01 * 25 / 1.5 + 6.25e-10 * flop[1],
    ]
    left = 2.5 - max(2.0, flop[0] / 2.5e9, 1.5, flop[1] / 2.5e9)
    assert left == 0.5
    power = 3.98e-15 / (1e-5 * 185.0**-3) * (2.0 ** (ratio * 20e6 / (1e6 * left)) - 1.0)
    fails = ratio == 0.5
    assert (power > 1.0) == fails
    if not fails:
        assert power == pytest.approx(0.64, abs=0.005)
        spent[0] += power * left
    assert told["failures"] == fails
    assert told["agent_energy_j"] == pytest.approx(spent, rel=1e-9)
    payload = [20e6, 16e6] if fails else [0.0, 0.2 * 20e6 + 0.6 * 16e6]
    assert new.payload_bit[0].tolist() == pytest.approx(payload)
    assert new.position[0].tolist() == [
        pytest.approx([110.0, 250.0]),
        pytest.approx([295.0, 250.0]),
    ]
    assert reward == pytest.approx(-sum(spent) / 0.5 - fails)


def test_pair_under_stress_that_stays_every_term_by_hand() -> None:
    """Item 21 without motion: the link takes what compute leaves, 1.5342 s."""
    made = system(preset="stress", num_agents=2, pairing="central")
    state = pair_state(made, 200.0, [20e6, 16e6])
    state = state._replace(redundancy=torch.tensor([[0.3, 0.2]], **DOUBLE))
    u = [controls(made, send=0.4333840), controls(made, keep=0.6)]
    new, told, _ = one_round(made, state, sends_to(made, 0, 1), u)
    flop = [
        20e6 * (60 + 120 * 0.7 * math.log(1 / 0.4333840)),
        16e6 * (60 + 120 * 0.8 * math.log(1 / 0.6)),
    ]
    left = 2.5 - max(flop) / 2.5e9
    h = 1e-5 * 200.0**-3
    bits = 0.4333840 * 20e6
    power = 3.98e-15 / h * (2.0 ** (bits / (1e6 * left)) - 1.0)
    assert told["agent_time_left_s"] == pytest.approx([left, left], rel=1e-9)
    assert told["agent_power_w"] == pytest.approx([power, 0.0], rel=1e-6)
    assert told["energy_j"] == pytest.approx(power * left + 6.25e-10 * sum(flop), rel=1e-8)
    assert new.payload_bit[0].tolist() == pytest.approx([0.0, bits + 0.6 * 16e6])


def test_moving_after_computing_leaves_less_for_the_link() -> None:
    """Equation 15b read as a sum: T_mob + T_comp on each side."""
    left = {}
    for parallel in (True, False):
        made = system(num_agents=2, pairing="central", parallel_move_compute=parallel)
        state = pair_state(made, 200.0, [8e6, 6e6])
        u = [controls(made, length=0.2, time=0.5, send=0.5), controls(made)]
        _, told, _ = one_round(made, state, sends_to(made, 0, 1), u)
        left[parallel] = told["agent_time_left_s"][0]
    assert left[True] == pytest.approx(6.0 - 2.9)
    assert left[False] == pytest.approx(6.0 - 2.9 - 0.48)


def test_full_power_is_done_earlier_and_costs_more() -> None:
    """Max-Transmit-Power: S / R(P_max) seconds at 1 W; R = 11.6173313 Mbit/s over 200 m."""
    made = system(num_agents=2, pairing="central", power="max")
    state = pair_state(made, 200.0, [8e6, 6e6])
    u = [controls(made, send=0.5), controls(made, keep=0.6)]
    _, told, _ = one_round(made, state, sends_to(made, 0, 1), u)
    assert told["send_j"] == pytest.approx(4e6 / 1.16173313e7, rel=1e-8)
    assert told["agent_power_w"] == [1.0, 0.0]


def test_the_cost_of_pairs_on_the_grid_is_what_the_round_then_spends() -> None:
    """What the environment's own matching counts on is what a pair that stays really costs."""
    made = system(preset="stress", num_agents=2, pairing="central")
    state = pair_state(made, 250.0, [20e6, 16e6])
    state = state._replace(redundancy=torch.tensor([[0.3, 0.2]], **DOUBLE))
    distance = torch.tensor([[[0.0, 250.0], [250.0, 0.0]]], **DOUBLE)
    cost = grid_pair_cost(made.params, state.payload_bit, state.redundancy, distance)
    for i, j in ((0, 1), (1, 0)):
        u = [controls(made, keep=0.6)] * 2
        u[i] = controls(made, send=float(cost.ratio[0, i, j]))
        new, told, _ = one_round(made, state, sends_to(made, i, j), u)
        assert told["energy_j"] == pytest.approx(float(cost.energy_j[0, i, j]), rel=1e-9)
        held = float(cost.payload_bit[0, i, j])
        assert new.payload_bit[0, j].item() == pytest.approx(held, rel=1e-9)
