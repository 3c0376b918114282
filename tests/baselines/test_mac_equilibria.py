"""Exact equilibria of LLM-MAC's small games against the tables of the dossier (2.4, 9)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sixgym.baselines.llm_mac.multi_slot import (
    BackwardInduction,
    Buffers,
    MultiSlot,
    PolicyPair,
    start,
)
from sixgym.baselines.llm_mac.one_slot import (
    OneSlot,
    action_probabilities,
    advantages,
    by_own_message,
    dominant_message,
    exploitability,
    gradient_play,
    mixed_value,
    pure_equilibria,
    simultaneous_equilibria,
    stackelberg,
    stackelberg_value,
    symmetric_mix,
    value_of_commitment,
)
from sixgym.baselines.llm_mac.potential import (
    build_potential,
    move_payoffs,
    residual,
    rosenthal_potential,
    team_potential,
)
from sixgym.baselines.llm_mac.potential import pure_equilibria as stable_moves

G1 = OneSlot()
TABLE_9_1 = {  # message: (U; u1, u2) for actions (0,0), (0,1), (1,0), (1,1)
    (0, 0): [(-1, 0, 0), (3, 0, -2), (3, -2, 0), (-1, -6, -6)],
    (0, 1): [(-1.1, 0, 0), (2.9, 0, 3), (2.9, -2, 0), (-1.1, -6, -1)],
    (1, 0): [(-1.1, 0, 0), (2.9, 0, -2), (2.9, 3, 0), (-1.1, -1, -6)],
    (1, 1): [(-1.2, 0, 0), (2.8, 0, 3), (2.8, 3, 0), (-1.2, -1, -1)],
}
EQUILIBRIA_9_1 = {(0, 0): [0], (0, 1): [1], (1, 0): [2], (1, 1): [1, 2]}


def test_pay_offs_and_equilibria_of_the_one_slot_game_are_table_9_1():
    stable = pure_equilibria(G1)
    for row, message in enumerate(map(tuple, G1.profiles.tolist())):
        assert np.flatnonzero(stable[row]).tolist() == EQUILIBRIA_9_1[message]
        for column, (leader, *followers) in enumerate(TABLE_9_1[message]):
            assert G1.leader_payoff[row, column] == pytest.approx(leader)
            assert G1.follower_payoff[:, row, column].tolist() == pytest.approx(followers)


def test_strong_and_weak_stackelberg_equilibria_coincide_at_2_9():
    strong, weak = stackelberg(G1), stackelberg(G1, strong=False)
    assert strong == weak
    assert strong.leader == pytest.approx(2.9)
    assert sorted(strong.followers) == pytest.approx([0.0, 3.0])
    assert strong.message == strong.action


def test_commitment_is_worth_3_9():
    assert dominant_message(G1) == (0, 0)
    (nash,) = simultaneous_equilibria(G1)
    assert (nash.message, nash.action, nash.leader) == ((0, 0), (0, 0), -1.0)
    assert value_of_commitment(G1) == pytest.approx(3.9)


def test_cheap_talk_coordinates_but_cannot_enforce():
    talk = OneSlot(kappa=0.0)
    assert stackelberg(talk).leader == pytest.approx(3.0)
    assert stackelberg(talk).message == (0, 0)
    mixes = {2: (0.75, 0.5), 3: (0.5, 0.5), 5: (0.2929, 0.4645)}
    for n, (p, value) in mixes.items():
        assert symmetric_mix(talk, n) == pytest.approx(p, abs=5e-5)
        assert mixed_value(talk, n, 0) == pytest.approx(value, abs=5e-5)
    # "Transmit iff granted" is obeyed although nothing enforces it: a correlated equilibrium.
    obey = exploitability(talk, np.array([0.0, 0.0, 1.0, 0.0]), by_own_message(talk, 1.0, 0.0))
    assert obey.value == pytest.approx(2.9)
    assert obey.regret == (0.0, 0.0)


@pytest.mark.parametrize("kappa", [0.0, 5.0])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_symmetric_mix_leaves_all_indifferent(n, kappa):
    game = OneSlot(n, 0.1, kappa=kappa)
    everybody = -1  # the last message grants all
    mix = by_own_message(game, symmetric_mix(game, n), 0.0)
    assert np.abs(advantages(game, mix)[everybody]).max() < 1e-12
    value = (action_probabilities(game, mix) * game.leader_payoff).sum(1)[everybody]
    assert value == pytest.approx(mixed_value(game, n, n))


@pytest.mark.parametrize(("tbler", "value"), [(0.0, 2.9), (0.1, 2.5)])
def test_the_equilibrium_does_not_depend_on_the_population(tbler, value):
    for n in range(1, 7):
        game = OneSlot(n, tbler)
        assert stackelberg_value(game) == pytest.approx(value)
        assert stackelberg(game).leader == pytest.approx(value)
        assert sum(stackelberg(game).message) == 1


def test_two_grants_with_erasures_are_worth_0_2444():
    game = OneSlot(2, 0.1)
    assert symmetric_mix(game, 2) == pytest.approx(0.7222, abs=5e-5)
    assert mixed_value(game, 2, 2) == pytest.approx(0.2444, abs=5e-5)
    assert mixed_value(G1, 2, 2) == pytest.approx(0.3)


def test_backlog_breaks_the_tie_of_who_is_granted():
    game = OneSlot(backlog_pay=0.05, backlog=(3, 1))
    best = stackelberg(game)
    assert (best.message, best.action) == ((1, 0), (1, 0))
    assert best.leader == pytest.approx(3.05)
    other = game.profiles.tolist().index([0, 1])
    assert game.leader_payoff[other, other] == pytest.approx(2.95)


def test_brute_force_over_deterministic_policies_finds_the_same_table():
    """4 messages times 2^2 maps (own message to action) for each of two followers."""
    maps = list(itertools.product((0, 1), repeat=2))
    messages = G1.profiles.tolist()
    column = {tuple(a): k for k, a in enumerate(messages)}
    best = -np.inf
    for row, m in enumerate(messages):
        for f in itertools.product(maps, repeat=2):
            a = tuple(f[i][m[i]] for i in range(2))
            held = G1.follower_payoff[:, row, column[a]]
            changed = [
                G1.follower_payoff[i, row, column[tuple(x ^ (i == j) for j, x in enumerate(a))]]
                for i in range(2)
            ]
            if (np.array(changed) <= held + 1e-9).all():
                best = max(best, G1.leader_payoff[row, column[a]])
    assert best == pytest.approx(stackelberg(G1).leader)


def test_exploitability_is_zero_in_equilibrium_and_names_what_is_wrong_elsewhere():
    uniform, granted = np.full(4, 0.25), np.array([0.0, 1.0, 0.0, 0.0])
    good = exploitability(G1, granted, by_own_message(G1, 1.0, 0.0))
    assert (good.value, good.total) == (pytest.approx(2.9), pytest.approx(0.0))
    silent = exploitability(G1, granted, by_own_message(G1, 0.0, 0.0))
    assert silent.value == pytest.approx(-1.1)
    assert silent.regret == pytest.approx((0.0, 3.0))
    loose = exploitability(G1, uniform, by_own_message(G1, 1.0, 0.0))
    # against followers in equilibrium: -1, 2.9, 2.9 and 2.8 (strong), 1.9 on average
    assert loose.leader_gap == pytest.approx(2.9 - 1.9)


@given(
    st.integers(1, 3),
    st.floats(0.0, 0.5),
    st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_nobody_has_a_negative_regret_or_beats_the_equilibrium(n, tbler, weights, x, y):
    game = OneSlot(n, tbler)
    leader = np.array(weights[: 2**n]) + 1e-3
    found = exploitability(game, leader / leader.sum(), by_own_message(game, x, y))
    assert found.leader_gap >= -1e-9
    assert min(found.regret) >= -1e-12


def reach(seed: int, iterations: int) -> list[float]:
    rng = np.random.default_rng(seed)
    play = gradient_play(G1, rng.normal(size=4), rng.normal(size=(2, 2)))
    return [value for value, *_ in itertools.islice(play, iterations)]


@pytest.mark.parametrize("seed", range(4))
def test_gradient_play_passes_2_85_within_315_iterations(seed):
    assert max(reach(seed, 316)) > 2.85


@pytest.mark.slow
def test_gradient_play_of_twenty_starts_ends_at_the_equilibrium():
    """The dossier's 2.896 +- 0.001 is of other starts; these end between 2.8961 and 2.8971."""
    runs = [reach(seed, 3001) for seed in range(20)]
    assert all(max(values[:316]) > 2.85 for values in runs)
    last = [values[-1] for values in runs]
    assert np.mean(last) == pytest.approx(2.896, abs=0.001)
    assert np.ptp(last) < 0.002


# ------------------------------------------------------------------------------ multi-slot (9.4)

TABLE_9_4 = {
    (1, 0): ([3, 3, 3, 3, 3], [2.9, 2.9, 2.8, 2.7, 2.6]),
    (1, 1): ([3, 7, 7, 7, 7], [2.9, 6.8, 6.8, 6.7, 6.6]),
    (2, 0): ([3, 3, 6, 6, 6], [2.9, 2.9, 5.8, 5.8, 5.7]),
    (2, 1): ([3, 7, 11, 11, 11], [2.9, 6.8, 10.7, 10.7, 10.6]),
    (2, 2): ([3, 7, 11, 15, 15], [2.9, 6.8, 10.7, 14.6, 14.6]),
}


@pytest.mark.parametrize("q", TABLE_9_4)
def test_backward_induction_gives_table_9_4(q):
    solver = BackwardInduction(MultiSlot())
    optimum, equilibrium = TABLE_9_4[q]
    state = start(*q)
    assert [solver.team_optimum(t, state) for t in range(1, 6)] == pytest.approx(optimum)
    found = [solver.solve(t, state)[0].leader for t in range(1, 6)]
    assert found == pytest.approx(equilibrium)


def test_one_slot_of_the_multi_slot_game_is_the_one_slot_game():
    for tbler in (0.0, 0.1):
        value, message, action = BackwardInduction(MultiSlot(tbler=tbler)).solve(1, start(1, 1))
        best = stackelberg(OneSlot(tbler=tbler))
        assert value.leader == pytest.approx(best.leader)
        assert (message, action) == (best.message, best.action)
        assert value.followers == pytest.approx(best.followers)


def test_the_golden_trace_is_worth_7_and_optimal():
    """Slots of dossier 1.3: grant 0; acknowledge 0 and grant 1; acknowledge 1."""
    game, state, total = MultiSlot(), start(1, 1), 0.0
    for message, action in (((1, 0), (1, 0)), ((2, 1), (2, 1)), ((0, 2), (0, 2))):
        (branch,) = game.stage(state, message, action)
        state, total = branch.after, total + branch.team
    assert state == Buffers((0, 0), (0, 0))
    assert total == 7.0 == BackwardInduction(game).team_optimum(3, start(1, 1))
    for action, reward in (((1, 1), -1), ((2, 0), -2)):
        assert game.stage(start(1, 1), (0, 0), action)[0].team == reward
    assert game.stage(Buffers((1, 1), (1, 0)), (0, 0), (1, 0))[0].team == 0


def pair(solver: BackwardInduction, **changes) -> PolicyPair:
    """The equilibrium's policies, with some of them replaced."""

    def leader(slots, state):
        return {solver.solve(slots, state)[1]: 1.0}

    def follower(slots, state, message, user):
        reply = solver.reply(slots, state, message)
        return {reply[1][user]: 1.0}

    policies = {"leader": leader, "follower": follower} | changes
    return PolicyPair(solver.game, **policies)


@pytest.mark.parametrize("tbler", [0.0, 0.1])
def test_policies_read_off_the_induction_have_no_regret(tbler):
    solver = BackwardInduction(MultiSlot(tbler=tbler))
    for slots in (1, 2, 3):
        found = pair(solver).regret(slots, start(1, 1))
        assert found.value.leader == pytest.approx(solver.solve(slots, start(1, 1))[0].leader)
        assert found.exploitability == pytest.approx(0.0, abs=1e-9)


def test_a_silent_leader_and_lazy_followers_have_regret():
    solver = BackwardInduction(MultiSlot())
    mute = pair(solver, leader=lambda slots, state: {(0, 0): 1.0}).regret(2, start(1, 1))
    assert mute.leader_gap == pytest.approx(6.8 - -2.0)  # nobody dares to send
    lazy = pair(solver, follower=lambda *_: {0: 1.0}).regret(2, start(1, 1))
    assert lazy.value.leader == pytest.approx(-2.0 - 0.2)
    assert lazy.leader_gap == pytest.approx(0.0)
    # The first best message grants user 1, who could send at once and delete in the next slot.
    assert lazy.regret == pytest.approx((0.0, 4.0))


# ------------------------------------------------------------------------------ potentials (2.4)


@pytest.mark.parametrize("tbler", [0.0, 0.1])
@pytest.mark.parametrize("kappa", [0.0, 5.0])
def test_shared_reward_with_private_costs_has_the_exact_potential(tbler, kappa):
    game = MultiSlot(tbler=tbler, kappa=kappa)
    for q, d in itertools.product([(1, 1), (2, 0), (1, 1, 1)], [(0, 0, 0), (1, 0, 0), (1, 1, 0)]):
        state = Buffers(q, d[: len(q)])
        for message in ((0, 0, 0), (1, 2, 0), (1, 1, 1)):
            sent = message[: len(q)]
            payoffs = move_payoffs(game, state, sent, alpha=1.0, ucm_cost=0.05)
            assert residual(payoffs, team_potential(game, state, sent, ucm_cost=0.05)) < 1e-9


def sending_only(game: MultiSlot, d: tuple[int, ...], message: tuple[int, ...]) -> np.ndarray:
    payoffs = move_payoffs(game, Buffers((1,) * len(d), d), message, alpha=0.0)
    return payoffs[(slice(None), *(slice(0, 4, 2),) * len(d))]


@pytest.mark.parametrize("tbler", [0.0, 0.1])
def test_selfish_users_with_fresh_packets_play_rosenthals_game(tbler):
    game = MultiSlot(tbler=tbler)
    for message in ((0, 0), (1, 0), (1, 1), (1, 2, 0), (1, 1, 1)):
        payoffs = sending_only(game, (0,) * len(message), message)
        assert residual(payoffs, rosenthal_potential(game, message)) < 1e-9


def test_selfish_users_with_mixed_packets_have_no_exact_potential_but_a_pure_equilibrium():
    game = MultiSlot()
    for d in ((0, 1), (1, 0), (0, 1, 0), (1, 1, 0)):
        for message in itertools.product((0, 1), repeat=len(d)):
            payoffs = sending_only(game, d, message)
            assert residual(payoffs, build_potential(payoffs)) > 1.0
            assert stable_moves(payoffs).any()
