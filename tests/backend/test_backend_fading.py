"""Fading statistics, time correlation and array geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import torch

from sixgym.envs.backend import fading
from sixgym.envs.backend.complex import Complex, abs2, to_torch

F64 = torch.float64


def normal(seed: int, *shape: int) -> Complex:
    """Complex normals of unit power."""
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, *shape, generator=generator, dtype=F64) / math.sqrt(2)
    return Complex(pair[0], pair[1])


def test_jakes_correlation_equals_scipy_bessel() -> None:
    doppler = torch.linspace(0.0, 500.0, 1001, dtype=F64)
    rho = fading.jakes_correlation(doppler, 1e-2)
    expected = scipy.special.j0(2 * np.pi * 1e-2 * doppler.numpy())
    np.testing.assert_allclose(rho.numpy(), expected, rtol=0, atol=1e-14)
    assert rho.min().item() > -0.4028


def test_bessel_function_equals_scipy_far_out() -> None:
    """Both branches and the seam at 25; torch.special.bessel_j0 misses this by 4e-7."""
    x = torch.cat([torch.linspace(-60.0, 60.0, 6001), torch.tensor([25.0, 1e3])]).double()
    expected = scipy.special.j0(x.numpy())
    np.testing.assert_allclose(fading.bessel_j0(x).numpy(), expected, rtol=0, atol=2e-14)
    assert fading.bessel_j0(torch.tensor([3.0])).dtype == torch.float32


def test_walking_speed_correlation_of_the_dossier() -> None:
    """Dossier 1.3: 0.95 at f_D tau = 0.07163, which is 7.16 Hz, about 1.07 m/s at 2 GHz."""
    assert fading.jakes_correlation(7.163, 1e-2).item() == pytest.approx(0.95, abs=1e-4)
    assert fading.doppler_frequency(1.0737, 2e9) == pytest.approx(7.163, abs=1e-3)
    assert fading.wavelength(2e9) == pytest.approx(0.14989623, abs=1e-8)
    assert fading.jakes_correlation(0.0, 1.0).item() == 1.0


def test_gauss_markov_keeps_power_and_forgets_geometrically() -> None:
    """Dossier T19: unit variance and lag-n correlation 0.95^n, 20 000 chains, 4 standard errors."""
    rows = 20_000
    start = normal(0, rows)
    state = start
    for lag in range(1, 41):
        state = fading.gauss_markov(state, normal(lag, rows), 0.95)
        if lag in (1, 5, 10, 40):
            power = abs2(state).mean().item()
            assert abs(power - 1.0) < 4 / math.sqrt(rows)
            product = start.re * state.re + start.im * state.im
            assert abs(product.mean().item() - 0.95**lag) < 4 * math.sqrt(2 / rows)
            quadrature = (start.re * state.im - start.im * state.re).mean().item()
            assert abs(quadrature) < 4 / math.sqrt(rows)


def test_gauss_markov_limits() -> None:
    """Dossier T19: rho 1 is constant, rho 0 is the innovation."""
    h, z = normal(0, 5), normal(1, 5)
    assert torch.equal(fading.gauss_markov(h, z, 1.0).re, h.re)
    assert torch.equal(fading.gauss_markov(h, z, 0.0).im, z.im)
    per_row = fading.gauss_markov(h, z, torch.tensor([1.0, 0.0, 0.5, 0.95, -0.4], dtype=F64))
    assert per_row.re[0].item() == h.re[0].item()
    assert per_row.re[1].item() == z.re[1].item()
    one = fading.gauss_markov(h, z, 0.95)
    assert per_row.im[3].item() == pytest.approx(one.im[3].item(), rel=1e-14)


def test_rayleigh_power_is_exponential() -> None:
    """|h|^2 / L is unit exponential: P(> 1) = 1/e, mean 1."""
    power = abs2(fading.rayleigh(normal(0, 100_000), 2.5e-9)) / 2.5e-9
    assert power.mean().item() == pytest.approx(1.0, abs=4e-3 * math.sqrt(10))
    assert (power > 1).double().mean().item() == pytest.approx(math.exp(-1), abs=0.006)
    gains = torch.tensor([1.0, 4.0], dtype=F64)
    z = normal(1, 3, 2)
    assert torch.equal(fading.rayleigh(z, gains).re[:, 1], 2 * z.re[:, 1])


def test_rician_moments() -> None:
    """E|h|^2 = L; Var |h|^2 = L^2 (1 + 2K) / (1 + K)^2."""
    rows, k, gain = 200_000, 2.0, 3.0
    los = Complex(torch.full((rows,), 0.6, dtype=F64), torch.full((rows,), -0.8, dtype=F64))
    power = abs2(fading.rician(los, normal(0, rows), k, gain))
    assert power.mean().item() == pytest.approx(gain, rel=0.01)
    assert power.var().item() == pytest.approx(gain**2 * (1 + 2 * k) / (1 + k) ** 2, rel=0.02)


def test_rician_limits() -> None:
    los, z = normal(0, 4), normal(1, 4)
    assert torch.equal(fading.rician(los, z, 0.0, 4.0).re, 2.0 * z.re)
    assert torch.equal(fading.rician(los, z, math.inf, 4.0).im, 2.0 * los.im)
    steady, moving = fading.rician_weights(10.0)
    assert steady == pytest.approx(math.sqrt(10 / 11))
    assert moving == pytest.approx(math.sqrt(1 / 11))


def test_linear_array_is_centred() -> None:
    centre = torch.tensor([1.0, 2.0, 3.0], dtype=F64)
    array = fading.linear_array(centre, 0.5, 4, 1)
    assert array[:, 1].tolist() == [1.25, 1.75, 2.25, 2.75]
    assert array[:, (0, 2)].tolist() == [[1.0, 3.0]] * 4
    assert fading.linear_array(centre, 0.5, 0, 1).shape == (0, 3)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 9, 10, 32])
def test_planar_array_as_the_dossier_fills_it(count: int) -> None:
    """Dossier 1.3: element n at (n mod nx - (nx-1)/2, 0, n // nx - (nz-1)/2) half waves."""
    centre = torch.tensor([40.0, 10.0, 10.0], dtype=F64)
    array = fading.planar_array(centre, 0.075, count)
    assert array.shape == (count, 3)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns) if count else 0
    for n in range(count):
        x = 40.0 + 0.075 * (n % columns - (columns - 1) / 2)
        z = 10.0 + 0.075 * (n // columns - (rows - 1) / 2)
        assert array[n].tolist() == pytest.approx([x, 10.0, z], rel=1e-15)


def test_distances_of_the_dossier_layout() -> None:
    """Dossier 4, disc centre: 40.893 m to the AP, 13.124 m to the RIS, RIS to AP 41.231 m."""
    ap = torch.tensor([[0.0, 0.0, 10.0]], dtype=F64)
    surface = torch.tensor([[40.0, 10.0, 10.0]], dtype=F64)
    user = torch.tensor([[40.0, 0.0, 1.5]], dtype=F64)
    assert fading.pairwise_distance(user, ap).item() == pytest.approx(40.893, abs=1e-3)
    assert fading.pairwise_distance(user, surface).item() == pytest.approx(13.124, abs=1e-3)
    assert fading.pairwise_distance(surface, ap).item() == pytest.approx(41.231, abs=1e-3)


def test_steering_is_the_exact_phase_of_every_pair() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(5, 3, 3, generator=generator, dtype=F64) * 50
    b = torch.rand(5, 4, 3, generator=generator, dtype=F64) * 50
    phasor = fading.steering(a, b, 0.15)
    assert phasor.re.shape == (5, 3, 4)
    for row in range(5):
        for i in range(3):
            for j in range(4):
                distance = math.dist(a[row, i].tolist(), b[row, j].tolist())
                expected = np.exp(-2j * np.pi * distance / 0.15)
                got = complex(to_torch(phasor)[row, i, j].item())
                assert abs(got - expected) < 1e-9


def test_steering_keeps_its_phase_in_float32() -> None:
    """41 m are 273 wavelengths: in float32 alone the phase would be off by 2e-4 rad."""
    generator = torch.Generator().manual_seed(1)
    a = (torch.rand(200, 3, generator=generator) * 60).float()
    b = (torch.rand(3, 3, generator=generator) * 60).float()
    single = fading.steering(a, b, 0.15)
    double = fading.steering(a.double(), b.double(), 0.15)
    assert single.re.dtype == torch.float32
    assert (single.re.double() - double.re).abs().max().item() < 1e-7
    assert (single.im.double() - double.im).abs().max().item() < 1e-7


def test_far_field_of_a_half_wavelength_array() -> None:
    """Far away at angle phi neighbours differ by pi sin(phi)."""
    spacing, angle = 0.075, 0.4
    array = fading.linear_array(torch.zeros(3, dtype=F64), spacing, 4, 1)
    far = 1e7 * torch.tensor([[math.cos(angle), math.sin(angle), 0.0]], dtype=F64)
    z = to_torch(fading.steering(array, far, 0.15))[:, 0]
    step = (z[1:] * z[:-1].conj()).angle()
    assert step.tolist() == pytest.approx([math.pi * math.sin(angle)] * 3, abs=1e-5)


def test_wrong_scalars_are_named() -> None:
    h, centre = normal(0, 2), torch.zeros(3)
    with pytest.raises(ValueError, match=r"carrier_hz = 0.0, must be > 0"):
        fading.wavelength(0.0)
    with pytest.raises(ValueError, match=r"lag_s = -1.0, must be >= 0"):
        fading.jakes_correlation(1.0, -1.0)
    with pytest.raises(ValueError, match=r"correlation = 1.1, must be in \[-1, 1\]"):
        fading.gauss_markov(h, h, 1.1)
    with pytest.raises(ValueError, match=r"k_factor = -0.1, must be >= 0"):
        fading.rician_weights(-0.1)
    with pytest.raises(ValueError, match=r"spacing_m = 0.0, must be > 0"):
        fading.linear_array(centre, 0.0, 2, 0)
    with pytest.raises(ValueError, match=r"count = -1, must be >= 0"):
        fading.planar_array(centre, 1.0, -1)
    with pytest.raises(ValueError, match=r"distinct and from 0, 1, 2"):
        fading.planar_array(centre, 1.0, 4, (1, 1))
    with pytest.raises(ValueError, match=r"wavelength_m = 0.0, must be > 0"):
        fading.steering(centre[None], centre[None], 0.0)
