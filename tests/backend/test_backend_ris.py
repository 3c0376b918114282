"""Cascaded channels, phase quantisation and alignment."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sixgym.envs.backend import ris
from sixgym.envs.backend.complex import Complex, abs2, absolute, norm2, to_torch

F64 = torch.float64


def draw(seed: int, *shape: int) -> Complex:
    pair = torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return Complex(pair[0], pair[1])


def uniform_phase(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(*shape, generator=generator, dtype=F64) - 1) * math.pi


def test_effective_channel_equals_einsum() -> None:
    """h = d + sum_n v_n r[k, n] G[n, :] with torch's complex einsum as the other code."""
    r, g, d = draw(0, 6, 4, 9), draw(1, 6, 9, 3), draw(2, 6, 4, 3)
    v = ris.unit_phasor(uniform_phase(3, 6, 9))
    a = ris.cascade(r, g)
    expected_a = to_torch(r).unsqueeze(-1) * to_torch(g).unsqueeze(-3)
    torch.testing.assert_close(to_torch(a), expected_a)
    h = ris.effective_channel(d, a, v)
    expected = to_torch(d) + torch.einsum("bn,bknm->bkm", to_torch(v), expected_a)
    torch.testing.assert_close(to_torch(h), expected)
    flat = ris.effective_channel_single(
        Complex(d.re[..., 0], d.im[..., 0]), Complex(a.re[..., 0], a.im[..., 0]), v
    )
    torch.testing.assert_close(to_torch(flat), expected[..., 0])


def test_no_surface_leaves_the_direct_channel() -> None:
    """N = 0 works: axes of length 0 everywhere."""
    d = draw(0, 2, 4, 1)
    a = ris.cascade(draw(1, 2, 4, 0), draw(2, 2, 0, 1))
    assert a.re.shape == (2, 4, 0, 1)
    h = ris.effective_channel(d, a, ris.unit_phasor(torch.zeros(2, 0, dtype=F64)))
    assert torch.equal(h.re, d.re)
    assert torch.equal(ris.alignment_bound(d, a), ris.alignment_bound(d, a))
    torch.testing.assert_close(ris.alignment_bound(d, a), norm2(d))
    torch.testing.assert_close(ris.random_phase_mean_gain(d, a), norm2(d))


def test_aligned_surface_gains_n_squared() -> None:
    """Dossier T7: d = 0, |A_n| = a: g = N^2 a^2; random phases give N a^2, a ratio of N."""
    n, size = 32, 3e-7
    angles = uniform_phase(0, 1, n)
    a = Complex(size * torch.cos(angles), size * torch.sin(angles))
    d = Complex(torch.zeros(1, dtype=F64), torch.zeros(1, dtype=F64))
    h = ris.effective_channel_single(d, a, ris.unit_phasor(ris.aligned_phase(d, a)[0]))
    assert abs2(h).item() == pytest.approx(n**2 * size**2, rel=1e-12)
    mean = ris.random_phase_mean_gain(
        Complex(d.re[:, None], d.im[:, None]), Complex(a.re[..., None], a.im[..., None])
    )
    assert (abs2(h) / mean).item() == pytest.approx(n, rel=1e-12)


def test_alignment_with_a_direct_path() -> None:
    """Dossier T7: |h| = |d| + sum |A_n| at theta_n = angle d - angle A_n; 3e-5 and 1.6e-5."""
    n = 16
    angles = uniform_phase(1, n)
    a = Complex(1e-6 * torch.cos(angles), 1e-6 * torch.sin(angles))
    d = Complex(torch.tensor(-1.8e-5, dtype=F64), torch.tensor(2.4e-5, dtype=F64))
    v = ris.unit_phasor(ris.aligned_phase(d, a))
    h = ris.effective_channel_single(
        Complex(d.re[None], d.im[None]), Complex(a.re[None], a.im[None]), v
    )
    assert absolute(h).item() == pytest.approx(4.6e-5, rel=1e-12)
    bound = ris.alignment_bound(
        Complex(d.re[None, None], d.im[None, None]),
        Complex(a.re[None, :, None], a.im[None, :, None]),
    )
    assert bound.item() == pytest.approx(4.6e-5**2, rel=1e-12)


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(0, 12), st.integers(1, 3))
def test_no_phases_exceed_the_alignment_bound(
    seed: int, users: int, elements: int, antennas: int
) -> None:
    d = draw(seed, users, antennas)
    a = ris.cascade(draw(seed + 1, users, elements), draw(seed + 2, elements, antennas))
    bound = ris.alignment_bound(d, a)
    v = ris.unit_phasor(uniform_phase(seed + 3, 20, elements))
    h = ris.effective_channel(d, a, v)
    assert bool((norm2(h) <= bound * (1 + 1e-12)).all())


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(0, 12), st.integers(1, 3))
def test_two_hops_equal_their_cascade(seed: int, users: int, elements: int, antennas: int) -> None:
    d, r = draw(seed, users, antennas), draw(seed + 1, users, elements)
    g, v = draw(seed + 2, elements, antennas), ris.unit_phasor(uniform_phase(seed + 3, elements))
    a = ris.cascade(r, g)
    short, long = ris.effective_channel_of_hops(d, r, g, v), ris.effective_channel(d, a, v)
    torch.testing.assert_close(to_torch(short), to_torch(long))
    one = ris.effective_channel_of_hops_single(
        Complex(d.re[..., 0], d.im[..., 0]), r, Complex(g.re[..., 0], g.im[..., 0]), v
    )
    torch.testing.assert_close(to_torch(one), to_torch(long)[..., 0])
    torch.testing.assert_close(
        ris.alignment_bound_of_hops(d, r, g), ris.alignment_bound(d, a), rtol=1e-12, atol=0
    )


def test_mean_gain_over_random_phases() -> None:
    """Dossier T7: E[g] = |d|^2 + sum |A_n|^2, Monte Carlo within 4 standard errors."""
    d, a = draw(0, 1, 2), draw(1, 1, 8, 2)
    rows = 20_000
    h = ris.effective_channel(d, a, ris.unit_phasor(uniform_phase(2, rows, 8)))
    gain = norm2(h).squeeze(-1)
    error = gain.std() / rows**0.5
    assert abs(gain.mean() - ris.random_phase_mean_gain(d, a)).item() < 4 * error.item()


@pytest.mark.parametrize("bits", [1, 2, 3, 5])
def test_quantised_phase_is_the_nearest_level(bits: int) -> None:
    levels = 2**bits
    phase = torch.linspace(-7.0, 7.0, 2001, dtype=F64)
    quantised = ris.quantise_phase(phase, bits)
    index = quantised * levels / (2 * math.pi)
    torch.testing.assert_close(index, index.round(), atol=1e-12, rtol=0)
    assert quantised.unique().numel() == levels
    assert bool((quantised > -math.pi).all())
    assert quantised.max().item() == pytest.approx(math.pi)
    off = torch.remainder(quantised - phase + math.pi, 2 * math.pi) - math.pi
    assert off.abs().max().item() <= math.pi / levels + 1e-12


def test_one_bit_quantisation_by_hand() -> None:
    phase = torch.tensor([-math.pi, -1.5, 0.0, 1.5, 1.6, math.pi], dtype=F64)
    expected = [math.pi, 0.0, 0.0, 0.0, math.pi, math.pi]
    assert ris.quantise_phase(phase, 1).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("bits", "kept"), [(1, 0.40528), (2, 0.81057), (3, 0.94964)])
def test_quantisation_loss_of_a_large_surface(bits: int, kept: float) -> None:
    """Dossier T8: (2^b/pi sin(pi/2^b))^2, and the same by quantising 200 000 aligned elements."""
    assert ris.quantisation_loss(bits) == pytest.approx(kept, abs=1e-5)
    phase = uniform_phase(0, 200_000)
    error = ris.unit_phasor(ris.quantise_phase(phase, bits) - phase)
    measured = error.re.mean() ** 2 + error.im.mean() ** 2
    assert measured.item() == pytest.approx(kept, abs=5e-3)


def test_alignment_beats_every_grid_phase_of_three_elements() -> None:
    d, a = draw(4, 1), draw(5, 1, 3)
    best = abs2(
        ris.effective_channel_single(d, a, ris.unit_phasor(ris.aligned_phase(d, a)[0]))
    ).item()
    grid = torch.tensor(list(itertools.product(range(16), repeat=3)), dtype=F64) * (math.pi / 8)
    gains = abs2(ris.effective_channel_single(d, a, ris.unit_phasor(grid)))
    assert best >= gains.max().item()
    assert best <= 1.08 * gains.max().item()


@pytest.mark.parametrize("bits", [0, 17, -1])
def test_wrong_bits_are_named(bits: int) -> None:
    with pytest.raises(ValueError, match=rf"bits = {bits}, must be from 1 to 16"):
        ris.quantise_phase(torch.zeros(1), bits)
    with pytest.raises(ValueError, match=rf"bits = {bits}, must be from 1 to 16"):
        ris.quantisation_loss(bits)
