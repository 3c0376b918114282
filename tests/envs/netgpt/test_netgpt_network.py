"""Network and price processes, options of the reset, traces and their faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from netgpt_cases import STATIONARY, batch, play

from sixgym.envs.core.errors import OptionsError, ParamsError
from sixgym.envs.netgpt.params import NetGptThresholdParams
from sixgym.envs.netgpt.trace_files import read_trace, save_trace


def watch(slots: int, rows: int = 256, **kwargs: Any) -> dict[str, Any]:
    return play(batch(rows=rows, info_level=1, **kwargs), 0.5, slots)


def test_the_start_law_is_stationary_and_reversible() -> None:
    p = NetGptThresholdParams.create()
    law, moves = np.array(p.regime_start), np.array(p.regime_transition)
    assert law == pytest.approx(STATIONARY)
    assert law @ moves == pytest.approx(law)
    flow = law[:, None] * moves
    assert flow == pytest.approx(flow.T)


def test_regimes_keep_their_law_and_their_transitions() -> None:
    regime = watch(60, rows=1024)["regime"].astype(int)
    for at in (0, 59):
        share = np.bincount(regime[at], minlength=4) / 1024
        assert np.abs(share - STATIONARY).max() < 3.5 * 0.5 / 32
    moves = np.zeros((4, 4))
    np.add.at(moves, (regime[:-1].ravel(), regime[1:].ravel()), 1)
    moves /= moves.sum(1, keepdims=True)
    expected = np.array(NetGptThresholdParams.create().regime_transition)
    assert np.abs(moves - expected).max() < 0.01
    assert (moves[expected == 0] == 0).all()


def test_jitter_is_a_stationary_autoregression() -> None:
    seen = watch(40, rows=1024, network="markov+ar", regime_bandwidth_mbps=(20.0,) * 4)
    jitter = np.log(seen["bandwidth_mbps"] / 20.0)
    for at in (0, 39):
        assert jitter[at].std() == pytest.approx(0.30, rel=0.08)
        assert abs(jitter[at].mean()) < 3.5 * 0.30 / 32
    pairs = np.corrcoef(jitter[:-1].ravel(), jitter[1:].ravel())[0, 1]
    assert pairs == pytest.approx(0.9, abs=0.01)
    inverse = (20.0 / seen["bandwidth_mbps"]).mean()
    assert inverse == pytest.approx(1.04603, abs=0.02)
    rtt = watch(1, rows=1024, network="markov+ar", regime_rtt_s=(0.1,) * 4)["rtt_s"]
    assert np.log(rtt / 0.1).std() == pytest.approx(0.15, rel=0.08)


@pytest.mark.parametrize(("name", "at"), [("G", 0), ("M", 1), ("P", 2), ("X", 3)])
def test_frozen_regimes_stay(name: str, at: int) -> None:
    seen = watch(5, rows=2, network=f"frozen:{name}")
    assert (seen["regime"] == at).all()
    assert seen["bandwidth_mbps"] == pytest.approx((100.0, 20.0, 4.0, 1.0)[at])
    assert seen["rtt_s"] == pytest.approx((0.02, 0.06, 0.15, 0.3)[at])


def test_harsh_knows_two_regimes_alike_often() -> None:
    regime = watch(40, rows=512, preset="harsh")["regime"]
    assert set(np.unique(regime)) == {0.0, 3.0}
    assert (regime == 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (regime[1:] != regime[:-1]).mean() == pytest.approx(0.05, abs=0.01)


def test_time_of_use_is_cheap_a_third_of_its_cycle_at_a_phase_by_the_seed() -> None:
    price = watch(200, rows=32, preset="tou")["price_mult"]
    assert ((price == 1.0) | (price == 0.5)).all()
    assert (price == 0.5).sum(0) == pytest.approx(67)
    starts = (price[0] == 0.5).mean()
    assert 0.1 < starts < 0.6
    assert len({tuple(p) for p in price.T.tolist()}) > 16


def test_surges_have_their_stationary_share_and_persistence() -> None:
    price = watch(60, rows=1024, preset="surge")["price_mult"]
    assert set(np.unique(price)) == {1.0, 3.0}
    for at in (0, 59):
        assert (price[at] == 3.0).mean() == pytest.approx(2 / 7, abs=0.045)
    calm = price[:-1] == 1.0
    assert (price[1:][calm] == 3.0).mean() == pytest.approx(0.02, abs=0.004)
    assert (price[1:][~calm] == 1.0).mean() == pytest.approx(0.05, abs=0.008)


def test_measurement_errors_are_seen_but_not_suffered() -> None:
    clean, noisy = (batch(rows=512, obs_noise=s, info_level=1) for s in (0.0, 0.2))
    a, b = clean.reset(seed=1)[0], noisy.reset(seed=1)[0]
    error = 3.0 * (b[:, 0] - a[:, 0])
    assert error.std() == pytest.approx(0.2, rel=0.1)
    assert abs(np.corrcoef(error, b[:, 1] - a[:, 1])[0, 1]) < 0.15
    action = np.full((512, 1), 0.6, np.float32)
    one, two = clean.step(action), noisy.step(action)
    assert (one[1] == two[1]).all()


# --------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("kind", ["threshold", "route", "batch"])
def test_options_hold_the_network_for_the_episode(kind: str) -> None:
    env = batch(kind, rows=3, info_level=1, obs_noise=0.1)
    options = {"bandwidth_mbps": [1.0, 2.0, 3.0], "rtt_s": 0.2, "price_mult": 2.0}
    observation, _ = env.reset(seed=0, options=options)
    action = {"threshold": np.zeros((3, 1), np.float32), "route": np.zeros(3, np.int64)}.get(
        kind, np.zeros((3, 32), np.int8)
    )
    first = observation["global"] if kind == "batch" else observation
    assert first[:, 2] == pytest.approx(1.0)
    for _ in range(20):
        info = env.step(action)[4]
        assert info["bandwidth_mbps"].tolist() == [1.0, 2.0, 3.0]
        assert info["rtt_s"] == pytest.approx(0.2)
        assert info["price_mult"] == pytest.approx(2.0)
    env.reset(options={"rtt_s": 0.0})
    assert env.step(action)[4]["rtt_s"] == pytest.approx(0.0)
    env.reset()
    assert len(set(env.step(action)[4]["bandwidth_mbps"].tolist())) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"bandwidth_mbps": 0.0},
        {"bandwidth_mbps": "fast"},
        {"rtt_s": -0.1},
        {"rtt_s": [0.1, 0.2]},
        {"price_mult": float("nan")},
        {"trace_row": 0},
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any]) -> None:
    env = batch(rows=3)
    env.reset(seed=0)
    with pytest.raises(OptionsError, match=next(iter(options))):
        env.reset(options=options)


# ---------------------------------------------------------------------------------------- traces

BANDWIDTH, RTT = [1.0, 20.0, 300.0], [0.3, 0.05, 0.01]


def test_a_trace_is_replayed_from_arrays_csv_and_npz_alike(tmp_path: Path) -> None:
    table = tmp_path / "net.csv"
    table.write_text("time,rtt_s,bandwidth_mbps\n0,0.3,1\n1,0.05,20\n2,0.01,300\n\n")
    packed = save_trace(tmp_path / "net.npz", BANDWIDTH, RTT)
    for given in (
        {"trace": str(table)},
        {"trace": packed},
        {"trace_bandwidth_mbps": np.array(BANDWIDTH), "trace_rtt_s": RTT},
    ):
        seen = watch(7, rows=2, network="trace", **given)
        assert seen["bandwidth_mbps"][:, 1].tolist() == pytest.approx([*BANDWIDTH * 2, 1.0])
        assert seen["rtt_s"][:, 1].tolist() == pytest.approx([*RTT * 2, 0.3])
        assert (seen["regime"] == -1).all()


def test_a_trace_may_begin_anywhere() -> None:
    given = {"network": "trace", "trace_bandwidth_mbps": BANDWIDTH, "trace_rtt_s": RTT}
    seen = watch(1, rows=64, trace_start="uniform", **given)
    assert set(np.unique(seen["bandwidth_mbps"])) == set(BANDWIDTH)
    env = batch(rows=3, info_level=1, **given)
    env.reset(seed=0, options={"trace_row": [0, 1, 2]})
    action = np.zeros((3, 1), np.float32)
    assert env.step(action)[4]["bandwidth_mbps"].tolist() == BANDWIDTH
    assert env.step(action)[4]["bandwidth_mbps"].tolist() == [20.0, 300.0, 1.0]
    with pytest.raises(OptionsError, match="trace_row"):
        env.reset(options={"trace_row": 3})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.csv", None, "does not exist"),
        ("a.txt", "bandwidth_mbps,rtt_s\n1,1\n", ".csv, .npz"),
        ("a.csv", "", "no column bandwidth_mbps, rtt_s"),
        ("a.csv", "bandwidth,rtt_s\n1,1\n", "no column bandwidth_mbps"),
        ("a.csv", "bandwidth_mbps,rtt_s\n", "allowed: (slots,)"),
        ("a.csv", "bandwidth_mbps,rtt_s\n1,fast\n", "line 2, column rtt_s: 'fast'"),
        ("a.csv", "bandwidth_mbps,rtt_s\n1,0.1\n2\n", "line 3, column rtt_s: ''"),
        ("a.csv", "bandwidth_mbps,rtt_s\n0,0.1\n", "bandwidth_mbps is 0 at row 0"),
        ("a.csv", "bandwidth_mbps,rtt_s\n1,nan\n", "rtt_s is nan at row 0"),
        ("a.csv", "bandwidth_mbps,rtt_s\n1,-1\n", "rtt_s is -1 at row 0"),
        ("a.csv", b"\xff\xfe\x00bad", "not a text"),
        ("a.npz", b"not a zip", "not an .npz archive"),
    ],
)
def test_faulty_traces_are_refused_with_the_place(
    tmp_path: Path, name: str, content: str | bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ParamsError) as error:
        batch(rows=1, network="trace", trace=str(path))
    assert says in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_faulty_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, bandwidth_mbps=np.ones(3))
    with pytest.raises(ParamsError, match="array rtt_s is missing"):
        read_trace(str(path))
    np.savez(path, bandwidth_mbps=np.ones(3), rtt_s=np.ones((3, 1)))
    with pytest.raises(ParamsError, match=r"rtt_s has shape \(3, 1\)"):
        read_trace(str(path))
    np.savez(path, bandwidth_mbps=np.ones(3), rtt_s=np.ones(2))
    with pytest.raises(ParamsError, match="as many of each"):
        read_trace(str(path))
    np.savez(path, bandwidth_mbps=np.ones(3), rtt_s=np.array(["a", "b", "c"]))
    with pytest.raises(ParamsError, match="rtt_s has type"):
        read_trace(str(path))
    np.savez(path, bandwidth_mbps=np.ones(3), rtt_s=np.array([None, 1, 2]))
    with pytest.raises(ParamsError, match="archive of plain arrays"):
        read_trace(str(path))
    with pytest.raises(ParamsError, match="folder"):
        read_trace(str(tmp_path))
    with pytest.raises(ParamsError, match=r"ending in \.npz"):
        save_trace(tmp_path / "a.csv", BANDWIDTH, RTT)
    with pytest.raises(ParamsError, match="trace_rtt_s"):
        batch(network="trace", trace_bandwidth_mbps=(1.0, 2.0), trace_rtt_s=(0.1,))


def test_a_rewritten_trace_is_read_again(tmp_path: Path) -> None:
    path = save_trace(tmp_path / "a.npz", BANDWIDTH, RTT)
    assert read_trace(path) is read_trace(path)
    save_trace(path, [5.0], [0.5])
    assert read_trace(path).bandwidth_mbps.tolist() == [5.0]
