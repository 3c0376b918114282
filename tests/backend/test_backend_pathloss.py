"""Path loss laws against hand values and an independent transcription of the 3GPP tables."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sixgym.envs.backend import pathloss

F64 = torch.float64
distances = st.floats(10.0, 5000.0)
carriers = st.floats(0.5e9, 100e9)


def metres(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


def test_log_distance_gains_of_the_dossier() -> None:
    """Dossier T2: C0 = -30 dB; exponents 3.5 and 2.2."""
    direct = pathloss.log_distance_gain(metres(40.0), 3.5, -30.0)
    assert direct.item() == pytest.approx(2.47052942e-9, rel=1e-8)
    reflected = pathloss.log_distance_gain(metres(10.0, 40.0), 2.2, -30.0)
    assert reflected.tolist() == pytest.approx([6.30957344e-6, 2.98860156e-7], rel=1e-8)


def test_gains_at_the_disc_centre_of_the_dossier() -> None:
    """Dossier 4: -96.408 dB direct with 10 dB of blockage, -54.598 and -65.535 dB over the RIS."""
    direct = pathloss.log_distance_gain(metres(math.hypot(40, 8.5)), 3.5, -30.0, 10.0)
    assert pathloss.linear_to_db(direct).item() == pytest.approx(-96.408, abs=1e-3)
    user_ris = pathloss.log_distance_gain(metres(math.hypot(10, 8.5)), 2.2, -30.0)
    ris_ap = pathloss.log_distance_gain(metres(math.hypot(40, 10)), 2.2, -30.0)
    assert pathloss.linear_to_db(user_ris).item() == pytest.approx(-54.598, abs=1e-3)
    assert pathloss.linear_to_db(ris_ap).item() == pytest.approx(-65.535, abs=1e-3)
    cascaded_db = pathloss.linear_to_db(user_ris * ris_ap).item()
    assert cascaded_db == pytest.approx(-120.133, abs=1e-3)
    assert math.sqrt(direct.item() / (user_ris * ris_ap).item()) == pytest.approx(15.4, abs=0.05)


def test_decibels() -> None:
    assert pathloss.dbm_to_watt(-80.0) == pytest.approx(1e-11, rel=1e-14)
    assert pathloss.watt_to_dbm(0.2) == pytest.approx(23.0103, abs=1e-4)
    ratio = metres(1e-12, 0.5, 1.0, 2.0)
    torch.testing.assert_close(pathloss.db_to_linear(pathloss.linear_to_db(ratio)), ratio)
    assert pathloss.gain_of_loss(metres(0.0, 10.0, 30.0)).tolist() == pytest.approx([1, 0.1, 1e-3])
    assert pathloss.linear_to_db(metres(0.0)).item() == -math.inf


def test_free_space_loss_of_one_km_at_one_ghz() -> None:
    """92.45 dB, the constant of the engineering formula in km and GHz."""
    loss = pathloss.free_space_loss_db(metres(1000.0, 10000.0), 1e9)
    assert loss.tolist() == pytest.approx([92.4478, 112.4478], abs=1e-4)


def table_loss(
    scenario: str, d2: float, fc: float, h_ut: float, h_bs: float
) -> tuple[float, float]:
    """Tables 7.4.1-1 in scalar form: (line of sight, no line of sight)."""
    d3, f = math.sqrt(d2 * d2 + (h_bs - h_ut) ** 2), fc / 1e9
    bp = 4 * (h_bs - 1) * (h_ut - 1) * fc / 299792458
    square = bp**2 + (h_bs - h_ut) ** 2
    if scenario == "umi":
        los = 32.4 + 21 * math.log10(d3) + 20 * math.log10(f)
        if d2 >= bp:
            los = 32.4 + 40 * math.log10(d3) + 20 * math.log10(f) - 9.5 * math.log10(square)
        other = 35.3 * math.log10(d3) + 22.4 + 21.3 * math.log10(f) - 0.3 * (h_ut - 1.5)
    else:
        los = 28 + 22 * math.log10(d3) + 20 * math.log10(f)
        if d2 >= bp:
            los = 28 + 40 * math.log10(d3) + 20 * math.log10(f) - 9 * math.log10(square)
        other = 13.54 + 39.08 * math.log10(d3) + 20 * math.log10(f) - 0.6 * (h_ut - 1.5)
    return los, max(los, other)


@given(distances, carriers, st.floats(1.5, 22.5))
def test_urban_losses_equal_the_tables(d2: float, fc: float, height: float) -> None:
    d = metres(d2)
    los, nlos = table_loss("umi", d2, fc, height, 10.0)
    assert pathloss.umi_los_loss_db(d, fc, height).item() == pytest.approx(los, rel=1e-12)
    assert pathloss.umi_nlos_loss_db(d, fc, height).item() == pytest.approx(nlos, rel=1e-12)
    los, nlos = table_loss("uma", d2, fc, height, 25.0)
    assert pathloss.uma_los_loss_db(d, fc, height).item() == pytest.approx(los, rel=1e-12)
    assert pathloss.uma_nlos_loss_db(d, fc, height).item() == pytest.approx(nlos, rel=1e-12)


@given(st.floats(1.0, 150.0), carriers)
def test_indoor_losses_equal_the_tables(d3: float, fc: float) -> None:
    f = fc / 1e9
    los = 32.4 + 17.3 * math.log10(d3) + 20 * math.log10(f)
    nlos = max(los, 38.3 * math.log10(d3) + 17.3 + 24.9 * math.log10(f))
    assert pathloss.inh_los_loss_db(metres(d3), fc).item() == pytest.approx(los, rel=1e-12)
    assert pathloss.inh_nlos_loss_db(metres(d3), fc).item() == pytest.approx(nlos, rel=1e-12)


def test_hand_values_at_100_m_and_3_5_ghz() -> None:
    """32.4 + 21 lg 100.36 + 20 lg 3.5 = 85.31 dB and so on, worked with a pocket calculator."""
    d = metres(100.0)
    assert pathloss.umi_los_loss_db(d, 3.5e9).item() == pytest.approx(85.314, abs=2e-3)
    assert pathloss.umi_nlos_loss_db(d, 3.5e9).item() == pytest.approx(104.644, abs=2e-3)
    assert pathloss.uma_los_loss_db(d, 3.5e9).item() == pytest.approx(83.138, abs=1e-3)
    assert pathloss.uma_nlos_loss_db(d, 3.5e9).item() == pytest.approx(103.0375, abs=1e-3)
    assert pathloss.inh_los_loss_db(metres(10.0), 3.5e9).item() == pytest.approx(60.581, abs=2e-3)


def test_loss_is_continuous_at_the_breakpoint() -> None:
    """UMi at 3.5 GHz bends at 4 (10-1)(1.5-1) f/c = 210.15 m."""
    assert pathloss.breakpoint_distance(1.5, 10.0, 3.5e9) == pytest.approx(210.1454, abs=1e-3)
    for law, base_height in ((pathloss.umi_los_loss_db, 10.0), (pathloss.uma_los_loss_db, 25.0)):
        corner = pathloss.breakpoint_distance(1.5, base_height, 3.5e9)
        assert isinstance(corner, float)
        below, above = law(metres(corner * (1 - 1e-9), corner * (1 + 1e-9)), 3.5e9)
        # the table joins at 19 lg(slant at the corner) only to this accuracy
        assert (above - below).item() == pytest.approx(0.0, abs=0.1)


@given(distances, st.floats(1.001, 3.0), carriers)
def test_loss_rises_with_distance_and_obstruction(d: float, ratio: float, fc: float) -> None:
    near_far = metres(d, d * ratio)
    for los, nlos in (
        (pathloss.umi_los_loss_db, pathloss.umi_nlos_loss_db),
        (pathloss.uma_los_loss_db, pathloss.uma_nlos_loss_db),
    ):
        assert bool((nlos(near_far, fc) >= los(near_far, fc)).all())
        assert nlos(near_far, fc).diff().item() > 0


def test_heights_as_tensors_broadcast() -> None:
    d = torch.linspace(20.0, 900.0, 12, dtype=F64).reshape(3, 4)
    heights = metres(1.5, 5.0, 12.0, 20.0)
    loss = pathloss.umi_nlos_loss_db(d, 6e9, heights)
    for column, height in enumerate(heights.tolist()):
        alone = pathloss.umi_nlos_loss_db(d[:, column], 6e9, height)
        torch.testing.assert_close(loss[:, column], alone)
    chance = pathloss.uma_los_probability(d, heights)
    torch.testing.assert_close(chance[:, 3], pathloss.uma_los_probability(d[:, 3], 20.0))


def test_los_probability_values() -> None:
    """Worked from table 7.4.2-1."""
    umi = pathloss.umi_los_probability(metres(0.0, 18.0, 36.0, 100.0))
    assert umi.tolist() == pytest.approx(
        [1.0, 1.0, 0.5 + 0.5 * math.exp(-1), 0.18 + 0.82 * math.exp(-100 / 36)]
    )
    uma = pathloss.uma_los_probability(metres(0.0, 18.0, 63.0, 100.0), 1.5)
    near = 18 / 63
    assert uma.tolist() == pytest.approx(
        [1.0, 1.0, near + math.exp(-1) * (1 - near), 0.18 + 0.82 * math.exp(-100 / 63)]
    )
    tall = pathloss.uma_los_probability(metres(100.0), 23.0).item()
    assert tall == pytest.approx(uma[3].item() * (1 + 1.25 * math.exp(-100 / 150)))
    mixed = pathloss.inh_mixed_los_probability(metres(0.5, 1.2, 5.9, 6.5, 39.1))
    assert mixed.tolist() == pytest.approx([1, 1, math.exp(-1), 0.32, 0.32 * math.exp(-1)])
    opened = pathloss.inh_open_los_probability(metres(3.0, 5.0, 49.0, 260.7))
    assert opened.tolist() == pytest.approx([1, 1, math.exp(-44 / 70.8), 0.54 * math.exp(-1)])


@given(st.floats(0.0, 5000.0))
def test_los_probability_is_a_probability(d: float) -> None:
    at = metres(d)
    for chance in (
        pathloss.umi_los_probability(at),
        pathloss.uma_los_probability(at, 1.5),
        pathloss.uma_los_probability(at, 23.0),
        pathloss.inh_mixed_los_probability(at),
        pathloss.inh_open_los_probability(at),
    ):
        assert 0.0 <= chance.item() <= 1.0


def test_shadow_sigmas_of_the_table() -> None:
    assert pathloss.UMI_SHADOW_DB == (4.0, 7.82)
    assert pathloss.UMA_SHADOW_DB == (4.0, 6.0)
    assert pathloss.INH_SHADOW_DB == (3.0, 8.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda d: pathloss.umi_los_loss_db(d, 3.5),
            "carrier_hz = 3.5, must be from 0.5e9 to 100e9",
        ),
        (lambda d: pathloss.inh_nlos_loss_db(d, 2e11), "carrier_hz = 200000000000.0, must be from"),
        (lambda d: pathloss.uma_nlos_loss_db(d, 1e9, 1.0), "user_height_m = 1.0, must be from 1.5"),
        (lambda d: pathloss.uma_los_loss_db(d, 1e9, 1.5, 1.0), "base_height_m = 1.0, must be > 1"),
        (lambda d: pathloss.uma_los_probability(d, 24.0), "user_height_m = 24.0, must be <= 23"),
        (lambda d: pathloss.free_space_loss_db(d, 0.0), "carrier_hz = 0.0, must be > 0"),
        (lambda d: pathloss.log_distance_gain(d, -1.0, 0.0), "exponent = -1.0, must be >= 0"),
        (lambda d: pathloss.watt_to_dbm(0.0), "power_w = 0.0, must be > 0"),
    ],
)
def test_wrong_scalars_are_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call(metres(10.0))
