"""Potential functions of the followers' game within one slot (dossier 2.4).

A function of the joint move is an exact potential if it changes by what a user's pay-off changes,
whenever one user alone changes its move [standard: Monderer and Shapley 1996]. Pay-offs are arrays
with one axis a user.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.llm_mac.multi_slot import Buffers, MultiSlot, Profile
from sixgym.envs.llm_mac.codes import DCM_SG, NUM_ACTIONS, NUM_UCM, TRANSMIT

Floats = NDArray[np.float64]


def residual(payoffs: Floats, potential: Floats) -> float:
    """By how much a potential misses a change of pay-off, at most.

    Args:
        payoffs: (n, moves of user 0, ..., moves of user n - 1).
        potential: the same without the first axis.
    """
    worst = 0.0
    for user, payoff in enumerate(payoffs):
        difference = payoff - potential  # an exact potential leaves what the others did only
        spread = difference.max(axis=user) - difference.min(axis=user)
        worst = max(worst, float(spread.max()))
    return worst


def build_potential(payoffs: Floats) -> Floats:
    """The only candidate, up to a constant: pay-off changes along the path user by user.

    It is a potential exactly if its `residual` is 0.

    Args:
        payoffs: (n, moves of user 0, ..., moves of user n - 1).
    """
    potential = np.zeros(payoffs.shape[1:])
    for move in np.ndindex(*payoffs.shape[1:]):
        total = 0.0
        for user, payoff in enumerate(payoffs):
            path = (*move[: user + 1], *(0,) * (len(move) - user - 1))
            back = (*move[:user], *(0,) * (len(move) - user))
            total += float(payoff[path] - payoff[back])
        potential[move] = total
    return potential


def pure_equilibria(payoffs: Floats) -> NDArray[np.bool_]:
    """Joint moves from which nobody gains by leaving alone."""
    stable = np.ones(payoffs.shape[1:], dtype=np.bool_)
    for user, payoff in enumerate(payoffs):
        stable &= payoff >= payoff.max(axis=user, keepdims=True) - 1e-9
    return stable


def move_payoffs(
    game: MultiSlot, state: Buffers, message: Profile, *, alpha: float, ucm_cost: float = 0.0
) -> Floats:
    """(n, 6, ..., 6) pay-offs u_i of one slot over moves ``2 * action + ucm``, in units of rho.

    Args:
        game: weights, erasures and kappa. A move on an empty buffer is none.
        state: of the buffers.
        message: of the base station.
        alpha: share of the team reward in a user's pay-off; the rest is its own.
        ucm_cost: c_u, cost of a UCM that is not null.
    """
    users = len(state.q)
    payoffs = np.zeros((users, *[NUM_ACTIONS * NUM_UCM] * users))
    for moves in itertools.product(range(NUM_ACTIONS * NUM_UCM), repeat=users):
        action = tuple(x // NUM_UCM if q else 0 for x, q in zip(moves, state.q, strict=True))
        kappa = [
            game.kappa * (a == TRANSMIT and m != DCM_SG)
            for a, m in zip(action, message, strict=True)
        ]
        for b in game.stage(state, message, action):
            for user in range(users):
                own = b.followers[user] + kappa[user]
                paid = alpha * b.team + (1.0 - alpha) * own - kappa[user]
                payoffs[(user, *moves)] += b.probability * paid
        for user, move in enumerate(moves):
            payoffs[(user, *moves)] -= ucm_cost * (move % NUM_UCM != 0)
    return payoffs


def team_potential(
    game: MultiSlot, state: Buffers, message: Profile, *, ucm_cost: float = 0.0
) -> Floats:
    """(6, ..., 6) team reward less the private costs of all: exact where alpha is 1."""
    shared = move_payoffs(game, state, message, alpha=1.0, ucm_cost=ucm_cost)
    reward = move_payoffs(MultiSlot(**{**game.__dict__, "kappa": 0.0}), state, message, alpha=1.0)[
        0
    ]
    potential: Floats = reward - (reward[None] - shared).sum(0)
    return potential


def rosenthal_potential(game: MultiSlot, message: Profile) -> Floats:
    """(2, ..., 2) potential over {nothing, transmit} where alpha is 0 and nothing is delivered.

    The sum over k up to the number of senders of what each of k senders gets, less kappa for each
    who was not granted [standard: Rosenthal 1973].

    Args:
        game: weights, erasures and kappa.
        message: of the base station; all buffers hold a packet.
    """
    users = len(message)
    lone = (1.0 - game.tbler) * game.new - game.tbler * game.lost
    potential = np.zeros((2,) * users)
    for sends in itertools.product((0, 1), repeat=users):
        k = sum(sends)
        uninvited = sum(s and m != DCM_SG for s, m in zip(sends, message, strict=True))
        potential[sends] = (lone if k else 0.0) - game.lost * max(k - 1, 0)
        potential[sends] -= game.kappa * uninvited
    return potential
