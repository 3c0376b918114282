"""The optimisers of RIS-NOMA: the dossier's checks, scipy, brute force, float32."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ris_noma_cases import (
    F64,
    NOISE_W,
    channel_of,
    model_of,
    random_links,
    random_surface,
    row,
    state_without_ris,
)
from scipy.optimize import minimize
from torch import Tensor

from sixgym.envs.backend.access import mmse_min_power, uncapped_sum_power
from sixgym.envs.backend.complex import Complex, norm2
from sixgym.envs.backend.ris import (
    aligned_phase,
    alignment_bound,
    effective_channel,
    quantise_phase,
    random_phase_mean_gain,
)
from sixgym.envs.core.make import make_system
from sixgym.envs.core.rows import Rows
from sixgym.envs.ris_noma.channel import Estimate
from sixgym.envs.ris_noma.controls import decode_action, encode_action, with_controls
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.optimisers import optimal_factor, order_cost, search_order
from sixgym.envs.ris_noma.physics import compute_energy
from sixgym.envs.ris_noma.solvers import (
    ao_ops,
    demand,
    preview,
    slot_value,
    solve_ao,
    solve_block,
    solve_extraction,
    solve_order,
    solve_ris,
    solver_ops,
)
from sixgym.envs.ris_noma.state import EXTRACTION, ORDER, SURFACE
from sixgym.envs.ris_noma.surface import SurfaceCost, coordinate_descent, optimal_surface


def gains_at(links: Estimate, surface: Tensor) -> Tensor:
    """(rows, users) gains with a surface."""
    return norm2(effective_channel(links.direct, links.cascaded, Complex(*surface.unbind(1))))


# ------------------------------------------------------------------------------------------ surface


@pytest.mark.parametrize("seed", range(3))
def test_t7_one_iteration_aligns_a_single_user_without_direct_path(seed: int) -> None:
    model = model_of(num_users=1, num_elements=16, ris_iterations=1)
    _, cascaded = random_links(model, 4, seed)
    size = 0.7
    phase = torch.atan2(cascaded.im, cascaded.re)
    links = Estimate(
        Complex(torch.zeros(4, 1, 1, dtype=F64), torch.zeros(4, 1, 1, dtype=F64)),
        Complex(size * phase.cos(), size * phase.sin()),
    )
    start = random_surface(model, 4, seed + 10)
    bits, order = torch.full((4, 1), 1e4, dtype=F64), torch.zeros(4, 1, dtype=torch.int64)
    surface = optimal_surface(model, links, start, bits, order)
    expected = torch.full((4, 1), (16 * size) ** 2, dtype=F64)
    torch.testing.assert_close(gains_at(links, surface), expected, rtol=1e-12, atol=0)
    # Mean over random phases N a^2, so aligned over mean random is N.
    mean = random_phase_mean_gain(links.direct, links.cascaded)
    torch.testing.assert_close(expected / mean, torch.full((4, 1), 16.0, dtype=F64))


def test_t7_mean_gain_over_random_phases() -> None:
    model = model_of(num_users=2, num_elements=8)
    direct, cascaded = random_links(model, 1, seed=3)
    links = Estimate(
        Complex(*(part.expand(40_000, -1, -1) for part in direct)),
        Complex(*(part.expand(40_000, -1, -1, -1) for part in cascaded)),
    )
    gains = gains_at(links, random_surface(model, 40_000, seed=4)).mean(0)
    expected = random_phase_mean_gain(direct, cascaded)[0]
    torch.testing.assert_close(gains, expected, rtol=0.03, atol=0)


def test_t7_alignment_with_a_direct_path() -> None:
    # |d| = 3e-5 and sum |A| = 1.6e-5 (amplitudes): 20 iterations reach |d| + sum|A| to 1e-6.
    model = model_of(num_users=1, num_elements=32, ris_iterations=20)
    direct, cascaded = random_links(model, 8, seed=5)
    sigma = math.sqrt(NOISE_W)
    d_scale = 3e-5 / sigma / norm2(direct).sqrt().unsqueeze(-1)
    a_abs = (cascaded.re.square() + cascaded.im.square()).sqrt()
    a_scale = 1.6e-5 / sigma / a_abs.sum(2, keepdim=True)
    links = Estimate(
        Complex(direct.re * d_scale, direct.im * d_scale),
        Complex(cascaded.re * a_scale, cascaded.im * a_scale),
    )
    best = alignment_bound(links.direct, links.cascaded)
    torch.testing.assert_close(best.sqrt() * sigma, torch.full_like(best, 4.6e-5))
    bits, order = torch.full((8, 1), 1e4, dtype=F64), torch.zeros(8, 1, dtype=torch.int64)
    surface = optimal_surface(model, links, random_surface(model, 8, 6), bits, order)
    amplitude = gains_at(links, surface).sqrt()
    torch.testing.assert_close(amplitude, best.sqrt(), rtol=1e-6, atol=0)
    phase = aligned_phase(
        Complex(links.direct.re[:, 0, 0], links.direct.im[:, 0, 0]),
        Complex(links.cascaded.re[:, 0, :, 0], links.cascaded.im[:, 0, :, 0]),
    )
    exact = torch.stack([phase.cos(), phase.sin()], 1)
    torch.testing.assert_close(gains_at(links, exact), best, rtol=1e-12, atol=0)


def cost_at(cost: SurfaceCost, surface: Tensor) -> Tensor:
    return cost.of_channels(cost.channels(cost.stack(surface)))[:, 0]


@pytest.mark.parametrize(
    ("users", "elements", "antennas", "mode"),
    [
        (1, 8, 1, "min_power"),
        (4, 16, 1, "min_power"),
        (3, 8, 3, "min_power"),
        (2, 6, 1, "fixed_power"),
    ],
)
def test_t8_both_surface_optimisers_never_raise_the_cost(
    users: int, elements: int, antennas: int, mode: str
) -> None:
    for seed in range(3):
        model = model_of(
            num_users=users,
            num_elements=elements,
            num_antennas=antennas,
            tx_mode=mode,
            ris_iterations=1,
        )
        direct, cascaded = random_links(model, 8, seed)
        links = Estimate(direct, cascaded)
        generator = torch.Generator().manual_seed(seed)
        bits = torch.rand(8, users, generator=generator, dtype=F64) * 2e4
        order = torch.rand(8, users, generator=generator).argsort(-1)
        cost = SurfaceCost(model, links, bits, order)
        surface = random_surface(model, 8, seed)
        value = first = cost_at(cost, surface)
        for _ in range(10):
            surface = optimal_surface(model, links, surface, bits, order)
            torch.testing.assert_close(surface.square().sum(1), torch.ones(8, elements, dtype=F64))
            new = cost_at(cost, surface)
            assert bool((new <= value * (1 + 1e-12)).all())
            value = new
        assert bool((value < first).all())
        for refine in (False, True):
            swept = coordinate_descent(cost, surface, 16, sweeps=1, refine=refine)
            new = cost_at(cost, swept)
            assert bool((new <= value * (1 + 1e-12)).all())
            surface, value = swept, new


@pytest.mark.parametrize(("bits", "kept"), [(1, 0.40528), (2, 0.81057), (3, 0.94964)])
def test_t8_power_kept_by_few_bits(bits: int, kept: float) -> None:
    # K = 1, d = 0: phases rounded from the aligned ones; 20000 elements of equal size.
    generator = torch.Generator().manual_seed(bits)
    phase = torch.rand(20_000, generator=generator, dtype=F64) * 2 * math.pi
    rest = quantise_phase(-phase, bits) + phase
    power = (rest.cos().mean() ** 2 + rest.sin().mean() ** 2).item()
    assert (2**bits / math.pi * math.sin(math.pi / 2**bits)) ** 2 == pytest.approx(kept, abs=6e-6)
    assert power == pytest.approx(kept, rel=0.02)


def test_surface_with_few_bits_stays_on_its_grid_and_beats_plain_rounding() -> None:
    model = model_of(num_elements=16, ris_bits=1)
    smooth = model_of(num_elements=16)
    direct, cascaded = random_links(model, 16, seed=8)
    links = Estimate(direct, cascaded)
    bits = torch.full((16, 4), 6e3, dtype=F64)
    order = torch.arange(4).expand(16, -1)
    start = random_surface(model, 16, 9)
    surface = optimal_surface(model, links, start, bits, order)
    assert bool((surface[:, 0].abs() - 1.0).abs().max() < 1e-12)
    free = optimal_surface(smooth, links, start, bits, order)
    phase = quantise_phase(torch.atan2(free[:, 1], free[:, 0]), 1)
    rounded = torch.stack([phase.cos(), phase.sin()], 1)
    cost = SurfaceCost(model, links, bits, order)
    assert bool((cost_at(cost, surface) <= cost_at(cost, rounded) * (1 + 1e-12)).all())


def test_surface_is_close_to_many_restarts_of_coordinate_descent() -> None:
    model = model_of(num_elements=12, ris_iterations=60)
    direct, cascaded = random_links(model, 6, seed=11, ris_gain=2e-11)
    links = Estimate(direct, cascaded)
    bits = torch.full((6, 4), 6e3, dtype=F64)
    order = torch.arange(4).expand(6, -1)
    cost = SurfaceCost(model, links, bits, order)
    value = cost_at(cost, optimal_surface(model, links, random_surface(model, 6, 0), bits, order))
    best = torch.full((6,), math.inf, dtype=F64)
    for seed in range(6):
        start = random_surface(model, 6, seed)
        best = torch.minimum(best, cost_at(cost, coordinate_descent(cost, start, 16, 3, True)))
    assert bool((value <= best * 1.25).all())
    assert (value / best).mean().item() < 1.05


def test_idle_users_still_get_a_surface() -> None:
    system = make_system("sixgym.envs.ris_noma:RisNomaSelect", dtype="float64")
    rows = Rows(system, 8)
    rows.start(seeds=torch.arange(8))
    users = rows.state.users.clone()
    users[..., 2:4] = 0.0
    users[..., 4:] = 0.0
    state = rows.state._replace(users=users)
    assert demand(system.model, state).abs().max() == 0
    surface = solve_ris(system.model, state).surface
    torch.testing.assert_close(surface.square().sum(1), torch.ones_like(surface[:, 0]))
    assert not torch.equal(surface, state.surface)


# --------------------------------------------------------------------------------------- extraction

T9 = [
    (2e4, 1e-10, 0.2, 0.463188, 0.288155),
    (2e4, 1e-9, 0.382547, 0.118015, 0.061326),
    (2e4, 1e-8, 0.598715, 0.026620, 0.009330),
    (4e4, 1e-9, 0.406613, 0.533301, 0.402965),
    (6e4, 1e-9, 0.387189, 1.502616, 1.594223),
]


def energies(model: Model, gains: list[float], x: Tensor, s: Tensor, order: Tensor) -> Tensor:
    """(transmit, compute) energy in mJ of semantic bits s from volumes x."""
    power = uncapped_sum_power(row(gains), model.beta * s, order, NOISE_W)
    compute = compute_energy(model, x, -torch.log(s / x)).sum(-1)
    weight = model.transmit_s / model.params.amplifier_efficiency
    return 1e3 * torch.stack([weight * power, compute]).squeeze(-1)


@pytest.mark.parametrize(("x", "gain", "rho", "transmit", "compute"), T9)
def test_t9_factor_of_one_user(
    x: float, gain: float, rho: float, transmit: float, compute: float
) -> None:
    model = model_of(num_users=1, num_elements=0, max_power_w=10.0)
    order = torch.tensor([[0]])
    found = optimal_factor(model, channel_of([gain]), row([0.0]), row([x]), row([0.5]), order)
    assert found.item() == pytest.approx(rho, abs=1e-6)
    spent = energies(model, [gain], row([x]), found * x, order)
    assert spent[0].item() == pytest.approx(transmit, abs=2e-6)
    assert spent[1].item() == pytest.approx(compute, abs=2e-6)


@pytest.mark.parametrize("halvings", [1, 2, 3, 4, 5, 6, 13, 30])
def test_many_halvings_at_once_are_the_plain_ones(halvings: int) -> None:
    model = model_of(num_users=1, num_elements=0, extraction_bisections=halvings)
    gain, x = 1e-9, 2e4
    found = optimal_factor(
        model, channel_of([gain]), row([0.0]), row([x]), row([0.5]), torch.tensor([[0]])
    )
    low, high = 0.2, 1.0
    for _ in range(halvings):
        middle = 0.5 * (low + high)
        transmit = 5e-3 / 0.8 * model.beta * NOISE_W / gain * math.exp(model.beta * x * middle)
        saved = 3e-27 * (60 * x) ** 3 / 25e-6 * math.log(middle) ** 2 / (x * middle)
        low, high = (middle, high) if transmit < saved else (low, middle)
    assert found.item() == pytest.approx(0.5 * (low + high), rel=1e-12)


def test_t9_limits_of_the_factor() -> None:
    model = model_of(num_users=1, num_elements=0)
    order = torch.tensor([[0]])
    best = optimal_factor(model, channel_of([1e3]), row([0.0]), row([2e4]), row([0.5]), order)
    worst = optimal_factor(model, channel_of([1e-20]), row([0.0]), row([2e4]), row([0.5]), order)
    assert best.item() > 0.999
    assert worst.item() == pytest.approx(0.2, abs=1e-9)


def test_t10_factors_of_two_users() -> None:
    gains, x = [4e-9, 1e-9], row([2e4, 2e4])
    order = torch.tensor([[0, 1]])
    for sweeps, expected, tolerance in (
        (12, (8467.70, 6842.22), 6e-3),
        (2, (8440.9, 6845.7), 6e-2),
    ):
        model = model_of(num_users=2, num_elements=0, extraction_sweeps=sweeps)
        rho = optimal_factor(model, channel_of(gains), row([0, 0]), x, row([0.5, 0.5]), order)
        s = rho * 2e4
        torch.testing.assert_close(s, row(expected), rtol=0, atol=tolerance)
        if sweeps == 12:
            assert energies(model, gains, x, s, order).sum().item() == pytest.approx(
                0.3181969990, rel=1e-9
            )
            power = uncapped_sum_power(row(gains), model.beta * s, order, NOISE_W)
            assert power.item() == pytest.approx(0.0144232 + 0.0158192, abs=1e-7)


@pytest.mark.parametrize("workload", ["log", "linear", "power"])
@pytest.mark.parametrize("cpu_law", ["dvfs", "linear"])
def test_factors_are_those_of_l_bfgs_b(workload: str, cpu_law: str) -> None:
    """A joint minimisation by scipy, from several starts, finds no lower energy."""
    model = model_of(
        num_users=3,
        num_elements=0,
        workload=workload,
        cpu_law=cpu_law,
        extraction_sweeps=30,
        extraction_bisections=50,
    )
    gains, x, queue = [8e-9, 2e-9, 6e-10], row([2e4, 3e4, 1e4]), row([2e3, 0.0, 5e3])
    order = torch.tensor([[0, 1, 2]])
    rho = optimal_factor(model, channel_of(gains), queue, x, row([0.5] * 3), order)

    def energy(factors: Tensor) -> Tensor:
        from sixgym.envs.backend.compute import workload as load

        nats = model.beta * (queue + factors * x)
        power = uncapped_sum_power(row(gains), nats, order, NOISE_W)
        compute = compute_energy(model, x, load(factors, model.params.workload)).sum(-1)
        return 1e3 * (model.transmit_s / 0.8 * power + compute)

    def with_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
        factors = torch.tensor(point, dtype=F64).unsqueeze(0).requires_grad_()
        value = energy(factors)
        (gradient,) = torch.autograd.grad(value.sum(), factors)
        return value.item(), gradient[0].numpy()

    bounds = [(0.2, 1.0)] * 3
    starts = [[0.3] * 3, [0.9] * 3, [0.25, 0.6, 0.95]]
    best = min(
        minimize(
            with_gradient,
            np.array(s),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 1e-15, "gtol": 1e-12},
        ).fun
        for s in starts
    )
    assert energy(rho).item() <= best * (1 + 1e-12)
    assert energy(rho).item() == pytest.approx(best, rel=1e-9)


def test_factor_search_with_two_antennas_agrees_with_the_single_antenna_equation() -> None:
    # A second antenna that hears nothing changes no SINR.
    one = model_of(num_users=2, num_elements=0)
    two = model_of(num_users=2, num_elements=0, num_antennas=2)
    channel = channel_of([4e-9, 1e-9])
    wide = Complex(*(torch.cat([part, torch.zeros_like(part)], -1) for part in channel))
    arguments = (row([1e3, 0.0]), row([2e4, 3e4]), row([0.5, 0.5]), torch.tensor([[0, 1]]))
    exact = optimal_factor(one, channel, *arguments)
    searched = optimal_factor(two, wide, *arguments)
    torch.testing.assert_close(searched, exact, rtol=1e-6, atol=0)


def test_factor_at_fixed_power_balances_airtime_and_cycles() -> None:
    model = model_of(num_users=1, num_elements=0, tx_mode="fixed_power")
    gain, x = 1e-9, 2e4
    rate = 1e6 * math.log2(11.0)
    found = optimal_factor(
        model, channel_of([gain]), row([0.0]), row([x]), row([0.5]), torch.tensor([[0]])
    ).item()
    grid = np.linspace(0.2, 1.0, 200_001)
    fits = grid * x <= rate * 5e-3
    energy = 0.1 / 0.8 * grid * x / rate + 1e-27 * (60 * x * -np.log(grid)) ** 3 / 25e-6
    assert found == pytest.approx(grid[fits][energy[fits].argmin()], abs=1e-4)


def test_users_without_data_keep_their_factor() -> None:
    model = model_of(num_users=2, num_elements=0)
    state = state_without_ris(model, [4e-9, 1e-9], buckets=[[0] * 4, [0, 0, 0, 4e4]], rho=0.77)
    solved = solve_extraction(model, state)
    assert solved.rho[0, 0].item() == 0.77
    assert solved.rho[0, 1].item() != 0.77
    assert solved.volume_bits.tolist() == [[0.0, 1e4]]


# -------------------------------------------------------------------------------------------- order


@given(
    st.lists(st.floats(-10.5, -7.5), min_size=4, max_size=4, unique=True),
    st.lists(st.floats(1e2, 1.5e4), min_size=4, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_falling_gains_are_the_cheapest_of_all_orders(
    log_gains: list[float], bits: list[float]
) -> None:
    model = model_of(num_elements=0)
    gains = [10.0**g for g in log_gains]
    energy = [
        uncapped_sum_power(
            row(gains), model.beta * row(bits), torch.tensor([order]), NOISE_W
        ).item()
        for order in itertools.permutations(range(4))
    ]
    state = state_without_ris(model, gains, buckets=[[b, 0, 0, 0] for b in bits], rho=1.0)
    order = solve_order(model, state).order
    chosen = uncapped_sum_power(row(gains), model.beta * row(bits), order, NOISE_W).item()
    assert chosen <= min(energy) * (1 + 1e-9)


def test_order_search_of_several_antennas_is_the_brute_force_minimum() -> None:
    model = model_of(num_users=4, num_antennas=2, num_elements=0)
    channel, _ = random_links(model, 5, seed=2)
    bits = torch.rand(5, 4, generator=torch.Generator().manual_seed(0), dtype=F64) * 1e4
    found = search_order(channel, order_cost(model, bits))
    target = torch.expm1(model.beta * bits)
    for i in range(5):
        one = Complex(channel.re[i : i + 1], channel.im[i : i + 1])
        sums = {
            order: mmse_min_power(one, target[i : i + 1], torch.tensor([order]), 1.0, math.inf)
            .power_w.sum()
            .item()
            for order in itertools.permutations(range(4))
        }
        assert tuple(found[i].tolist()) == min(sums, key=lambda o: sums[o])


def test_order_search_beyond_six_users_finds_the_sort() -> None:
    model = model_of(num_users=8, num_elements=0)
    channel, _ = random_links(model, 3, seed=4)
    bits = torch.full((3, 8), 3e3, dtype=F64)
    found = search_order(channel, order_cost(model, bits))
    assert torch.equal(found, norm2(channel).argsort(-1, descending=True))


def test_priced_order_never_delivers_at_a_worse_price_than_the_sort() -> None:
    for mode in ("min_power", "fixed_power"):
        system = make_system(
            "sixgym.envs.ris_noma:RisNomaSelect",
            dtype="float64",
            order_rule="priced",
            max_power_w=0.05,
            tx_mode=mode,
        )
        rows = Rows(system, 16)
        rows.start(seeds=torch.arange(16))
        for _ in range(4):
            rows.advance(torch.zeros(16, dtype=torch.int64))
        state = rows.state
        _, priced = preview(system.model, with_controls(state, solve_order(system.model, state)))
        gain = norm2(system_channel(system, state))
        plain = state.controls._replace(order=gain.argsort(-1, descending=True))
        _, sorted_ = preview(system.model, with_controls(state, plain))

        def value(slot: object) -> Tensor:
            return 29e6 * slot.transmit_j.sum(-1) - slot.delivered_bits.sum(-1)  # type: ignore[attr-defined]

        assert bool((value(priced) <= value(sorted_) + 1e-6).all())


def system_channel(system: object, state: object) -> Complex:
    from sixgym.envs.ris_noma.channel import true_channel

    return true_channel(system.model, state.links, state.surface)  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------ all three together


def started(dtype: str = "float64", rows: int = 32, **params: object) -> tuple[Model, Rows]:
    system = make_system("sixgym.envs.ris_noma:RisNomaSelect", dtype=dtype, **params)
    world = Rows(system, rows)
    world.start(seeds=torch.arange(rows))
    for i in range(6):
        world.advance(torch.full((rows,), i % 3))
    return system.model, world


def test_every_block_improves_the_slot_and_ao_improves_most() -> None:
    # The blocks minimise the energy of uncapped powers, so the cap is lifted here, and the
    # volume is the same everywhere, so that energies compare.
    model, world = started(max_power_w=100.0)
    state = world.state
    state = with_controls(state, solve_extraction(model, state))
    users = state.users.clone()
    users[..., 1] = 0.5
    held = state._replace(users=users)

    def energy(controls_state: object) -> Tensor:
        _, slot = preview(model, controls_state)  # type: ignore[arg-type]
        return (slot.transmit_j + slot.compute_j).sum(-1)

    base = energy(held).mean()
    for block in (EXTRACTION, SURFACE, ORDER):
        assert energy(with_controls(held, solve_block(model, held, block))).mean() < base
    one = energy(with_controls(held, solve_ao(model, held, 1))).mean()
    two = energy(with_controls(held, solve_ao(model, held, 2))).mean()
    assert two <= one * 1.001 < base


def test_value_of_a_slot_is_the_unscaled_reward() -> None:
    model, world = started(fading_correlation=1.0)
    before = world.state
    out = world.advance(torch.full((32,), ORDER))
    _, slot = preview(model, with_controls(before, solve_order(model, before)))
    torch.testing.assert_close(slot_value(model, slot) / model.mean_bits, out.reward)


def test_controls_survive_encoding_as_an_action() -> None:
    model, world = started()
    state = world.state
    controls = solve_ao(model, state, 1)
    action = encode_action(model, state, controls)
    assert action.abs().max() <= 1.0
    again = decode_action(model, state, action)
    torch.testing.assert_close(again.volume_bits, controls.volume_bits, rtol=1e-9, atol=1e-6)
    torch.testing.assert_close(again.rho, controls.rho)
    torch.testing.assert_close(again.surface, controls.surface)
    assert torch.equal(again.order, controls.order)


def test_nominal_operations() -> None:
    model = model_of()
    assert solver_ops(model, EXTRACTION) == 2 * 4 * 30 * 4
    assert solver_ops(model, SURFACE) == 5 * 32 * 4 * 2
    assert solver_ops(model, ORDER) == 4 * 2
    assert solver_ops(model_of(tx_mode="fixed_power"), ORDER) == 24 * 4
    assert ao_ops(model, 2) == 2 * (960 + 1280 + 8) + 8


def test_float32_and_float64_solve_alike() -> None:
    """Stated tolerances: factors 1e-3 absolute, cost of the surface 1e-3 relative, order equal."""
    model, world = started(rows=256)
    state = world.state
    single = model_of(torch.float32, hold="rate")
    low = type(state)(*(t.float() if t.is_floating_point() else t for t in state))
    high_c, low_c = solve_extraction(model, state), solve_extraction(single, low)
    torch.testing.assert_close(low_c.rho.double(), high_c.rho, rtol=0, atol=1e-3)
    torch.testing.assert_close(low_c.volume_bits.double(), high_c.volume_bits, rtol=1e-6, atol=1e-2)
    assert torch.equal(solve_order(single, low).order, solve_order(model, state).order)
    from sixgym.envs.ris_noma.channel import estimate

    cost = SurfaceCost(model, estimate(model, state.links), demand(model, state), state.order)
    at_high = cost_at(cost, solve_ris(model, state).surface)
    at_low = cost_at(cost, solve_ris(single, low).surface.double())
    ratio = at_low / at_high
    assert (ratio - 1.0).abs().max().item() < 1e-3


@pytest.mark.parametrize("rho", [0.2, 1.0])
def test_solvers_stay_finite_where_the_backlog_is_huge(rho: float) -> None:
    # Unclipped sums of y reach 166 here: exponents overflow float32 unless taken in logarithms.
    system = make_system("sixgym.envs.ris_noma:RisNomaSelect")
    rows = Rows(system, 16)
    rows.start(seeds=torch.arange(16))
    users = rows.state.users.clone()
    users[..., 0] = 2.4e5
    users[..., 1] = rho
    users[..., 2] = users[..., 3] = 6e4
    users[..., 4:] = 6e4
    state = rows.state._replace(users=users)
    assert (system.model.beta * demand(system.model, state)).sum(-1).max() > (
        100 if rho == 1 else 30
    )
    for block in (EXTRACTION, SURFACE, ORDER):
        controls = solve_block(system.model, state, block)
        for value in controls:
            assert bool(torch.isfinite(value).all())
        size = controls.surface.square().sum(1)
        torch.testing.assert_close(size, torch.ones_like(size), rtol=1e-5, atol=0)
