"""The uplink's fading from recordings and from Sionna, in the three event-offloading systems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from event_cases import batch

import sixgym  # noqa: F401  registers the ids
from sixgym.envs.backend.playback import Playback
from sixgym.envs.backend.rng import episode_key
from sixgym.envs.core.errors import ParamsError
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.event_offload.exit_params import EventOffloadExitParams
from sixgym.envs.event_offload.exit_system import EventOffloadExit
from sixgym.envs.event_offload.multi import EventOffloadMulti
from sixgym.envs.event_offload.multi_params import EventOffloadMultiParams
from sixgym.envs.event_offload.params import EventOffloadParams
from sixgym.envs.event_offload.state import SNR

SLOTS = 40
DB = np.random.default_rng(0).normal(0.0, 5.0, SLOTS)


def csv(folder: Path, name: str = "t.csv", **columns: Any) -> str:
    """A trace file of columns ``name__unit``."""
    names = [key.replace("__", " [") + "]" for key in columns]
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(names), *(",".join(map(repr, map(float, row))) for row in rows)]
    (folder / name).write_text("\n".join(lines))
    return f"trace:{folder / name}"


def starts(rows: int, seed: int, places: int = 1) -> np.ndarray[Any, Any]:
    """(rows, places) first row of the file of rows seeded ``seed``, in their first episode."""
    key = episode_key(torch.arange(seed, seed + rows), torch.zeros(rows, dtype=torch.int64))
    return Playback(np.zeros((1, SLOTS, 1)), places).start(key).numpy()


def seen_db(rows: int, slots: int, **params: Any) -> np.ndarray[Any, Any]:
    """(slots, rows) SNR of each slot, dB."""
    env = batch(rows, info_level=1, dtype="float64", **params)
    env.reset(seed=3)
    action = np.tile(np.float32([0.4, 0.7]), (rows, 1))
    return np.stack([env.step(action)[4]["gamma_db"] for _ in range(slots)])


@pytest.mark.parametrize(("column", "offset"), [("gain__dB", 7.0), ("snr__dB", 0.0)])
def test_the_snr_is_what_was_recorded(tmp_path: Path, column: str, offset: float) -> None:
    """A gain is relative to mean_snr_db, an SNR is itself; after the last row comes the first."""
    path = csv(tmp_path, **{column: DB})
    seen = seen_db(5, 50, channel=path, mean_snr_db=7.0)
    place = (starts(5, 3)[:, 0] + np.arange(50)[:, None]) % SLOTS
    np.testing.assert_allclose(seen, offset + DB[place], rtol=1e-9)


def test_a_linear_gain_of_zero_is_outage_and_finite(tmp_path: Path) -> None:
    env = batch(2, channel=csv(tmp_path, gain__1=[0.0, 0.0]), info_level=1)
    env.reset(seed=0)
    observation, _, _, _, info = env.step(np.float32([[0.2, 0.5]] * 2))
    assert np.isfinite(observation).all()
    assert (info["outage"] == 1.0).all()
    assert np.isfinite(info["gamma_db"]).all()


def test_events_are_those_of_the_model(tmp_path: Path) -> None:
    """Only the channel is another: labels and scores of a seed stay."""
    ours, model = (batch(4, **k) for k in ({"channel": csv(tmp_path, gain__dB=DB)}, {}))
    ours.reset(seed=1)
    model.reset(seed=1)
    action = np.float32([[0.4, 0.7]] * 4)
    for _ in range(3):
        one, two = ours.step(action)[4], model.step(action)[4]
        np.testing.assert_array_equal(one["tails_due"], two["tails_due"])
        states = ours.state_dict(), model.state_dict()
        assert torch.equal(states[0]["state.events"], states[1]["state.events"])


def test_exit_by_exit_hears_the_same_channel(tmp_path: Path) -> None:
    path = csv(tmp_path, gain__dB=DB)
    env = make_vector_env(EventOffloadExit, 3, dtype="float64", channel=path, num_events=2)
    env.reset(seed=3)
    place = starts(3, 3)[:, 0]
    for step in range(8):  # two events a slot, each leaves at once
        snr = env.state_dict()["state.vitals"].numpy()[:, SNR]
        np.testing.assert_allclose(10 * np.log10(snr), 10 + DB[(place + step // 2) % SLOTS])
        env.step(np.zeros(3, np.int64))


def test_devices_read_columns_or_places_of_their_own(tmp_path: Path) -> None:
    own = {f"gain_{n}__dB": DB + n for n in range(3)}
    paths = csv(tmp_path, "own.csv", **own), csv(tmp_path, "one.csv", gain__dB=DB)
    shared = {"num_devices": 3, "snr_spread_db": 0.0, "dtype": "float64"}
    for path, places in zip(paths, (1, 3), strict=True):
        env = make_vector_env(EventOffloadMulti, 4, channel=path, **shared)
        env.reset(seed=3)
        for slot in range(3):
            snr = env.state_dict()["state.vitals"].numpy()[..., SNR]
            expected = 10 + DB[(starts(4, 3, places) + slot) % SLOTS]
            expected = expected + (np.arange(3) if places == 1 else 0)
            np.testing.assert_allclose(10 * np.log10(snr), expected, rtol=1e-9)
            env.step(np.full(env.action_space.shape, 0.5, np.float32))


def test_a_held_snr_goes_before_the_recording(tmp_path: Path) -> None:
    env = batch(2, channel=csv(tmp_path, gain__dB=DB), info_level=1)
    env.reset(seed=0, options={"gamma_db": 4.0})
    for _ in range(3):
        info = env.step(np.float32([[0.2, 0.5]] * 2))[4]
        np.testing.assert_allclose(info["gamma_db"], 4.0, rtol=1e-5)


def test_row_i_equals_the_single_environment(tmp_path: Path) -> None:
    path = csv(tmp_path, gain__dB=DB)
    env = batch(4, steps=3, channel=path)
    seen = [env.reset(seed=7)[0]]
    action = np.float32([0.4, 0.7])
    seen += [env.step(np.tile(action, (4, 1)))[0] for _ in range(5)]  # through a reset
    single = gym.make(
        "sixgym/EventOffload-v0", max_episode_steps=3, channel=path, budget_mode="average"
    )
    observation, _ = single.reset(seed=9)
    for slot in range(6):
        np.testing.assert_allclose(observation, seen[slot][2], rtol=1e-5, atol=1e-6)
        observation = single.reset()[0] if slot == 3 else single.step(action)[0]


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (EventOffloadParams, {"channel": "jakes"}, "channel='jakes': no source; there are model, "),
        (EventOffloadParams, {"channel": "trace:no.csv"}, "channel='no.csv': does not exist"),
        (EventOffloadParams, {"traces": "no.npz"}, "traces='no.npz': does not exist"),
        (EventOffloadMultiParams, {"device_scores": ("no.npz",)}, "device_scores='no.npz': does"),
        (
            EventOffloadParams,
            {"channel": "trace:no.csv", "fading_correlation": 0.5},
            r"fading_correlation=0\.5: without effect on a recorded channel; allowed: 0\.0",
        ),
        (
            EventOffloadExitParams,
            {"channel": "sionna:tdl-a", "fading": "none"},
            "fading='none': allowed with channel='sionna:tdl-a': 'rayleigh'",
        ),
    ],
)
def test_a_wrong_source_is_named(kind: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message) as caught:
        kind.create(**params)
    assert "\n" not in str(caught.value)


def test_several_devices_have_no_one_snr(tmp_path: Path) -> None:
    path = csv(tmp_path, snr__dB=DB)
    with pytest.raises(
        ParamsError, match=r"columns are snr; allowed: gain or gain_0, gain_1, \.\."
    ):
        make_vector_env(EventOffloadMulti, 1, channel=path)


def test_hashes_name_the_content_of_all_files(tmp_path: Path) -> None:
    made = EventOffloadParams.create(channel=csv(tmp_path, gain__dB=DB))
    (tmp_path / "b").mkdir()
    moved = EventOffloadParams.create(channel=csv(tmp_path / "b", "x.csv", gain__dB=DB))
    other = EventOffloadParams.create(channel=csv(tmp_path, "y.csv", gain__dB=DB + 1))
    assert made.config_hash() == moved.config_hash() != other.config_hash()
    for name, content in (("a.npz", b"1"), ("same.npz", b"1"), ("c.npz", b"2")):
        (tmp_path / name).write_bytes(content)
    hashes = [
        kind.create(**{field: wrap(str(tmp_path / name))}).config_hash()
        for kind, field, wrap in (
            (EventOffloadParams, "traces", str),
            (EventOffloadMultiParams, "device_scores", lambda path: ("digits38", path)),
        )
        for name in ("a.npz", "same.npz", "c.npz")
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    assert hashes[3] == hashes[4] != hashes[5]


@pytest.mark.parametrize(("kind", "most"), [("tdl-a", 0.6), ("umi-drop", 0.9)])
def test_gains_from_sionna(kind: str, most: float) -> None:
    """Unit mean, and over 30 MHz less fading than the Rayleigh model, whose variance is 1."""
    pytest.importorskip("sionna.phy", reason="the channel is made by Sionna")
    gain = 10 ** (seen_db(256, 8, channel=f"sionna:{kind}", mean_snr_db=0.0) / 10)
    # Independent slots of 16 recordings; in a drop each is one terminal with its own spread.
    assert gain.mean() == pytest.approx(1.0, abs=0.15)
    assert 0.01 < gain.var() < most


@pytest.mark.slow
def test_the_compiled_step_equals_the_eager_one(tmp_path: Path) -> None:
    torch.compiler.reset()
    eager, fused = (batch(8, channel=csv(tmp_path, gain__dB=DB), compile=c) for c in (False, True))
    eager.reset(seed=7)
    fused.reset(seed=7)
    action = np.tile(np.float32([0.4, 0.7]), (8, 1))
    for _ in range(6):
        one, two = eager.step(action), fused.step(action)
        for a, b in zip(one[:4], two[:4], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
