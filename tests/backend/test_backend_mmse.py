"""MMSE with successive cancellation against complex linear algebra and the one-antenna case."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sixgym.envs.backend import access
from sixgym.envs.backend.complex import Complex, from_torch, norm2, to_torch

F64 = torch.float64
seeds = st.integers(0, 2**31)


def channel(seed: int, users: int, antennas: int, *batch: int) -> Complex:
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, *batch, users, antennas, generator=generator, dtype=F64) / math.sqrt(2)
    return Complex(pair[0], pair[1])


def numpy_sinr(
    h: np.ndarray, power: np.ndarray, order: list[int], noise: float, residual: float
) -> list[float]:
    """p h^H R^-1 h with an explicit complex inverse."""
    users, antennas = h.shape
    result = [0.0] * users
    for place, k in enumerate(order):
        covariance = noise * np.eye(antennas, dtype=complex)
        for other, j in enumerate(order):
            weight = 1.0 if other > place else residual if other < place else 0.0
            covariance += weight * power[j] * np.outer(h[j], h[j].conj())
        result[k] = float((power[k] * h[k].conj() @ np.linalg.inv(covariance) @ h[k]).real)
    return result


def test_two_antennas_two_users() -> None:
    """Dossier T6: h0 = (1, 0), h1 = (1, 1)/sqrt 2, SINRs 1, order (0, 1): p = (4/3, 1), det 4."""
    h = from_torch(torch.tensor([[1, 0], [0.5**0.5, 0.5**0.5]], dtype=torch.complex128))
    order, target = torch.tensor([0, 1]), torch.ones(2, dtype=F64)
    power, sinr = access.mmse_min_power(h, target, order, 1.0, math.inf)
    assert power.tolist() == pytest.approx([4 / 3, 1.0], rel=1e-12)
    assert sinr.tolist() == [1.0, 1.0]
    efficiency = access.mmse_sum_spectral_efficiency(h, power, 1.0)
    assert 2 ** efficiency.item() == pytest.approx(4.0, rel=1e-12)
    torch.testing.assert_close(access.mmse_sic_sinr(h, power, order, 1.0), target)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_orthogonal_channels_do_not_interact(order: tuple[int, ...]) -> None:
    """Dossier T6: p = target noise / |h|^2 for any order."""
    h = from_torch(torch.diag(torch.tensor([2.0, 1.0j, 0.5], dtype=torch.complex128)))
    target = torch.tensor([1.0, 3.0, 7.0], dtype=F64)
    power, _ = access.mmse_min_power(h, target, torch.tensor(order), 0.1, math.inf)
    torch.testing.assert_close(power, target * 0.1 / norm2(h), rtol=1e-12, atol=0)


@given(seeds, st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.0, 0.05, 1.0]))
def test_sinr_equals_complex_inverse(seed: int, users: int, antennas: int, residual: float) -> None:
    h = channel(seed, users, antennas)
    generator = torch.Generator().manual_seed(seed)
    power = torch.rand(users, generator=generator, dtype=F64) * 3
    order = torch.randperm(users, generator=generator)
    sinr = access.mmse_sic_sinr(h, power, order, 0.3, residual)
    expected = numpy_sinr(to_torch(h).numpy(), power.numpy(), order.tolist(), 0.3, residual)
    assert sinr.tolist() == pytest.approx(expected, rel=1e-9)


@given(seeds, st.integers(1, 5), st.integers(1, 4))
def test_sum_rate_is_log_det_for_any_order(seed: int, users: int, antennas: int) -> None:
    """Dossier T3, M > 1: the rates add up to log2 det(I + sum p h h^H / noise)."""
    h = channel(seed, users, antennas)
    generator = torch.Generator().manual_seed(seed)
    power = torch.rand(users, generator=generator, dtype=F64)
    z = to_torch(h).numpy()
    matrix = np.eye(antennas) + (z.T * power.numpy()) @ z.conj() / 0.2
    expected = math.log2(np.linalg.det(matrix).real)
    efficiency = access.mmse_sum_spectral_efficiency(h, power, 0.2)
    assert efficiency.item() == pytest.approx(expected, rel=1e-9)
    for _ in range(3):
        order = torch.randperm(users, generator=generator)
        rates = torch.log2(1 + access.mmse_sic_sinr(h, power, order, 0.2))
        assert rates.sum().item() == pytest.approx(expected, rel=1e-9)


@given(seeds, st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.5, math.inf]))
def test_min_power_gives_the_sinr_it_says(seed: int, users: int, antennas: int, cap: float) -> None:
    """The rank-one walk and the direct receiver are two codes for one thing."""
    h = channel(seed, users, antennas)
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(users, generator=generator, dtype=F64) * 4
    order = torch.randperm(users, generator=generator)
    power, sinr = access.mmse_min_power(h, target, order, 0.1, cap)
    again = access.mmse_sic_sinr(h, power, order, 0.1)
    torch.testing.assert_close(sinr, again, rtol=1e-8, atol=1e-12)
    assert bool((power <= cap).all())
    assert bool((sinr <= target * (1 + 1e-9)).all())
    assert bool((sinr[power < cap] == target[power < cap]).all())


@given(seeds, st.integers(1, 5))
def test_one_antenna_equals_the_scalar_walk(seed: int, users: int) -> None:
    """Dossier T6: with M = 1 the general walk is the received-power recursion."""
    h = channel(seed, users, 1)
    gain = norm2(h)
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(users, generator=generator, dtype=F64) * 4
    order = torch.randperm(users, generator=generator)
    general = access.mmse_min_power(h, target, order, 0.1, 0.7)
    scalar = access.min_power(gain, target, order, 0.1, 0.7)
    torch.testing.assert_close(general.power_w, scalar.power_w, rtol=1e-10, atol=0)
    torch.testing.assert_close(general.sinr, scalar.sinr, rtol=1e-10, atol=0)
    power = general.power_w
    torch.testing.assert_close(
        access.mmse_sic_sinr(h, power, order, 0.1, 0.2),
        access.sic_sinr(power * gain, order, 0.1, 0.2),
    )


def rank_one_inverse_power(h: Tensor, target: Tensor, order: list[int]) -> Tensor:
    """The walk with a plain inverse-covariance update (complex), noise 1, no cap."""
    inverse = torch.eye(h.shape[-1], dtype=h.dtype)
    power = torch.zeros_like(target)
    for k in reversed(order):
        image = inverse @ h[k]
        per_watt = (h[k].conj() @ image).real
        power[k] = target[k] / per_watt
        inverse = inverse - power[k] / (1 + power[k] * per_watt) * torch.outer(image, image.conj())
    return power


def test_square_root_update_keeps_float32_where_the_inverse_update_loses_it() -> None:
    """Nearly parallel channels at SINR 1e4: the later user's energy hides the earlier user."""
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(2, 3, generator=generator, dtype=torch.complex128)
    h = torch.stack([base[0], base[0] + 1e-2 * base[1]])
    target, order = torch.full((2,), 1e4, dtype=F64), torch.tensor([0, 1])
    exact = rank_one_inverse_power(h, target, [0, 1])
    ours = access.mmse_min_power(from_torch(h), target, order, 1.0, math.inf).power_w
    torch.testing.assert_close(ours, exact, rtol=1e-9, atol=0)
    single = from_torch(h.to(torch.complex64))
    root_error = access.mmse_min_power(single, target.float(), order, 1.0, math.inf).power_w / exact
    plain_error = rank_one_inverse_power(h.to(torch.complex64), target.float(), [0, 1]) / exact
    assert (root_error - 1).abs().max() < 1e-4
    assert (plain_error - 1).abs().max() > 3 * (root_error - 1).abs().max()


def test_batched_equals_one_by_one() -> None:
    h = channel(5, 3, 2, 4)
    target = torch.rand(4, 3, generator=torch.Generator().manual_seed(1), dtype=F64)
    order = torch.stack([torch.randperm(3) for _ in range(4)])
    together = access.mmse_min_power(h, target, order, 0.1, 1.0)
    sinr = access.mmse_sic_sinr(h, together.power_w, order, 0.1, 0.1)
    for row in range(4):
        one = Complex(h.re[row], h.im[row])
        alone = access.mmse_min_power(one, target[row], order[row], 0.1, 1.0)
        torch.testing.assert_close(together.power_w[row], alone.power_w)
        again = access.mmse_sic_sinr(one, alone.power_w, order[row], 0.1, 0.1)
        torch.testing.assert_close(sinr[row], again)


def test_wrong_scalars_are_named() -> None:
    h, order = channel(0, 2, 2), torch.tensor([0, 1])
    ones = torch.ones(2, dtype=F64)
    with pytest.raises(ValueError, match=r"noise_power_w = 0.0, must be > 0"):
        access.mmse_sic_sinr(h, ones, order, 0.0)
    with pytest.raises(ValueError, match=r"max_power_w = -1.0, must be > 0"):
        access.mmse_min_power(h, ones, order, 1.0, -1.0)
    with pytest.raises(ValueError, match=r"residual = 2.0"):
        access.mmse_sic_sinr(h, ones, order, 1.0, 2.0)
