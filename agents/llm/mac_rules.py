"""The contention-free protocol as a reader of prompts plays it: what a perfect model would answer.

It sees nothing but the words of `sixgym.envs.llm_mac.prompts`.
"""

from __future__ import annotations

import re

from sixgym.agents.llm.text_policy import number_of

ALONE = "Now say only the WORD for UE{row}, one of: "
"""How a base station that is scored one user at a time is asked; followed by the words."""

_ALONE = re.compile(re.escape(ALONE).replace(r"\{row\}", r"(\d+)"))
_DECODED = re.compile(r"a packet of UE(\d+) was decoded")
_SAID = re.compile(r"UE(\d+) said (\S+), was told (\S+)\.")
_USER = re.compile(r"You are UE(\d+),")
_SEEN = re.compile(r"Buffer: (\d+)\..*Message from BS: (\S+)\.")


def contention_free(prompt: str) -> str:
    """Ask, be granted, send, be acknowledged, delete.

    A user asks while it will still hold a packet; the base station acknowledges whom it decoded and
    grants one of the others who asked, drawn by a hash of what it sees.

    Args:
        prompt: to a user, to the base station, or to the base station about one user alone.
    """
    return _user(prompt) if _USER.search(prompt) else _base_station(prompt, delayed=False)


def contention_free_delayed(prompt: str) -> str:
    """The same where messages are heard one slot later.

    Whoever was answered in the last slot is left out: its request is from before.

    Args:
        prompt: see `contention_free`.
    """
    return _user(prompt) if _USER.search(prompt) else _base_station(prompt, delayed=True)


def _user(prompt: str) -> str:
    name, seen = _USER.search(prompt), _SEEN.search(prompt)
    if name is None or seen is None:
        return ""
    buffer, heard = int(seen[1]), seen[2]
    moves = {"acknowledge": "delete", "schedule_grant": "transmit"}
    move = moves.get(heard, "nothing") if buffer else "nothing"
    left = buffer - (move != "nothing")
    return f"UE{name[1]}: {move} {'schedule_request' if left else 'null'}"


def _base_station(prompt: str, *, delayed: bool) -> str:
    told, decoded = _SAID.findall(prompt), _DECODED.search(prompt)
    words = {row: "null" for row, _, _ in told}
    if decoded and decoded[1] in words:
        words[decoded[1]] = "acknowledge"
    asks = [
        row
        for row, ucm, dcm in told
        if ucm == "schedule_request" and words[row] == "null" and not (delayed and dcm != "null")
    ]
    if asks:
        # Of the lines that are the same whomever it is asked about, so that it grants one only.
        words[asks[number_of("\n".join(map(str, told))) % len(asks)]] = "schedule_grant"
    alone = _ALONE.search(prompt)
    if alone:
        return words.get(alone[1], "")
    clauses = ", ".join(f"UE{row} {word}" for row, word in words.items())
    return f"BS: {clauses}".rstrip()
