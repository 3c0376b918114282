"""Direct links and traffic from recordings and from Sionna, in the views of RIS-NOMA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import sixgym  # noqa: F401  registers the ids
from sixgym.envs.backend.playback import Playback
from sixgym.envs.backend.rng import episode_key
from sixgym.envs.core.errors import ParamsError
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.ris_noma.params import RisNomaParams, RisNomaSelectParams
from sixgym.envs.ris_noma.system import RisNoma, RisNomaSelect

USERS, SLOTS = 4, 50


def batch(rows: int, system: Any = RisNoma, **params: Any) -> SixgymVectorEnv:
    return make_vector_env(system, rows, max_episode_steps=100, dtype="float64", **params)


def save(folder: Path, name: str, **columns: Any) -> str:
    """A trace file of columns ``name__unit``."""
    arrays = {key.replace("__", " [") + "]": np.asarray(v) for key, v in columns.items()}
    np.savez(folder / name, **arrays)
    return f"trace:{folder / name}"


def coefficients(seed: int = 0) -> np.ndarray[Any, Any]:
    """(slots, users) complex of unit mean power."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(SLOTS, USERS)) + 1j * rng.normal(size=(SLOTS, USERS))) / np.sqrt(2)


def complex_file(folder: Path, h: np.ndarray[Any, Any]) -> str:
    parts = {f"direct_re_{k}__1": h[:, k].real for k in range(USERS)}
    parts |= {f"direct_im_{k}__1": h[:, k].imag for k in range(USERS)}
    return save(folder, "h.npz", **parts)


def links_of(env: SixgymVectorEnv) -> np.ndarray[Any, Any]:
    """(rows, links) complex."""
    links = env.state_dict()["state.links"].numpy()
    return np.asarray(links[:, 0] + 1j * links[:, 1])


def starts(rows: int, seed: int, slots: int = SLOTS, places: int = 1) -> np.ndarray[Any, Any]:
    """(rows, places) first row of the file of rows seeded ``seed``, in their first episode."""
    key = episode_key(torch.arange(seed, seed + rows), torch.zeros(rows, dtype=torch.int64))
    return Playback(np.zeros((1, slots, 1)), places).start(key).numpy()


def step(env: SixgymVectorEnv) -> Any:
    return env.step(np.zeros(env.action_space.shape, np.float32))


def test_direct_links_are_the_recorded_coefficients_times_the_path_loss(tmp_path: Path) -> None:
    h = coefficients()
    env, model = batch(3, channel=complex_file(tmp_path, h)), batch(3)
    env.reset(seed=5)
    model.reset(seed=5)
    amplitude = env.state_dict()["state.scatter"].numpy()[:, :USERS]
    first = starts(3, 5)[:, 0]
    for slot in range(60):  # longer than the file: it wraps
        expected = h[(first + slot) % SLOTS] * amplitude
        np.testing.assert_allclose(links_of(env)[:, :USERS], expected, rtol=1e-12)
        # The surface's links are the model's, draw for draw.
        np.testing.assert_array_equal(links_of(env)[:, USERS:], links_of(model)[:, USERS:])
        step(env)
        step(model)


def test_the_gain_that_is_served_follows_the_recording(tmp_path: Path) -> None:
    """Without a surface the state's gain over noise is |h|^2 times the mean gain."""
    h = coefficients()
    env = batch(2, channel=complex_file(tmp_path, h), num_elements=0)
    env.reset(seed=0)
    step(env)
    saved = env.state_dict()
    mean = saved["state.scatter"].numpy()[:, :USERS] ** 2
    recorded = np.abs(h[(starts(2, 0)[:, 0] + 1) % SLOTS]) ** 2
    np.testing.assert_allclose(saved["state.gain"].numpy(), recorded * mean, rtol=1e-9)


def test_recorded_powers_keep_the_models_phase(tmp_path: Path) -> None:
    db = np.random.default_rng(1).normal(size=(SLOTS, USERS)) * 5
    columns = {f"direct_gain_{k}__dB": db[:, k] for k in range(USERS)}
    env, model = batch(3, channel=save(tmp_path, "g.npz", **columns)), batch(3)
    env.reset(seed=2)
    model.reset(seed=2)
    direct = links_of(env)[:, :USERS]
    amplitude = env.state_dict()["state.scatter"].numpy()[:, :USERS]
    power = 10 ** (db[starts(3, 2)[:, 0]] / 10)
    np.testing.assert_allclose(np.abs(direct) ** 2, power * amplitude**2, rtol=1e-12)
    drawn = links_of(model)[:, :USERS]
    np.testing.assert_allclose(direct / np.abs(direct), drawn / np.abs(drawn), rtol=1e-9)


def test_users_read_one_series_at_places_of_their_own(tmp_path: Path) -> None:
    h = coefficients()[:, 0]
    path = save(tmp_path, "one.npz", direct_re__1=h.real, direct_im__1=h.imag)
    env = batch(4, channel=path)
    env.reset(seed=9)
    step(env)
    first = starts(4, 9, places=USERS)
    amplitude = env.state_dict()["state.scatter"].numpy()[:, :USERS]
    expected = h[(first + 1) % SLOTS] * amplitude
    np.testing.assert_allclose(links_of(env)[:, :USERS], expected, rtol=1e-12)
    assert len(set(first[0])) > 1


def test_antennas_have_columns_of_their_own(tmp_path: Path) -> None:
    names = [f"{k}_{m}" for k in range(USERS) for m in range(2)]
    columns = {f"direct_gain_{name}__1": np.full(5, 1.0 + i) for i, name in enumerate(names)}
    env = batch(2, channel=save(tmp_path, "a.npz", **columns), num_antennas=2)
    env.reset(seed=0)
    amplitude = env.state_dict()["state.scatter"].numpy()[:, : 2 * USERS]
    power = np.abs(links_of(env)[:, : 2 * USERS]) ** 2 / amplitude**2
    np.testing.assert_allclose(power, np.tile(1.0 + np.arange(8), (2, 1)), rtol=1e-9)


def test_traffic_is_what_was_recorded(tmp_path: Path) -> None:
    kbit = np.random.default_rng(3).integers(0, 60, (SLOTS, USERS)).astype(float)
    columns = {f"arrivals_{k}__kbit": kbit[:, k] for k in range(USERS)}
    env = batch(3, arrivals=save(tmp_path, "t.npz", **columns))
    env.reset(seed=4)
    first = starts(3, 4)[:, 0]
    saved = env.state_dict()["state.users"].numpy()
    np.testing.assert_allclose(saved[..., -1], 1000 * kbit[first], rtol=1e-12)
    assert saved[..., 0] == pytest.approx(1000 * kbit.mean())
    for slot in range(1, 5):
        info = step(env)[4]
        expected = 1000 * kbit[(first + slot) % SLOTS]
        np.testing.assert_allclose(info["arrived_bits"], expected.sum(1), rtol=1e-9)
        backlog = env.state_dict()["state.users"].numpy()[..., -1]
        np.testing.assert_allclose(backlog, expected, rtol=1e-12)


def test_channel_and_traffic_of_one_file_are_read_at_one_place(tmp_path: Path) -> None:
    place = np.arange(SLOTS, dtype=float)
    columns = {f"direct_gain_{k}__1": 1 + place for k in range(USERS)}
    columns |= {f"arrivals_{k}__kbit": 1 + place for k in range(USERS)}
    path = save(tmp_path, "both.npz", **columns)
    env = batch(8, channel=path, arrivals=path)
    env.reset(seed=0)
    saved = env.state_dict()
    amplitude = saved["state.scatter"].numpy()[:, :USERS]
    power = np.abs(links_of(env)[:, :USERS]) ** 2 / amplitude**2
    np.testing.assert_allclose(saved["state.users"].numpy()[..., -1], 1000 * power, rtol=1e-9)


@pytest.mark.parametrize("system", [RisNoma, RisNomaSelect])
def test_row_i_equals_the_single_environment(tmp_path: Path, system: Any) -> None:
    path = save(
        tmp_path, "g.npz", direct_gain__dB=np.linspace(-9, 3, 31), arrivals__kbit=[9.0] * 31
    )
    kwargs = {"channel": path, "arrivals": path}
    env = make_vector_env(system, 4, max_episode_steps=3, **kwargs)
    seen = [env.reset(seed=7)[0]]
    action = np.zeros(env.action_space.shape, env.action_space.dtype)
    seen += [env.step(action)[0] for _ in range(5)]  # through an automatic reset
    single = gym.make(f"sixgym/{system.__name__}-v0", max_episode_steps=3, **kwargs)
    observation, _ = single.reset(seed=9)
    for slot in range(6):
        np.testing.assert_allclose(observation, seen[slot][2], rtol=1e-5, atol=1e-5)
        if slot == 3:
            observation, _ = single.reset()
        else:
            observation = single.step(action[0])[0]


def test_a_state_saved_goes_on_in_the_recording(tmp_path: Path) -> None:
    path = complex_file(tmp_path, coefficients())
    one, two = batch(3, channel=path), batch(3, channel=path)
    one.reset(seed=1)
    step(one)
    two.reset(seed=40)
    two.load_state_dict(one.state_dict())
    for _ in range(3):
        step(one)
        step(two)
        np.testing.assert_array_equal(links_of(one), links_of(two))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"channel": "rayleigh"},
            "channel='rayleigh': no source; there are model, trace:PATH, sio",
        ),
        ({"channel": "trace:"}, "channel='trace:': no source"),
        ({"channel": "sionna:tdl-z"}, "channel='sionna:tdl-z': no source.*sionna:umi-drop"),
        ({"arrivals": "sionna:tdl-a"}, "arrivals='sionna:tdl-a': no source; there are model, trac"),
        ({"channel": "trace:none.csv"}, "channel='none.csv': does not exist"),
        ({"channel": "sionna:tdl-a", "rician_direct": 1.0}, r"rician_direct=1\.0: without effect"),
        (
            {"channel": "sionna:umi-drop", "carrier_hz": 1e8},
            "carrier_hz from 5e.08 to 1e.11; it is",
        ),
    ],
)
def test_a_wrong_source_is_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message) as caught:
        RisNomaParams.create(**params)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "columns", "message"),
    [
        ("channel", {"x__1": [1.0]}, "columns are x; allowed: direct_re_0, direct_re_1, ... or"),
        ("channel", {"direct_re_0__1": [1.0]}, "column 'direct_re_1' is missing"),
        ("channel", {"direct_gain__dBm": [1.0]}, "unit 'dBm': another quantity"),
        ("channel", {"direct_gain__1": [-1.0]}, "is -1 1 at row 0"),
        ("arrivals", {"arrivals__bit": [1.0, -2.0]}, "is -2 bit at row 1"),
        ("arrivals", {"arrivals__bit": [0.0, 0.0]}, "all are 0"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    tmp_path: Path, field: str, columns: dict[str, Any], message: str
) -> None:
    path = save(tmp_path, "x.npz", **columns)
    with pytest.raises(ParamsError, match=f"^{field}: .*{message}"):
        batch(1, **{field: path})


def test_the_hash_is_of_what_the_file_holds(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    one = RisNomaParams.create(channel=save(tmp_path, "a.npz", direct_gain__1=[1.0]))
    same = RisNomaParams.create(channel=save(tmp_path / "b", "c.npz", direct_gain__1=[1.0]))
    other_file = save(tmp_path, "d.npz", direct_gain__1=[2.0])
    other = RisNomaParams.create(channel=other_file)
    assert one.config_hash() == same.config_hash() != other.config_hash()
    before = other.config_hash()
    save(tmp_path, "d.npz", direct_gain__1=[3.0, 4.0])
    assert other.config_hash() == before  # what was named when the parameters were made
    assert RisNomaParams.create(channel=other_file).config_hash() != before
    with pytest.raises(ParamsError, match="changed since the parameters were made"):
        RisNoma(other)


def test_the_default_hash_is_that_of_stored_results() -> None:
    """Names the task in leaderboard/results/RisNomaSelect-v0: new fields must not change it."""
    assert RisNomaSelectParams.create().config_hash().startswith("34c5762b")
    assert RisNomaSelectParams.create(channel="model", arrivals="model").config_hash() == (
        RisNomaSelectParams.create().config_hash()
    )


@pytest.mark.parametrize("kind", ["tdl-a", "umi-drop"])
def test_direct_links_from_sionna(kind: str) -> None:
    pytest.importorskip("sionna.phy", reason="the channel is made by Sionna")
    env = batch(256, channel=f"sionna:{kind}")
    env.reset(seed=0)
    amplitude = env.state_dict()["state.scatter"].numpy()[:, :USERS]
    heard = []
    for _ in range(12):
        heard.append(links_of(env)[:, :USERS] / amplitude)
        step(env)
    h = np.stack(heard)
    # 16 recordings x 4 users of a table of unit mean, met by 256 rows: some 500 fades.
    assert np.mean(np.abs(h) ** 2) == pytest.approx(1.0, abs=0.15)
    if kind == "tdl-a":  # its Doppler shift is the one of fading_correlation 0.95
        power = np.mean(np.abs(h) ** 2)
        for lag, expected in ((1, 0.95), (4, 0.3268), (8, -0.3951)):
            measured = np.mean(h[lag:] * h[:-lag].conj()).real / power
            assert measured == pytest.approx(expected, abs=0.12), lag


@pytest.mark.slow
def test_the_compiled_step_equals_the_eager_one(tmp_path: Path) -> None:
    torch.compiler.reset()
    path = save(
        tmp_path, "g.npz", direct_re__1=coefficients()[:, 0].real,
        direct_im__1=coefficients()[:, 0].imag, arrivals__kbit=np.linspace(0, 50, SLOTS),
    )  # fmt: skip
    eager, fused = (batch(16, channel=path, arrivals=path, compile=c) for c in (False, True))
    eager.reset(seed=3)
    fused.reset(seed=3)
    for _ in range(6):
        one, two = step(eager), step(fused)
        for a, b in zip(one[:4], two[:4], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
