"""Analytic checks of the RIS-NOMA dossier (section 7) on the physics of one slot, in float64."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ris_noma_cases import F64, NOISE_W, channel_of, model_of, random_links, row, state_without_ris

from sixgym.envs.backend.access import (
    min_power,
    mmse_min_power,
    mmse_sic_sinr,
    sic_sinr,
    tdma_min_power,
    uncapped_sum_power,
)
from sixgym.envs.backend.complex import Complex, norm2, to_torch
from sixgym.envs.backend.queueing import optimal_available
from sixgym.envs.ris_noma.channel import mean_gains
from sixgym.envs.ris_noma.optimisers import order_cost, search_order
from sixgym.envs.ris_noma.physics import (
    fixed_power_rate,
    needed_power,
    serve,
    target_sinr,
    transmit,
)
from sixgym.envs.ris_noma.solvers import preview, solve_order


def test_t1_least_power_of_one_user() -> None:
    model = model_of(num_users=1, num_elements=0)
    bits = row([1e4])
    assert model.beta == pytest.approx(1.3862943611198905e-4, rel=1e-12)
    assert target_sinr(model, bits).item() == pytest.approx(3.0, rel=1e-12)
    sent = transmit(model, channel_of([1e-9]), bits, torch.tensor([[0]]))
    assert sent.power_w.item() == pytest.approx(0.03, rel=1e-12)
    assert sent.energy_j.item() == pytest.approx(1.875e-4, rel=1e-12)


def test_t2_path_gains() -> None:
    model = model_of()
    assert model.path_gain(40.0, 3.5) == pytest.approx(2.47052942e-9, rel=1e-8)
    assert model.path_gain(10.0, 2.2) == pytest.approx(6.30957344e-6, rel=1e-8)
    assert model.path_gain(40.0, 2.2) == pytest.approx(2.98860156e-7, rel=1e-8)
    # Section 4, at the centre of the disc: -96.408, -54.598 and -65.535 dB.
    gains = mean_gains(model, torch.tensor([[[40.0, 0.0]]], dtype=F64))
    assert 10 * math.log10(gains.direct.item() * NOISE_W) == pytest.approx(-96.408, abs=5e-4)
    assert 10 * math.log10(gains.user_ris.item()) == pytest.approx(-54.598, abs=5e-4)
    assert 10 * math.log10(model.ris_ap_gain * NOISE_W) == pytest.approx(-65.535, abs=5e-4)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_t3_sum_rate_does_not_depend_on_the_order(order: tuple[int, ...]) -> None:
    received = row([3.0, 1.0, 0.5])
    rate = torch.log2(1.0 + sic_sinr(received, torch.tensor([order]), 1.0))
    assert rate.sum().item() == pytest.approx(2.4594316186, rel=1e-10)
    if order == (0, 1, 2):
        expected = row([1.1375035237, 0.7369655942, 0.5849625007])
        torch.testing.assert_close(rate, expected, rtol=1e-9, atol=0)


def test_t3_sum_rate_of_several_antennas_is_log_det() -> None:
    model = model_of(num_users=3, num_antennas=2, num_elements=0)
    channel, _ = random_links(model, 1, seed=1)
    power = row([0.1, 0.05, 0.2])
    h = to_torch(channel)[0]
    covariance = torch.eye(2, dtype=h.dtype)
    covariance = covariance + sum(power[0, k] * torch.outer(h[k], h[k].conj()) for k in range(3))
    expected = torch.log2(torch.linalg.det(covariance).real).item()
    for order in itertools.permutations(range(3)):
        sinr = mmse_sic_sinr(channel, power, torch.tensor([order]), 1.0)
        assert torch.log2(1.0 + sinr).sum().item() == pytest.approx(expected, rel=1e-10)


T4_SUMS = {
    (0, 1, 2): 0.27,
    (0, 2, 1): 0.375,
    (1, 0, 2): 0.33,
    (1, 2, 0): 0.3825,
    (2, 0, 1): 0.585,
    (2, 1, 0): 0.5925,
}
T4_POWERS = {(0, 1, 2): (0.08, 0.12, 0.07), (2, 1, 0): (0.0025, 0.03, 0.56)}


@pytest.mark.parametrize("order", list(T4_SUMS))
def test_t4_uncapped_powers_by_order(order: tuple[int, ...]) -> None:
    model = model_of(num_users=3, num_elements=0)
    gains, targets = row([4e-9, 2e-9, 1e-9]), row([1.0, 3.0, 7.0])
    permutation = torch.tensor([order])
    power = min_power(gains, targets, permutation, NOISE_W, math.inf).power_w
    assert ((power * gains).sum() / NOISE_W).item() == pytest.approx(63.0, rel=1e-12)
    assert power.sum().item() == pytest.approx(T4_SUMS[order], rel=1e-12)
    if order in T4_POWERS:
        torch.testing.assert_close(power, row(T4_POWERS[order]), rtol=1e-12, atol=0)
    # The closed form of section 1.5 in Y_i.
    closed = uncapped_sum_power(gains, torch.log1p(targets), permutation, NOISE_W)
    assert closed.item() == pytest.approx(T4_SUMS[order], rel=1e-12)
    bits = torch.log1p(targets) / model.beta
    needed = needed_power(model, channel_of([4e-9, 2e-9, 1e-9]), bits, permutation, math.inf)
    torch.testing.assert_close(needed.power_w, power, rtol=1e-12, atol=0)


def test_t4_both_order_solvers_choose_falling_gains() -> None:
    model = model_of(num_users=3, num_elements=0)
    bits = torch.log1p(row([1.0, 3.0, 7.0])) / model.beta
    channel = channel_of([4e-9, 2e-9, 1e-9])
    assert search_order(channel, order_cost(model, bits)).tolist() == [[0, 1, 2]]
    state = state_without_ris(model, [4e-9, 2e-9, 1e-9], buckets=[[0] * 4] * 3, order=(2, 0, 1))
    assert solve_order(model, state).order.tolist() == [[0, 1, 2]]


def test_t5_two_users() -> None:
    gains, targets = row([4.0, 1.0]), row([1.0, 1.0])
    for order, total in (((0, 1), 1.5), ((1, 0), 2.25)):
        power = min_power(gains, targets, torch.tensor([order]), 1.0, math.inf).power_w
        assert power.sum().item() == pytest.approx(total, rel=1e-12)


def test_t6_two_antennas() -> None:
    half = math.sqrt(0.5)
    channel = Complex(
        torch.tensor([[[1.0, 0.0], [half, half]]], dtype=F64), torch.zeros(1, 2, 2, dtype=F64)
    )
    power = mmse_min_power(channel, row([1.0, 1.0]), torch.tensor([[0, 1]]), 1.0, math.inf).power_w
    torch.testing.assert_close(power, row([4.0 / 3.0, 1.0]), rtol=1e-12, atol=0)
    h = to_torch(channel)[0]
    covariance = torch.eye(2, dtype=h.dtype)
    covariance = covariance + sum(power[0, k] * torch.outer(h[k], h[k].conj()) for k in range(2))
    assert torch.linalg.det(covariance).real.item() == pytest.approx(4.0, rel=1e-12)


def test_t6_orthogonal_channels_need_what_they_need_alone() -> None:
    channel = Complex(
        torch.tensor([[[2.0, 0.0], [0.0, 3.0]]], dtype=F64), torch.zeros(1, 2, 2, dtype=F64)
    )
    targets = row([1.5, 4.0])
    for order in ((0, 1), (1, 0)):
        power = mmse_min_power(channel, targets, torch.tensor([order]), 1.0, math.inf).power_w
        torch.testing.assert_close(power, targets / norm2(channel), rtol=1e-12, atol=0)


def test_t6_one_antenna_is_the_same_by_both_receivers() -> None:
    channel = channel_of([4e-9, 2e-9, 1e-9])
    targets, order = row([1.0, 3.0, 7.0]), torch.tensor([[1, 2, 0]])
    many = mmse_min_power(channel, targets, order, 1.0, 0.2)
    one = min_power(norm2(channel), targets, order, 1.0, 0.2)
    torch.testing.assert_close(many.power_w, one.power_w, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("buckets", "volume"),
    [((6, 0, 0, 0), 6), ((2, 6, 0, 0), 4), ((0, 0, 0, 8), 2), ((1, 1, 4, 10), 4)],
)
def test_t11_optimal_available_volume(buckets: tuple[float, ...], volume: float) -> None:
    assert optimal_available(row(buckets)).item() == volume


def test_t11_a_burst_is_served_in_equal_parts() -> None:
    model = model_of(num_users=1, num_elements=0, hold="queue")
    state = state_without_ris(model, [1e-8], buckets=[[0, 0, 0, 4e4]])
    for _ in range(4):
        state, slot = preview(model, state)
        assert slot.volume_bits.item() == 1e4
    assert state.backlog_bits.sum().item() == 0.0


def test_t12_spreading_an_extraction_over_n_slots_costs_n_squared_less() -> None:
    once = model_of(num_users=1, num_elements=0, window_slots=1)
    spread = model_of(num_users=1, num_elements=0, hold="queue")
    _, slot = preview(once, state_without_ris(once, [1e-8], buckets=[[4e4]]))
    state = state_without_ris(spread, [1e-8], buckets=[[0, 0, 0, 4e4]])
    total = 0.0
    for _ in range(4):
        state, part = preview(spread, state)
        total += part.compute_j.item()
    assert slot.compute_j.item() / total == pytest.approx(16.0, rel=1e-12)


def test_t12_the_processor_limits_the_volume() -> None:
    model = model_of(num_users=1, num_elements=0)
    state = state_without_ris(model, [1e-8], buckets=[[3e5, 0, 0, 0]], rho=0.2)
    _, slot = preview(model, state)
    assert slot.volume_bits.item() == pytest.approx(77666.867, abs=5e-4)
    assert slot.dropped_bits.item() == pytest.approx(222333.133, abs=5e-4)
    assert slot.compute_j.item() == pytest.approx(0.016875, rel=1e-12)


def test_t13_noma_and_tdma_at_given_gains() -> None:
    model = model_of(num_elements=0)
    nats = row([math.log(2.0)] * 4)
    order = torch.tensor([[0, 1, 2, 3]])

    def noma(gains: list[float]) -> float:
        return (
            needed_power(model, channel_of(gains), nats / model.beta, order, math.inf)
            .power_w.sum()
            .item()
        )

    def tdma(gains: list[float]) -> float:
        gain = row(gains)
        return tdma_min_power(gain, nats, NOISE_W, math.inf, 0.25).power_w.mean().item()

    assert noma([2e-9] * 4) == pytest.approx(0.075, rel=1e-12)
    assert tdma([2e-9] * 4) == pytest.approx(0.075, rel=1e-12)
    assert noma([8e-9, 4e-9, 2e-9, 1e-9]) == pytest.approx(0.04, rel=1e-12)
    assert tdma([8e-9, 4e-9, 2e-9, 1e-9]) == pytest.approx(0.0703125, rel=1e-12)
    assert noma([1e-9, 2e-9, 4e-9, 8e-9]) == pytest.approx(0.10625, rel=1e-12)


@given(
    st.lists(st.floats(-11.0, -7.0), min_size=2, max_size=6),
    st.floats(1e-3, 3.0),
)
@settings(max_examples=100, deadline=None)
def test_t13_tdma_lies_between_the_two_orders(log_gains: list[float], nats: float) -> None:
    gains = row(sorted((10.0**g for g in log_gains), reverse=True))
    users = gains.shape[-1]
    demand = torch.full_like(gains, nats)
    down = torch.arange(users).unsqueeze(0)
    descending = uncapped_sum_power(gains, demand, down, NOISE_W).item()
    ascending = uncapped_sum_power(gains, demand, down.flip(-1), NOISE_W).item()
    tdma = tdma_min_power(gains, demand, NOISE_W, math.inf, 1.0 / users).power_w.mean().item()
    assert descending <= tdma * (1 + 1e-9)
    assert tdma <= ascending * (1 + 1e-9)


def test_t14_golden_slot() -> None:
    model = model_of(num_users=1, num_elements=0)
    state = state_without_ris(model, [1e-9], buckets=[[2e4, 0, 0, 0]])
    _, slot = preview(model, state)
    energy = slot.transmit_j + slot.compute_j + model.static_j
    cycles = 60.0 * 2e4 * math.log(2.0)
    assert cycles == pytest.approx(831776.617, rel=1e-9)
    assert slot.compute_j.item() == pytest.approx(2.30186639e-5, rel=1e-8)
    assert slot.power_w.item() == pytest.approx(0.03, rel=1e-12)
    assert slot.transmit_j.item() == pytest.approx(1.875e-4, rel=1e-12)
    assert model.static_j == pytest.approx(5e-5, rel=1e-12)
    assert energy.item() == pytest.approx(2.60518664e-4, rel=1e-8)
    assert (slot.useful_bits / energy).item() == pytest.approx(76.7699316e6, rel=1e-8)


def test_t15_a_capped_user_keeps_the_rest() -> None:
    model = model_of(num_users=1, num_elements=0)
    state = state_without_ris(model, [1e-10], buckets=[[4e4, 0, 0, 0]])
    uncapped = needed_power(model, channel_of([1e-10]), row([2e4]), state.order, math.inf)
    assert uncapped.power_w.item() == pytest.approx(1.5, rel=1e-12)
    after, slot = preview(model, state)
    assert slot.power_w.item() == 0.2
    assert (2e4 - after.queue_bits).item() == pytest.approx(7924.8125, abs=5e-5)
    assert after.queue_bits.item() == pytest.approx(12075.1875, abs=5e-5)
    assert after.raw_bits.item() == pytest.approx(24150.375, abs=5e-4)
    assert slot.delivered_bits.item() == pytest.approx(15849.625, abs=5e-4)


def test_t16_deferral_end_to_end_by_hand() -> None:
    # 4e4 bit every 4 slots, rho = 0.5, gain 1e-9, so 1e6 * 5e-3 = 5000 uses of the channel a slot.
    # Deferred: 1e4 bit a slot, 5e3 semantic bits = 1 bit a use, SINR 1, p = 1e-11 / 1e-9 = 0.01 W,
    #   E_tx = 5e-3 / 0.8 * 0.01; C = 60 * 1e4 * ln 2; E_c = 1e-27 C^3 / (5e-3)^2.
    # At once: 2e4 semantic bits = 4 bit a use, SINR 15, p = 0.15 W (below 0.2); four times C.
    # Static: 10 ms * 5 mW in every slot.
    static = 5e-5
    cycles = 60.0 * 1e4 * math.log(2.0)
    spread = 4 * (5e-3 / 0.8 * 0.01 + 1e-27 * cycles**3 / 25e-6 + static)
    at_once = 5e-3 / 0.8 * 0.15 + 1e-27 * (4 * cycles) ** 3 / 25e-6 + 4 * static
    assert spread == pytest.approx(4.61509e-4, rel=1e-5)
    assert at_once == pytest.approx(1.321649e-3, rel=1e-5)
    for window, energy in ((4, spread), (1, at_once)):
        model = model_of(num_users=1, num_elements=0, window_slots=window, hold="queue")
        empty = [0.0] * (window - 1)
        state = state_without_ris(model, [1e-9], buckets=[[*empty, 4e4]])
        used = delivered = 0.0
        for slot_index in range(12):
            state, slot = preview(model, state)
            used += (slot.transmit_j + slot.compute_j).item() + model.static_j
            delivered += slot.delivered_bits.item()
            if slot_index % 4 == 3:
                users = state.users.clone()
                users[..., -1] += 4e4
                state = state._replace(users=users)
        assert delivered == pytest.approx(3 * 4e4, rel=1e-12)
        assert delivered / used == pytest.approx(4e4 / energy, rel=1e-12)


def test_t18_static_energy() -> None:
    assert model_of().static_j == pytest.approx(2e-4, rel=1e-12)
    assert model_of(preset="ris_power").static_j == pytest.approx(6.8e-4, rel=1e-12)


def test_t21_fixed_power_rates_of_two_users() -> None:
    model = model_of(num_users=2, num_elements=0, tx_mode="fixed_power")
    gains = [4e-9, 1e-9]
    snr = [0.1 * g / NOISE_W for g in gains]
    bits = row([1e4, 1e4])
    sums = []
    for order in ((0, 1), (1, 0)):
        first, last = order
        expected = [0.0, 0.0]
        expected[first] = 1e6 * math.log2(1.0 + snr[first] / (1.0 + snr[last]))
        expected[last] = 1e6 * math.log2(1.0 + snr[last])
        rate = fixed_power_rate(model, channel_of(gains), bits, torch.tensor([order]))
        torch.testing.assert_close(rate, row(expected), rtol=1e-12, atol=0)
        sums.append(rate.sum().item())
    assert sums[0] == pytest.approx(1e6 * math.log2(1.0 + sum(snr)), rel=1e-12)
    assert sums[0] == pytest.approx(sums[1], rel=1e-12)


def test_fixed_power_slot_sends_for_as_long_as_it_needs() -> None:
    # One user, gain 1e-9: SNR 10, rate 1e6 log2(11); 1e4 raw bits at rho 0.5 are 5e3 bits.
    model = model_of(num_users=1, num_elements=0, tx_mode="fixed_power")
    state = state_without_ris(model, [1e-9], buckets=[[1e4, 0, 0, 0]])
    _, slot = preview(model, state)
    rate = 1e6 * math.log2(11.0)
    assert slot.transmit_j.item() == pytest.approx(0.1 / 0.8 * 5e3 / rate, rel=1e-12)
    assert slot.delivered_bits.item() == pytest.approx(1e4, rel=1e-12)


bits = st.floats(0.0, 2e5)


@given(
    buckets=st.lists(st.lists(bits, min_size=3, max_size=3), min_size=2, max_size=2),
    queue=bits,
    ratio=st.floats(1.0, 5.0),
    volume=bits,
    rho=st.floats(0.2, 1.0),
    log_gain=st.floats(-13.0, -6.0),
    mode=st.sampled_from(["min_power", "fixed_power"]),
)
@settings(max_examples=200, deadline=None)
def test_a_slot_conserves_data(
    buckets: list[list[float]],
    queue: float,
    ratio: float,
    volume: float,
    rho: float,
    log_gain: float,
    mode: str,
) -> None:
    model = model_of(
        num_users=2, num_elements=0, window_slots=3, queue_limit_bits=5e3, tx_mode=mode
    )
    gains = [10.0**log_gain, 1e-9]
    state = state_without_ris(model, gains, buckets=buckets, rho=rho, volume=volume)
    users = state.users.clone()
    users[..., 2], users[..., 3] = queue, queue * ratio
    state = state._replace(users=users)
    slot = serve(model, state, state.controls, row(gains) / NOISE_W)
    before = state.raw_bits + state.backlog_bits.sum(-1)
    after = slot.raw_bits + slot.backlog_bits[..., 1:].sum(-1)
    torch.testing.assert_close(
        before, after + slot.delivered_bits + slot.dropped_bits, rtol=1e-12, atol=1e-9
    )
    for name, value in slot._asdict().items():
        assert bool((value >= 0).all()), name
    assert bool((slot.power_w <= 0.2).all())
    assert bool((slot.queue_bits <= 5e3).all())
    cycles = 60.0 * slot.volume_bits * -math.log(rho)
    assert bool((cycles <= model.cycle_budget * (1 + 1e-12)).all())
