"""The alphabets of the protocol as integers, for states, actions, grammar and policies."""

from __future__ import annotations

# What a user does in a slot; both act on the packet at the head of its buffer.
# [related: code of LLM4MAC]
NOTHING, TRANSMIT, DELETE = 0, 1, 2
NUM_ACTIONS = 3

# Uplink control messages (UCM), one of each user a slot. [related: code of LLM4MAC]
UCM_NULL, UCM_SR = 0, 1
NUM_UCM = 2

# Downlink control messages (DCM), one to each user a slot. [related: code of LLM4MAC]
DCM_NULL, DCM_SG, DCM_ACK = 0, 1, 2
NUM_DCM = 3

IDLE = 0
"""Channel as the base station sees it: nobody sent. A packet decoded from the user on seat r is
r + 1, energy that cannot be decoded is n_max + 1."""

NUM_CHANNELS = 1
"""Shared uplink data channels. [our choice: the abstract names none, the authors' code has one]"""


def user_action(action: int, message: int, num_ucm: int = NUM_UCM) -> int:
    """The integer of a user's action and message, ``num_ucm * action + message``."""
    return num_ucm * action + message


def undecodable(n_max: int) -> int:
    """The channel observation of a collision or an erasure."""
    return n_max + 1
