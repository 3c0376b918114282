"""The uplink's numbers: sections 1.6, 1.7 and checks 7 and 8 of the specification."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sixgym.envs.event_offload.link import Link
from sixgym.envs.event_offload.params import EventOffloadParams


def link(**values: float) -> Link:
    return Link(EventOffloadParams.create(**values))


def snr(decibel: float) -> torch.Tensor:
    return torch.tensor(10.0 ** (decibel / 10.0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("decibel", "rate_mbps", "energy_mj"),
    [
        (-10, 4.125, 254.19),
        (-5, 11.892, 88.17),
        (0, 30.000, 34.95),
        (5, 61.721, 16.99),
        (10, 103.783, 10.10),
        (15, 150.834, 6.95),
        (20, 199.746, 5.25),
    ],
)
def test_rate_time_and_energy(decibel: float, rate_mbps: float, energy_mj: float) -> None:
    assert float(link().rate_bps(snr(decibel))) / 1e6 == pytest.approx(rate_mbps, abs=5e-4)
    assert 1e3 * float(link().airtime_s(snr(decibel))) == pytest.approx(energy_mj, abs=5e-3)
    assert 1e3 * float(link().offload_energy_j(snr(decibel))) == pytest.approx(energy_mj, abs=5e-3)


@pytest.mark.parametrize(
    ("deadline_s", "least", "outage"),
    [(0.1, 0.274141, 0.027042), (0.05, 0.623436, 0.060440), (0.02, 2.358057, 0.210066)],
)
def test_outage(deadline_s: float, least: float, outage: float) -> None:
    uplink = link(deadline_s=deadline_s)
    assert uplink.min_snr == pytest.approx(least, abs=5e-7)
    assert uplink.outage_probability(10.0) == pytest.approx(outage, abs=5e-7)


def test_capacity() -> None:
    """K_max = 5 at gamma_min, reaches M = 20 at 2.14 dB, is 0 in outage."""
    uplink = link()
    around = torch.tensor([0.0, 0.2741, 0.27415], dtype=torch.float64)
    assert uplink.capacity(around).tolist() == [0.0, 0.0, 5.0]
    assert uplink.capacity(torch.stack([snr(2.13), snr(2.15)])).tolist() == [19.0, 20.0]


def test_mean_transmit_energy_over_rayleigh_fading() -> None:
    """15.475 mJ with nothing sent in outage, 15.905 mJ given no outage, at 10 dB."""
    uplink = link()
    # The midpoint rule on u = exp(-gamma / gbar), from outage on.
    up = 1.0 - uplink.outage_probability(10.0)
    u = up * (torch.arange(2_000_000, dtype=torch.float64) + 0.5) / 2_000_000
    mean = 1e3 * float(uplink.offload_energy_j(-10.0 * torch.log(u)).mean())
    assert mean == pytest.approx(15.905, abs=1e-3)
    assert mean * up == pytest.approx(15.475, abs=1e-3)


def test_ergodic_spectral_efficiency() -> None:
    """e^0.1 E1(0.1) / ln 2 = 2.906515 bit/s/Hz at 10 dB."""
    u = (torch.arange(2_000_000, dtype=torch.float64) + 0.5) / 2_000_000
    rate = link(bandwidth_hz=1.0).rate_bps(-10.0 * torch.log(u)).mean()
    assert float(rate) == pytest.approx(2.906515, abs=1e-5)


@pytest.mark.parametrize(
    ("share", "gamma", "decibel"),
    [(0.05, 0.41585, -3.81), (0.10, 1.00464, 0.02), (1.0, 1047.02, 30.20)],
)
def test_feasibility_lemma(share: float, gamma: float, decibel: float) -> None:
    """At xi = 5 mJ and exit 1 only (E_loc = 1.5164 mJ)."""
    local = 75.82e6 * 20e-12
    got = link().feasible_snr(local, share, 5e-3)
    assert local == pytest.approx(1.5164e-3)
    assert got == pytest.approx(gamma, rel=1.5e-5)
    assert 10.0 * math.log10(got) == pytest.approx(decibel, abs=5e-3)
    energy = float(link().offload_energy_j(torch.tensor(got, dtype=torch.float64)))
    assert local + share * energy == pytest.approx(5e-3, rel=1e-9)


def test_what_no_snr_makes_feasible() -> None:
    uplink = link()
    assert uplink.feasible_snr(6e-3, 0.0, 5e-3) == math.inf
    assert uplink.feasible_snr(5e-3, 0.1, 5e-3) == math.inf
    assert uplink.feasible_snr(5e-3, 0.0, 5e-3) == 0.0
    assert link(payload_bits=1e12, deadline_s=1e-6).min_snr == math.inf


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_a_better_channel_is_never_worse(first: float, second: float) -> None:
    gamma = torch.tensor(sorted([first, second]))
    uplink = link()
    assert torch.isfinite(uplink.offload_energy_j(gamma)).all()
    assert (uplink.rate_bps(gamma).diff() >= 0.0).all()
    assert (uplink.offload_energy_j(gamma).diff() <= 0.0).all()
    assert (uplink.capacity(gamma).diff() >= 0.0).all()
