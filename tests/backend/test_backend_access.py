"""Single-antenna NOMA, OFDMA and TDMA against closed forms, brute force and an independent loop."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sixgym.envs.backend import access
from sixgym.envs.backend.solvers import all_permutations, best_permutation

F64 = torch.float64
BETA = math.log(2.0) / (1e6 * 5e-3)  # nats per use and bit: 1 MHz, transmit phase 5 ms
NOISE_W = 1e-11

sizes = st.integers(1, 6)
seeds = st.integers(0, 2**31)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def permutation(seed: int, users: int) -> Tensor:
    return torch.randperm(users, generator=torch.Generator().manual_seed(seed))


def loop_min_power(
    gain: list[float], target: list[float], order: list[int], noise: float, cap: float
) -> tuple[list[float], list[float]]:
    """The walk of dossier 1.5 in plain Python."""
    power, sinr = [0.0] * len(gain), [0.0] * len(gain)
    interference = noise
    for user in reversed(order):
        power[user] = min(cap, target[user] * interference / gain[user])
        sinr[user] = power[user] * gain[user] / interference
        interference += power[user] * gain[user]
    return power, sinr


def test_one_user_needs_30_mw() -> None:
    """Dossier T1: 1e4 bit in 5 ms of 1 MHz need SINR 3; |d|^2 = 1e-9 and 1e-11 W make 0.03 W."""
    assert pytest.approx(BETA, rel=1e-15) == 1.3862943611198905e-4
    demand = access.nats_per_use(torch.tensor([1e4], dtype=F64), 1e6, 5e-3)
    target = torch.expm1(demand)
    gain, order = torch.tensor([1e-9], dtype=F64), torch.tensor([0])
    power, sinr = access.min_power(gain, target, order, NOISE_W, 0.2)
    assert target.item() == pytest.approx(3.0, rel=1e-12)
    assert power.item() == pytest.approx(0.03, rel=1e-12)
    assert sinr.item() == pytest.approx(3.0, rel=1e-12)
    energy = access.transmit_energy(power, 5e-3, 0.8)
    assert energy.item() == pytest.approx(1.875e-4, rel=1e-12)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_sic_sum_rate_does_not_depend_on_order(order: tuple[int, ...]) -> None:
    """Dossier T3: p g / noise = (3, 1, 0.5) gives log2(5.5) bit/s/Hz for all six orders."""
    received = torch.tensor([3.0, 1.0, 0.5], dtype=F64)
    rates = torch.log2(1 + access.sic_sinr(received, torch.tensor(order), 1.0))
    assert rates.sum().item() == pytest.approx(2.4594316186, abs=1e-10)
    assert access.sum_spectral_efficiency(received, 1.0).item() == pytest.approx(2.4594316186)
    if order == (0, 1, 2):
        expected = torch.tensor([1.1375035237, 0.7369655942, 0.5849625007], dtype=F64)
        torch.testing.assert_close(rates, expected, atol=1e-10, rtol=0)


T4_POWERS = {
    (0, 1, 2): 0.27,
    (0, 2, 1): 0.375,
    (1, 0, 2): 0.33,
    (1, 2, 0): 0.3825,
    (2, 0, 1): 0.585,
    (2, 1, 0): 0.5925,
}


@pytest.mark.parametrize(("order", "total"), list(T4_POWERS.items()))
def test_uncapped_powers_of_three_users(order: tuple[int, ...], total: float) -> None:
    """Dossier T4: SINRs (1, 3, 7) at gains (4, 2, 1)e-9; received sum is 63 noise for any order."""
    gain = torch.tensor([4e-9, 2e-9, 1e-9], dtype=F64)
    target = torch.tensor([1.0, 3.0, 7.0], dtype=F64)
    chosen = torch.tensor(order)
    power, sinr = access.min_power(gain, target, chosen, NOISE_W, math.inf)
    torch.testing.assert_close(sinr, target)
    assert power.sum().item() == pytest.approx(total, rel=1e-12)
    assert ((power * gain).sum() / NOISE_W).item() == pytest.approx(63.0, rel=1e-12)
    closed = access.uncapped_sum_power(gain, torch.log1p(target), chosen, NOISE_W)
    assert closed.item() == pytest.approx(total, rel=1e-12)
    received = access.log_min_received(torch.log1p(target), chosen).exp() * NOISE_W
    torch.testing.assert_close(received, power * gain, rtol=1e-12, atol=0)
    if order == (0, 1, 2):
        # the sort and the search over all orders both find this one
        assert access.descending_gain_order(gain).tolist() == [0, 1, 2]
        table = all_permutations(3)
        every, _ = access.min_power(
            gain.expand_as(table), target.expand_as(table), table, NOISE_W, math.inf
        )
        assert best_permutation(every.sum(-1), table).tolist() == [0, 1, 2]
        assert power.tolist() == pytest.approx([0.08, 0.12, 0.07], rel=1e-12)
    if order == (2, 1, 0):
        assert power.tolist() == pytest.approx([0.0025, 0.03, 0.56], rel=1e-12)


def test_strong_user_first_is_cheaper() -> None:
    """Dossier T5: gains (4, 1), SINRs (1, 1), noise 1: strong first 1.5 W, weak first 2.25 W."""
    gain, target = torch.tensor([4.0, 1.0], dtype=F64), torch.ones(2, dtype=F64)
    orders = torch.tensor([[0, 1], [1, 0]])
    power, _ = access.min_power(gain.expand(2, 2), target.expand(2, 2), orders, 1.0, math.inf)
    assert power.sum(-1).tolist() == pytest.approx([1.5, 2.25])
    assert access.descending_gain_order(gain).tolist() == [0, 1]


def test_cap_leaves_the_rest_in_the_queue() -> None:
    """Dossier T15: 2e4 bit at |d|^2 = 1e-10 need 1.5 W; at 0.2 W 7924.8125 bit get through."""
    target = torch.expm1(torch.tensor([2e4 * BETA], dtype=F64))
    gain, order = torch.tensor([1e-10], dtype=F64), torch.tensor([0])
    uncapped, _ = access.min_power(gain, target, order, NOISE_W, math.inf)
    assert uncapped.item() == pytest.approx(1.5, rel=1e-12)
    power, sinr = access.min_power(gain, target, order, NOISE_W, 0.2)
    assert power.item() == 0.2
    assert (torch.log1p(sinr) / BETA).item() == pytest.approx(7924.8125, abs=1e-4)


@given(seeds, sizes)
def test_capped_walk_equals_a_plain_loop(seed: int, users: int) -> None:
    gain = draw(seed, users) * 1e-8 + 1e-11
    target = draw(seed + 1, users) * 5
    order = permutation(seed, users)
    power, sinr = access.min_power(gain, target, order, NOISE_W, 0.2)
    expected = loop_min_power(gain.tolist(), target.tolist(), order.tolist(), NOISE_W, 0.2)
    torch.testing.assert_close(power, torch.tensor(expected[0], dtype=F64), rtol=1e-12, atol=0)
    torch.testing.assert_close(sinr, torch.tensor(expected[1], dtype=F64), rtol=1e-12, atol=0)
    # and the powers found do give the SINRs said, capped users included
    torch.testing.assert_close(
        access.sic_sinr(power * gain, order, NOISE_W), sinr, rtol=1e-9, atol=0
    )


@given(seeds, sizes)
def test_descending_order_beats_every_other_order(seed: int, users: int) -> None:
    """Without caps no order of up to 5 users needs less power than strongest first."""
    users = min(users, 5)
    gain, target = draw(seed, users) + 1e-3, draw(seed + 1, users) * 4
    table = torch.tensor(list(itertools.permutations(range(users))))
    every, _ = access.min_power(
        gain.expand_as(table), target.expand_as(table), table, 1.0, math.inf
    )
    best, _ = access.min_power(gain, target, access.descending_gain_order(gain), 1.0, math.inf)
    assert best.sum() <= every.sum(-1).min() * (1 + 1e-12)


@given(seeds, sizes, st.floats(0.0, 1.0))
def test_sic_with_residual_equals_a_plain_loop(seed: int, users: int, residual: float) -> None:
    received, order = draw(seed, users), permutation(seed, users)
    sinr = access.sic_sinr(received, order, 0.1, residual)
    place = {int(user): i for i, user in enumerate(order)}
    for k in range(users):
        seen = 0.1
        for j in range(users):
            if place[j] > place[k]:
                seen += float(received[j])
            elif place[j] < place[k]:
                seen += residual * float(received[j])
        assert sinr[k].item() == pytest.approx(float(received[k]) / seen, rel=1e-12)


def test_residual_limits() -> None:
    """Share 0 is perfect cancellation, share 1 is no cancellation at all, whatever the order."""
    received = torch.tensor([3.0, 1.0, 0.5], dtype=F64)
    none = received / (received.sum() - received + 1.0)
    for order in itertools.permutations(range(3)):
        chosen = torch.tensor(order)
        torch.testing.assert_close(access.sic_sinr(received, chosen, 1.0, 1.0), none)
        worse = access.sic_sinr(received, chosen, 1.0, 0.1)
        assert bool((worse <= access.sic_sinr(received, chosen, 1.0)).all())
    per_user = torch.tensor([0.0, 0.2, 1.0], dtype=F64).unsqueeze(-1)
    mixed = access.sic_sinr(received, torch.tensor([0, 1, 2]), 1.0, per_user)
    assert mixed.tolist() == pytest.approx([3 / 2.5, 1 / (0.5 + 0.6 + 1), 0.5 / (4 + 1)])


def test_fixed_power_rates_of_both_orders() -> None:
    """Dossier T21: two users at 0.1 W, gains (2, 1)e-9, both orders in closed form."""
    received = torch.tensor([2e-10, 1e-10], dtype=F64)  # 20 and 10 times the noise
    first = access.shannon_rate(access.sic_sinr(received, torch.tensor([0, 1]), NOISE_W), 1e6)
    second = access.shannon_rate(access.sic_sinr(received, torch.tensor([1, 0]), NOISE_W), 1e6)
    assert first.tolist() == pytest.approx([1e6 * math.log2(1 + 20 / 11), 1e6 * math.log2(11)])
    assert second.tolist() == pytest.approx([1e6 * math.log2(21), 1e6 * math.log2(1 + 10 / 21)])
    assert first.sum().item() == pytest.approx(second.sum().item(), rel=1e-14)
    assert first.sum().item() == pytest.approx(1e6 * math.log2(31), rel=1e-14)
    bits = torch.tensor([1e3, 1e6], dtype=F64)
    on_air = access.time_on_air(bits, first, 5e-3)
    assert on_air.tolist() == pytest.approx([1e3 / first[0].item(), 5e-3])
    idle = access.time_on_air(torch.zeros(2, dtype=F64), torch.tensor([0.0, 1.0]).to(F64), 5e-3)
    assert idle.tolist() == [0.0, 0.0]


def test_equal_demands_noma_and_tdma() -> None:
    """Dossier T13: four users, ln2 each: 0.075 W, or 0.04 to 0.10625 W."""
    nats = torch.full((4,), math.log(2.0), dtype=F64)
    target = torch.expm1(nats)

    def noma(gain: Tensor, order: list[int]) -> float:
        power, _ = access.min_power(gain, target, torch.tensor(order), NOISE_W, math.inf)
        return power.sum().item()

    def tdma(gain: Tensor) -> float:
        power, _ = access.tdma_min_power(gain, nats, NOISE_W, math.inf, 0.25)
        return (0.25 * power).sum().item()

    equal = torch.full((4,), 2e-9, dtype=F64)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        assert noma(equal, order) == pytest.approx(0.075, rel=1e-12)
    assert tdma(equal) == pytest.approx(0.075, rel=1e-12)
    unequal = torch.tensor([8e-9, 4e-9, 2e-9, 1e-9], dtype=F64)
    assert noma(unequal, [0, 1, 2, 3]) == pytest.approx(0.04, rel=1e-12)
    assert tdma(unequal) == pytest.approx(0.0703125, rel=1e-12)
    assert noma(unequal, [3, 2, 1, 0]) == pytest.approx(0.10625, rel=1e-12)


@given(seeds, sizes, st.floats(0.01, 3.0))
def test_tdma_lies_between_best_and_worst_order(seed: int, users: int, demand: float) -> None:
    """Dossier T13: descending <= TDMA <= ascending for equal demands on any channel."""
    gain = -torch.log(draw(seed, users)) + 1e-6
    nats = torch.full_like(gain, demand)
    down = access.descending_gain_order(gain)
    tdma, _ = access.tdma_min_power(gain, nats, 1.0, math.inf, 1.0 / users)
    mean_power = tdma.sum() / users
    slack = 1 + 1e-9
    assert access.uncapped_sum_power(gain, nats, down) <= mean_power * slack
    assert mean_power <= access.uncapped_sum_power(gain, nats, down.flip(-1)) * slack


def test_tdma_power_obeys_its_peak_cap() -> None:
    power, sinr = access.tdma_min_power(
        torch.tensor([1e-9, 1e-12], dtype=F64), torch.tensor([0.1, 0.1]).to(F64), NOISE_W, 0.2, 0.5
    )
    assert power[0].item() == pytest.approx(math.expm1(0.2) * 0.01)
    assert power[1].item() == 0.2
    assert sinr[1].item() == pytest.approx(0.02)


def test_orthogonal_rates_in_closed_form() -> None:
    received = torch.tensor([3.0, 1.0], dtype=F64)
    share = torch.tensor([0.75, 0.25], dtype=F64)
    ofdma = access.ofdma_rate(share, received, 2.0, 1.0)
    assert ofdma.rate_bps.tolist() == pytest.approx([1.5 * math.log2(5), 0.5 * math.log2(5)])
    tdma = access.tdma_rate(share, received, 2.0, 1.0)
    assert tdma.rate_bps.tolist() == pytest.approx([1.5 * 2.0, 0.5 * 1.0])
    # shares in proportion to received powers reach the sum capacity; nothing orthogonal exceeds it
    capacity = 2.0 * access.sum_spectral_efficiency(received, 1.0)
    assert ofdma.rate_bps.sum().item() == pytest.approx(capacity.item())
    none = access.ofdma_rate(torch.tensor([0.0, 1.0], dtype=F64), received, 2.0, 1.0)
    assert none.rate_bps.tolist() == pytest.approx([0.0, 2.0])


@given(seeds, sizes)
def test_ofdma_never_exceeds_the_sum_capacity(seed: int, users: int) -> None:
    received, share = draw(seed, users) * 10, draw(seed + 1, users)
    share = share / share.sum()
    rates = access.ofdma_rate(share, received, 1.0, 1.0).rate_bps
    assert rates.sum() <= access.sum_spectral_efficiency(received, 1.0) * (1 + 1e-12)


def test_no_demand_needs_no_power() -> None:
    gain = torch.tensor([1e-9, 0.0], dtype=F64)
    power, sinr = access.min_power(
        gain, torch.zeros(2, dtype=F64), torch.tensor([0, 1]), 1e-11, 0.2
    )
    assert power.tolist() == [0.0, 0.0]
    assert sinr.tolist() == [0.0, 0.0]


def test_user_without_channel_reaches_nothing_and_harms_nobody() -> None:
    gain = torch.tensor([1e-9, 0.0], dtype=F64)
    power, sinr = access.min_power(gain, torch.ones(2, dtype=F64), torch.tensor([0, 1]), 1e-11, 0.2)
    assert power.tolist() == pytest.approx([0.01, 0.2])
    assert sinr.tolist() == pytest.approx([1.0, 0.0])


def test_infinite_demand_is_capped_not_nan() -> None:
    """In float32 expm1 overflows from a demand of 89 nats on: the user sends at the cap."""
    target = torch.expm1(torch.tensor([100.0, 0.5]))
    assert bool(target.isinf()[0])
    for order in ([0, 1], [1, 0]):
        power, sinr = access.min_power(
            torch.tensor([2.0, 1.0]), target, torch.tensor(order), 1.0, 3.0
        )
        assert bool(power.isfinite().all())
        assert bool(sinr.isfinite().all())
        assert power[0].item() == 3.0


def test_logarithm_of_received_power_survives_float32() -> None:
    """Sum of demands 166, as at a start of AO: the logarithms are right where exp is inf."""
    nats = torch.tensor([80.0, 50.0, 36.0])
    logs = access.log_min_received(nats, torch.tensor([2, 1, 0]))
    assert logs.tolist() == pytest.approx([80.0, 130.0, 166.0], rel=1e-6)
    assert access.log_min_received(torch.zeros(2), torch.tensor([0, 1])).tolist() == [-math.inf] * 2


def test_float32_agrees_with_float64() -> None:
    gain, target = draw(0, 200, 4) * 1e3 + 1.0, torch.expm1(draw(1, 200, 4) * 6)
    order = access.descending_gain_order(gain)
    exact, _ = access.min_power(gain, target, order, 1.0, 0.2)
    single, _ = access.min_power(gain.float(), target.float(), order, 1.0, 0.2)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=3e-6, atol=0)


def test_ties_keep_the_lower_index_first() -> None:
    assert access.descending_gain_order(torch.tensor([1.0, 2.0, 1.0, 2.0])).tolist() == [1, 3, 0, 2]
    order = torch.tensor([[2, 0, 1], [1, 2, 0]])
    assert access.decode_position(order).tolist() == [[1, 2, 0], [2, 0, 1]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, o: access.nats_per_use(g, 0.0, 1.0), "bandwidth_hz = 0.0, must be > 0"),
        (lambda g, o: access.sic_sinr(g, o, -1.0), "noise_power_w = -1.0, must be > 0"),
        (lambda g, o: access.sic_sinr(g, o, 1.0, 1.5), r"residual = 1.5, must be in \[0, 1\]"),
        (lambda g, o: access.min_power(g, g, o, 1.0, 0.0), "max_power_w = 0.0, must be > 0"),
        (lambda g, o: access.min_power(g, g, o, math.nan, 1.0), "noise_power_w = nan, must be > 0"),
        (lambda g, o: access.tdma_min_power(g, g, 1.0, 1.0, 0.0), "share = 0.0, must be > 0"),
        (
            lambda g, o: access.transmit_energy(g, 1.0, 1.2),
            r"efficiency = 1.2, must be in \(0, 1\]",
        ),
        (lambda g, o: access.ofdma_rate(g, g, 1.0, 0.0), "noise_power_w = 0.0, must be > 0"),
        (lambda g, o: access.tdma_rate(g, g, -1.0, 1.0), "bandwidth_hz = -1.0, must be > 0"),
    ],
)
def test_wrong_scalars_are_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call(torch.ones(2), torch.tensor([0, 1]))
