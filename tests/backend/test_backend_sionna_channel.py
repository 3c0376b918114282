"""Channels made by Sionna: unit mean power, Doppler, the power delay profile, and no side effects.

Statistical bounds are about five standard deviations of what is measured.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sixgym.envs.backend.fading import jakes_correlation
from sixgym.envs.backend.sionna_channel import (
    DELAY_SPREAD_S,
    FREQUENCIES,
    TDL_KINDS,
    _parts,
    band_gains,
    coefficients,
    doppler_of,
)

SLOT_S, CARRIER_HZ = 0.01, 2e9


@pytest.mark.parametrize(
    ("correlation", "turns"), [(1.0, 0.0), (0.95, 0.0716), (0.5, 0.2421), (0.0, 0.38274)]
)
def test_the_doppler_shift_of_a_correlation(correlation: float, turns: float) -> None:
    """J0(2 pi f_D T): 0.95 at f_D T = 0.0716, the first zero 2.40483 at 0.38274."""
    found = doppler_of(correlation, SLOT_S)
    assert found * SLOT_S == pytest.approx(turns, abs=1e-4)
    assert float(jakes_correlation(found, SLOT_S)) == pytest.approx(correlation, abs=1e-9)


def test_a_correlation_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"correlation=-0\.1"):
        doppler_of(-0.1, SLOT_S)


@pytest.fixture
def sionna() -> None:
    pytest.importorskip("sionna.phy", reason="the channels are made by Sionna")


def line(kind: str, doppler_hz: float, series: int, slots: int) -> tuple[Tensor, Tensor]:
    """Coefficients (series, slots, paths) and delays (paths,) as Sionna gives them."""
    parts = list(_parts(kind, series, 1, doppler_hz, SLOT_S, CARRIER_HZ, 1, slots))
    return torch.cat([h for h, _ in parts]), parts[0][1][0]


@pytest.mark.usefixtures("sionna")
@pytest.mark.parametrize("kind", TDL_KINDS)
def test_delay_lines_have_unit_mean_power(kind: str) -> None:
    h, _ = line(kind, 20.0, 64, 100)
    power = h.sum(2).abs().square().mean()
    # 64 series of some 40 independent fades: 2 % standard deviation.
    assert float(power) == pytest.approx(1.0, abs=0.1)


@pytest.mark.usefixtures("sionna")
def test_the_autocorrelation_is_that_of_jakes() -> None:
    doppler = doppler_of(0.95, SLOT_S)
    h, _ = line("tdl-a", doppler, 96, 256)
    flat = h.sum(2)
    power = flat.abs().square().mean()
    for lag in (1, 2, 4, 6, 8, 12):
        measured = (flat[:, lag:] * flat[:, :-lag].conj()).mean().real / power
        expected = float(jakes_correlation(doppler, lag * SLOT_S))
        # From 0.95 down to -0.40 (lag 8 or so) and up again.
        assert float(measured) == pytest.approx(expected, abs=0.08), lag


@pytest.mark.usefixtures("sionna")
def test_power_over_the_delays_is_the_standards_profile() -> None:
    """TDL-A of TR 38.901 table 7.7.2-1: the second tap is the strongest, 0 dB at 0.3819 DS."""
    h, delay_s = line("tdl-a", 20.0, 96, 64)
    power_db = 10 * torch.log10(h.abs().square().mean((0, 1)))
    relative = power_db - power_db[1]
    assert relative.argmax() == 1
    assert float(delay_s[1]) == pytest.approx(0.3819 * DELAY_SPREAD_S, rel=1e-4)
    for tap, expected in ((0, -13.4), (2, -2.2), (3, -4.0), (22, -29.7)):
        assert float(relative[tap]) == pytest.approx(expected, abs=1.0), tap


@pytest.mark.usefixtures("sionna")
def test_a_wide_band_fades_less_by_what_the_profile_says() -> None:
    """Var of the band's mean gain is the mean of |sum_l p_l exp(-j 2 pi df tau_l)|^2 [derived]."""
    bandwidth = 30e6
    doppler = doppler_of(0.0, 0.5)
    gains = band_gains("tdl-a", 6, doppler, 0.5, 3.5e9, bandwidth, slots=128)
    assert gains.shape == (16, 128, 6)
    assert float(gains.mean()) == pytest.approx(1.0, abs=1e-5)
    h, delay_s = line("tdl-a", 20.0, 96, 64)
    profile = h.abs().square().mean((0, 1))
    profile = profile / profile.sum()
    place = (torch.arange(FREQUENCIES) - torch.arange(FREQUENCIES).unsqueeze(1)) / FREQUENCIES
    turns = (place * bandwidth).unsqueeze(-1) * delay_s
    real = (profile * torch.cos(2 * math.pi * turns)).sum(-1)
    imag = (profile * torch.sin(2 * math.pi * turns)).sum(-1)
    expected = float((real.square() + imag.square()).mean())
    assert expected < 0.5  # a flat channel has 1
    assert float(gains.var()) == pytest.approx(expected, rel=0.25)


@pytest.mark.usefixtures("sionna")
def test_a_line_of_sight_fades_little() -> None:
    """With a Rician factor K of all taps, |h|^2 has variance (1 + 2K) / (1 + K)^2 [standard].

    TDL-D of TR 38.901 table 7.7.2-4: a line of sight of -0.2 dB beside taps of 0.12 in all.
    """
    taps_db = (
        -13.5,
        -18.8,
        -21,
        -22.8,
        -17.9,
        -20.1,
        -21.9,
        -22.9,
        -27.8,
        -23.6,
        -24.8,
        -30,
        -27.7,
    )
    k = 10**-0.02 / sum(10 ** (db / 10) for db in taps_db)
    expected = (1 + 2 * k) / (1 + k) ** 2
    assert expected == pytest.approx(0.21, abs=0.01)
    h = coefficients("tdl-d", 4, 1, 20.0, SLOT_S, CARRIER_HZ, recordings=16, slots=64)
    assert float(h.abs().square().var()) == pytest.approx(expected, rel=0.2)


@pytest.mark.usefixtures("sionna")
def test_a_drop_has_the_antennas_of_a_user_side_by_side() -> None:
    h = coefficients("umi-drop", 3, 2, 0.5, SLOT_S, CARRIER_HZ, recordings=4, slots=16)
    assert h.shape == (4, 16, 6)
    assert float(h.abs().square().mean()) == pytest.approx(1.0, abs=1e-5)
    # Half a wavelength apart, moving slowly: the antennas of a user are correlated, users are not.
    cross = torch.einsum("rti,rtj->rij", h, h.conj()).abs()
    own = torch.einsum("rii->ri", cross).real
    coherence = cross / (own.unsqueeze(1) * own.unsqueeze(2)).sqrt()
    pairs = coherence[:, [0, 2, 4], [1, 3, 5]].mean()
    assert float(pairs) > 0.8


@pytest.mark.usefixtures("sionna")
def test_a_drop_as_sionna_makes_it_has_about_unit_mean_power() -> None:
    parts = list(_parts("umi-drop", 24, 1, 20.0, SLOT_S, CARRIER_HZ, 4, 64))
    power = torch.cat([h for h, _ in parts]).abs().square().sum(2).mean()
    assert float(power) == pytest.approx(1.0, abs=0.1)


@pytest.mark.usefixtures("sionna")
def test_tables_repeat_and_leave_all_generators_alone() -> None:
    from sionna.phy import config

    torch.manual_seed(3)
    config.torch_rng("cpu").manual_seed(4)
    expected = torch.rand(1), torch.rand(1, generator=config.torch_rng("cpu"))
    torch.manual_seed(3)
    config.torch_rng("cpu").manual_seed(4)
    arguments = ("tdl-b", 1, 1, 20.0, SLOT_S, CARRIER_HZ)
    one = coefficients.__wrapped__(*arguments, recordings=2, slots=8)
    after = torch.rand(1), torch.rand(1, generator=config.torch_rng("cpu"))
    assert after == expected
    assert torch.equal(one, coefficients.__wrapped__(*arguments, recordings=2, slots=8))
