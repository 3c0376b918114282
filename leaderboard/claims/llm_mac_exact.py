"""What trained agents do in the one-slot game, exactly: no sampling, every message and every reply.

The agents' own probabilities are read off their networks at the game's only state. All is in units
of rho, with the utilities of `sixgym.baselines.llm_mac.one_slot`; a delete of an undelivered packet
costs the team and its owner one unit more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.agents.team.nets import ALIVE
from sixgym.baselines.llm_mac.one_slot import OneSlot, pure_equilibria, stackelberg
from sixgym.envs.backend.rng import episode_key
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entry
from sixgym.envs.llm_mac.codes import DCM_SG, DELETE, NUM_ACTIONS, NUM_DCM, TRANSMIT
from sixgym.envs.llm_mac.system import BS, UE, LlmMac

if TYPE_CHECKING:
    from sixgym.agents.team.nets import TeamActor
    from sixgym.leaderboard.players import Member

Floats = NDArray[np.float64]
ID = "sixgym/LlmMac-v0"


def cell(n: int, **params: Any) -> LlmMac:
    """The one-slot game of ``n`` users, with seats to spare as in training."""
    chosen = {"preset": "one_slot", "population": "fixed", "num_users": n, **params}
    found = make_system(entry(ID).system, **chosen)
    assert isinstance(found, LlmMac)
    return found


def first_sight(system: LlmMac) -> tuple[Any, dict[str, Tensor]]:
    """The state of one row at the start, and what all see of it."""
    zero = torch.zeros(1, dtype=torch.int64)
    state = system.start(system.start_draws.draw(episode_key(zero, zero), zero))
    seen = dict(system.perceive(state, {}))
    seen[ALIVE] = system.alive(state).to(torch.float32)
    return state, seen


class Pair(NamedTuple):
    """A base station's and a user's policy in the one-slot game of n users."""

    messages: NDArray[np.int64]
    """(M, n) all messages to all users."""
    leader: Floats
    """(M,) probability of each."""
    reply: Floats
    """(messages to one user, actions) probability of each action of a user."""


def pair_of(member: Member, n: int) -> Pair:
    """The policies of one training seed, read off its networks.

    Args:
        member: trained with ``bs_action="multi"``; its users share one network.
        n: users.
    """
    system = cell(n)
    actor: TeamActor = member.make(system).actor  # type: ignore[attr-defined]
    _, seen = first_sight(system)
    messages = np.array(list(np.ndindex(*[NUM_DCM] * n)), dtype=np.int64)
    told = torch.zeros(len(messages), 1, system.params.n_max, dtype=torch.int64)
    told[:, 0, :n] = torch.from_numpy(messages)
    many = {k: v.expand(len(messages), *v.shape[1:]) for k, v in seen.items()}
    silent = torch.zeros(len(messages), system.params.n_max, dtype=torch.int64)
    with torch.no_grad():
        leader = actor.judge(many, {BS: told, UE: silent}).log_prob[:, 0].double().exp().numpy()
    reply = np.stack([_reply(system, actor, seen, word) for word in range(NUM_DCM)])
    return Pair(messages, leader, reply)


@torch.no_grad()
def _reply(system: LlmMac, actor: TeamActor, seen: dict[str, Tensor], word: int) -> Floats:
    """(actions,) of a user who hears a word, whatever it says itself."""
    p = system.params
    moves = torch.arange(NUM_ACTIONS * p.num_ucm).unsqueeze(1).expand(-1, p.n_max)
    many = {k: v.expand(len(moves), *v.shape[1:]) for k, v in seen.items()}
    told = torch.full((len(moves), 1, p.n_max), word, dtype=torch.int64)
    chance = actor.judge(many, {BS: told, UE: moves}).log_prob[:, 1].double().exp()
    found: Floats = chance.reshape(NUM_ACTIONS, p.num_ucm).sum(1).numpy()
    return found


class Worth(NamedTuple):
    """What a pair of policies is worth, and what is wrong with it."""

    value: float
    """U of the pair."""
    leader_gap: float
    """The equilibrium's value less what the messages are worth against followers in equilibrium."""
    regret: float
    """The largest that one user could gain alone, messages as they are sent."""


def worth(pair: Pair, game: OneSlot) -> Worth:
    """Exact value, leader's gap and regret of a pair (dossier 9.5).

    Args:
        pair: of ``game.num_users`` users.
        game: with no pay for backlog.
    """
    n = game.num_users
    actions = np.array(list(np.ndindex(*[NUM_ACTIONS] * n)), dtype=np.int64)
    sends, deletes = actions == TRANSMIT, actions == DELETE
    alone = sends.sum(1) == 1
    slot = np.where(alone, game.gain, -game.idle_cost) - deletes.sum(1)
    granted = pair.messages == DCM_SG
    # (messages, users, actions of one): what each hears decides what it does
    own = pair.reply[pair.messages]
    users = np.arange(n)
    chance = own[:, users[None, :], actions].prod(-1)
    value = float(pair.leader @ (chance @ slot - game.grant_cost * granted.sum(1)))
    regret = max(_regret(pair, game, user, own, actions) for user in range(n))
    return Worth(value, _leader_gap(pair, game, granted), regret)


def _leader_gap(pair: Pair, game: OneSlot, granted: NDArray[np.bool_]) -> float:
    reply = np.where(pure_equilibria(game), game.leader_payoff, -np.inf).max(1)
    place = granted @ (1 << np.arange(game.num_users)[::-1])
    return stackelberg(game).leader - float(pair.leader @ reply[place])


def _regret(pair: Pair, game: OneSlot, user: int, own: Floats, actions: NDArray[np.int64]) -> float:
    """What one user could gain by another reply to each message that it hears."""
    others = [k for k in range(game.num_users) if k != user]
    sends = np.array([own[:, k, TRANSMIT] for k in others]).reshape(len(others), -1)
    quiet = (1.0 - sends).prod(0)
    granted = pair.messages[:, user] == DCM_SG
    pay = np.zeros((len(pair.messages), NUM_ACTIONS))
    pay[:, TRANSMIT] = quiet * game.gain - (1.0 - quiet) * game.fail_cost
    pay[:, TRANSMIT] -= game.kappa * ~granted
    pay[:, DELETE] = -1.0
    # A user knows its own message only: one reply for all messages to all that contain it.
    gain = 0.0
    for word in range(NUM_DCM):
        heard = pair.messages[:, user] == word
        expected = pair.leader[heard] @ pay[heard]
        gain += float(expected.max() - expected @ pair.reply[word])
    return gain
