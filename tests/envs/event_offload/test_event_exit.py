"""The per-exit system: one world with the slot system, costs in order, masks, ends."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import sixgym
from sixgym.envs.core.errors import OptionsError, ParamsError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.event_offload import EventOffloadExit
from sixgym.envs.event_offload.exit_system import CONTINUE, HEAD, OFFLOAD

sixgym  # noqa: B018  (registers the ids)
EXIT, SLOTS = "sixgym/EventOffloadExit-v0", "sixgym/EventOffload-v0"
EXITS = 4
MMAC = (75.82, 141.45, 225.47, 299.49)
"""Dossier 1.5, MobileNetV2 at four exits."""
KAPPA = 20e-12
SCORE, SNR, PRICE, LEFT, TIME, EVENTS = EXITS, EXITS + 3, EXITS + 4, EXITS + 5, EXITS + 6, EXITS + 7


def batch(rows: int, **kwargs: Any) -> Any:
    return gym.make_vec(EXIT, rows, **kwargs)


def system(**kwargs: Any) -> EventOffloadExit:
    made = make_system(EventOffloadExit, **kwargs)
    assert isinstance(made, EventOffloadExit)
    return made


def scores_now(env: SixgymVectorEnv) -> NDArray[np.float32]:
    """The float32 score that the rule would compare."""
    state: Any = env.rows.state
    bank = env.system.bank  # type: ignore[attr-defined]
    return bank.conf[state.sample, state.exit].numpy()


def dual(env: SixgymVectorEnv, low: float, high: float) -> NDArray[np.int64]:
    """The dual-threshold rule with final rule head, dossier 1.3."""
    score = scores_now(env)
    last = env.rows.state.exit.numpy() == EXITS - 1
    action = np.where(score > np.float32(high), OFFLOAD, CONTINUE)
    action = np.where(score < np.float32(low), HEAD, action)
    return np.where((action == CONTINUE) & last, HEAD, action)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"labels": "bursty", "fading_correlation": 0.8, "split": "test"},
        {"scores": "gaussian", "num_events": 5, "mean_snr_db": 0.0},
    ],
)
def test_dual_thresholds_are_a_special_case_event_by_event(kwargs: dict[str, Any]) -> None:
    """Dossier 2.2: the same thresholds in the same world do the same as in EventOffload-v0.

    Counts of every slot are equal, also in outage and above the capacity, where a masked offload
    counts as head and a request in the slot system is dropped.
    """
    low, high, rows, slots = 0.42, 0.69, 8, 4
    whole = gym.make_vec(SLOTS, rows, budget_mode="average", **kwargs)
    single = batch(rows, **kwargs)
    whole.reset(seed=7)
    single.reset(seed=7)
    names = ("tp", "tp_correct", "fp", "fp_final", "n_off", "energy_j")
    pair = np.tile(np.float32([low, high]), (rows, 1))
    told = [whole.step(pair)[4] for _ in range(slots)]
    sums = {name: np.zeros((slots, rows)) for name in names}
    for _ in range(EXITS * slots * single.system.params.num_events):  # type: ignore[attr-defined]
        slot = single.rows.state.slot.numpy().astype(int)  # type: ignore[attr-defined]
        if (slot >= slots).all():
            break
        infos = single.step(dual(single, low, high))[4]
        for i in np.flatnonzero(slot < slots):
            for name in names:
                sums[name][slot[i], i] += infos[name][i]
    for t in range(slots):
        for name in names:
            assert sums[name][t] == pytest.approx(told[t][name], rel=1e-4, abs=1e-6), (t, name)


def test_first_step_pays_block_one_and_going_on_the_next() -> None:
    """Dossier 2.2, 1.5: kappa c_1 + kappa (c_2 - c_1), then kappa (c_3 - c_2), then the radio."""
    env: Any = gym.make(EXIT, energy_price=100.0)
    env.reset(seed=0, options={"gamma_db": 10.0})
    deltas = [KAPPA * 1e6 * x for x in (MMAC[1], MMAC[2] - MMAC[1], 0.0)]
    # E_off at 10 dB is 10.10 mJ (dossier 1.6).
    deltas[2] = 1.048576e6 / (30e6 * math.log2(11.0))
    assert deltas[2] == pytest.approx(10.10e-3, abs=1e-5)
    for action, energy in zip((CONTINUE, CONTINUE, OFFLOAD), deltas, strict=True):
        _, reward, _, _, info = env.step(action)
        assert info["energy_j"] == pytest.approx(energy, rel=1e-5)
        assert info["cost"] == pytest.approx(energy / (200 * 20 * 5e-3), rel=1e-5)
        gain = info["tp_correct"] / 0.1
        assert reward == pytest.approx(gain - 100.0 * energy, rel=1e-4)


def test_an_event_sent_at_once_pays_its_first_block_too() -> None:
    env: Any = gym.make(EXIT)
    env.reset(seed=0, options={"gamma_db": 10.0})
    info = env.step(OFFLOAD)[4]
    assert info["energy_local_j"] == pytest.approx(KAPPA * 1e6 * MMAC[0], rel=1e-5)
    assert info["energy_tx_j"] > 0.0
    assert info["events"] == info["n_off"] == 1.0


def test_masks_forbid_depth_outage_and_full_slots() -> None:
    """1 at the last exit; 2 below gamma_min; 2 when floor(T_slot / tau) are sent."""
    env: Any = gym.make(EXIT).unwrapped
    env.reset(seed=0, options={"gamma_db": 10.0})
    for exit in range(EXITS):
        assert env.action_masks().tolist() == [True, exit < EXITS - 1, True]
        env.step(CONTINUE if exit < EXITS - 1 else HEAD)
    env.reset(seed=0, options={"gamma_db": -6.0})
    assert env.action_masks().tolist() == [True, True, False]
    # At 0 dB an offload takes 34.95 ms: 14 of the 20 events fit into 0.5 s.
    env.reset(seed=0, options={"gamma_db": 0.0})
    for k in range(20):
        assert env.action_masks()[OFFLOAD] == (k < 14)
        env.step(OFFLOAD)
    assert env.action_masks()[OFFLOAD]  # the next slot has room again


def test_a_forbidden_action_counts_as_head_and_is_told() -> None:
    """Dossier 2.2."""
    env: Any = gym.make(EXIT)
    for action in (HEAD, OFFLOAD):
        env.reset(seed=5, options={"gamma_db": -20.0})
        observation, reward, _, _, info = env.step(action)
        assert info["invalid"] == float(action == OFFLOAD)
        assert (info["n_off"], info["events"]) == (0.0, 1.0)
        assert reward == pytest.approx(-100.0 * KAPPA * 1e6 * MMAC[0], rel=1e-5)
        assert observation[:EXITS].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_the_observation_says_what_the_class_says() -> None:
    env = batch(16)
    observation, _ = env.reset(seed=3, options={"gamma_db": 10.0})
    seen: list[NDArray[np.float64]] = []
    for exit in range(EXITS):
        score = scores_now(env).astype(np.float64)
        seen.append(np.log(score / (1.0 - score)) / 10.0)
        before = seen[-2] if exit else np.zeros(16)
        assert (observation[:, :EXITS].argmax(1) == exit).all()
        assert observation[:, SCORE] == pytest.approx(seen[-1], abs=1e-5)
        assert observation[:, SCORE + 1] == pytest.approx(np.max(seen, 0), abs=1e-5)
        assert observation[:, SCORE + 2] == pytest.approx(before, abs=1e-5)
        assert observation[:, SNR] == pytest.approx(1 / 3, abs=1e-5)
        # log10(10.10 mJ / 5 mJ) / 2 = 0.1527
        assert observation[:, PRICE] == pytest.approx(0.1527, abs=1e-4)
        spent = KAPPA * 1e6 * MMAC[exit] / 5e-3 if exit else 0.0
        assert observation[:, LEFT] == pytest.approx(min(spent, 1.0), abs=1e-5)
        assert (observation[:, TIME] == 1.0).all()
        assert (observation[:, EVENTS] == 1.0).all()
        observation = env.step(np.full(16, CONTINUE if exit < EXITS - 1 else HEAD))[0]
    assert observation[:, EVENTS] == pytest.approx(19 / 20)


def test_an_episode_has_all_its_events_and_then_terminates() -> None:
    """Dossier 2.2: T M events, whatever the steps; 3 slots of 4 events here."""
    env = batch(32, horizon_slots=3, num_events=4)
    env.reset(seed=0)
    generator = np.random.default_rng(0)
    events, ended = np.zeros(32), np.zeros(32, bool)
    for _ in range(3 * 4 * EXITS):
        step = env.step(generator.integers(0, 3, 32))
        events += step[4]["events"] * ~ended
        ended |= step[2]
        assert not step[3].any()
    assert ended.all()
    assert (events == 12).all()


def test_an_episode_within_budget_costs_at_most_one() -> None:
    """Dropping everything costs kappa c_1 / xi = 1.5164 / 5 of the budget."""
    env = batch(4, horizon_slots=5)
    env.reset(seed=0)
    total = sum(env.step(np.full(4, HEAD))[4]["cost"] for _ in range(100))
    assert total == pytest.approx(1.5164 / 5.0, rel=1e-4)


def test_a_battery_is_never_overdrawn_and_ends_the_episode() -> None:
    """Masks keep every step payable; the end counts the tails that it cuts off as missed."""
    env: Any = batch(64, budget_mode="battery", horizon_slots=4, budget_j=3e-3)
    env.reset(seed=0)
    made, p = env.system, env.system.params
    store = p.horizon_slots * p.num_events * p.budget_j
    ended = np.zeros(64, bool)
    for _ in range(4 * 20 * EXITS):
        before = env.rows.state
        step = env.step(np.where(ended, HEAD, OFFLOAD))
        spent = env.rows.state.energy_j.numpy()
        assert (spent[~ended] <= store * (1.0 + 1e-5)).all()
        fresh = step[2] & ~ended & (before.slot.numpy() < 3)
        left = 80 - (before.slot.numpy() * 20 + before.event.numpy() + 1)
        tails = made.bank.traits[before.sample][:, 1].numpy()
        due = step[4]["tails_due"]
        assert due[fresh] == pytest.approx((tails + 0.1 * left)[fresh], rel=1e-5)
        ended |= step[2]
    assert ended.all()


def test_always_offload_finds_what_the_server_names_right() -> None:
    """Dossier 9.13: f_acc is the server's tail accuracy, here within the capacity at 20 dB."""
    env: Any = batch(256)
    env.reset(seed=1, options={"gamma_db": 20.0, "split": "all"})
    sums = {"tp_correct": 0.0, "tails_due": 0.0, "tp": 0.0}
    for _ in range(100):
        infos = env.step(np.full(256, OFFLOAD))[4]
        sums = {name: total + infos[name].sum() for name, total in sums.items()}
    assert sums["tp"] == sums["tails_due"]
    accuracy = env.system.bank.pool.accuracy["tail"]
    error = math.sqrt(accuracy * (1.0 - accuracy) / sums["tp"])
    assert sums["tp_correct"] / sums["tp"] == pytest.approx(accuracy, abs=4.0 * error)


def test_actions_do_not_change_the_world() -> None:
    """Whoever decides faster meets the same events and the same channel later on."""
    deep, flat = batch(8, fading_correlation=0.5), batch(8, fading_correlation=0.5)
    deep.reset(seed=4)
    flat.reset(seed=4)
    met: dict[int, set[tuple[int, ...]]] = {}
    for env, last in ((deep, EXITS - 1), (flat, 0)):
        for _ in range(60 * (last + 1)):
            state: Any = env.rows.state
            first = state.exit.numpy() == 0
            row = state.sample.numpy() * 10_000 + (1e3 * state.snr.numpy()).astype(int)
            at = (state.slot * 20 + state.event).numpy().astype(int)
            for i in np.flatnonzero(first):
                met.setdefault(int(at[i]) * 8 + int(i), set()).add((int(row[i]),))
            env.step(np.where(state.exit.numpy() < last, CONTINUE, HEAD))
    assert len(met) >= 8 * 60
    assert {len(found) for found in met.values()} == {1}


def test_without_fading_the_snr_is_its_mean() -> None:
    made = system(fading="none", mean_snr_db=10.0)
    env = batch(4, fading="none", mean_snr_db=10.0)
    env.reset(seed=0)
    for _ in range(45):
        assert env.rows.state.snr.tolist() == pytest.approx([10.0] * 4)
        env.step(np.full(4, HEAD))
    assert made.params.fading == "none"


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"semantics": "confident_local"}, "semantics"),
        ({"final_rule": "mid"}, "final_rule"),
        ({"budget_mode": "slot"}, "budget_mode"),
    ],
)
def test_what_the_agent_decides_is_no_parameter(kwargs: dict[str, Any], named: str) -> None:
    with pytest.raises(ParamsError, match=named):
        system(**kwargs)


def test_options_of_reset_are_checked() -> None:
    env: Any = gym.make(EXIT)
    with pytest.raises(OptionsError, match="gamma_db"):
        env.reset(seed=0, options={"gamma_db": 1e3})
    with pytest.raises(OptionsError, match="split"):
        env.reset(seed=0, options={"split": "none"})


def test_the_picture_strikes_out_what_is_forbidden() -> None:
    """In outage the picture differs from that of the same event with a channel."""
    frames = []
    for level in (10.0, -20.0):
        env: Any = gym.make(EXIT, render_mode="rgb_array")
        env.reset(seed=0, options={"gamma_db": level})
        frames.append(env.render())
    assert frames[0].shape == (400, 600, 3)
    assert (frames[0] != frames[1]).any()


def test_features_are_finite_at_the_ends_of_the_scores() -> None:
    """Scores of 1e-6 and 1 - 1e-6 have logits of +-13.8, within the bound of 1.5 over 10."""
    from sixgym.envs.event_offload.exit_system import _score_features

    ends = torch.tensor([[1e-6, 1.0 - 1e-6]], dtype=torch.float32)
    features = _score_features(ends)
    assert features[0, :, 0].tolist() == pytest.approx(
        [
            -1.3816,
            1.38,
        ],
        abs=5e-3,
    )
    assert features[0, 1].tolist()[2] == features[0, 0, 0].item()
