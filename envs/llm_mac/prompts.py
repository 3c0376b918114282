"""What a language model would be told, as plain text.

The lines follow the first author's earlier code in content (who you are, what it is for, what you
see, what you can say), not in wording [related: LLM4MAC]. `sixgym.envs.llm_mac.text` draws them
from a state.
"""

from __future__ import annotations

from collections.abc import Sequence

from sixgym.envs.llm_mac.grammar import PHYSICAL, Grammar

_UE_GOAL = (
    "Goal: get every packet of your buffer to BS without colliding with other devices, "
    "and delete a packet once BS has received it."
)
_BS_GOAL = (
    "Goal: let as many new packets as possible through, one device at a time, "
    "and treat all devices alike."
)


def ue_prompt(
    grammar: Grammar,
    row: int,
    *,
    q: int,
    a: int,
    u: int,
    m: int,
    allowed: Sequence[bool] | None = None,
) -> str:
    """What a device is told.

    Args:
        grammar: whose words are used.
        row: its row.
        q: SDUs in its buffer.
        a: its last physical action.
        u: its last UCM.
        m: the DCM it has just seen.
        allowed: which of its moves the level allows; None lists all.
    """
    words = grammar.alphabet
    choices = " | ".join(ue_candidates(grammar, row, allowed))
    return "\n".join(
        [
            f"You are UE{row}, a device that shares one uplink channel with others. BS is the "
            "base station.",
            _UE_GOAL,
            f"Buffer: {q}. Last action: {PHYSICAL[a]}. Last message to BS: {words.ucm[u]}. "
            f"Message from BS: {words.dcm[m]}.",
            f"Answer one of: {choices}",
        ]
    )


def bs_prompt(
    grammar: Grammar, *, o: int, u: Sequence[int], m: Sequence[int], active: Sequence[bool]
) -> str:
    """What the base station is told.

    Args:
        grammar: whose words are used.
        o: what it saw on the channel in the last slot: 0 idle, r + 1 row r decoded, N + 1 noise.
        u: (N,) last UCM of each row.
        m: (N,) last DCM to each row.
        active: (N,) which rows are taken.
    """
    words = grammar.alphabet
    rows = [row for row in range(grammar.num_rows) if active[row]]
    said = [f"UE{r} said {words.ucm[u[r]]}, was told {words.dcm[m[r]]}." for r in rows]
    form = ", ".join(f"UE{r} WORD" for r in rows)
    return "\n".join(
        [
            f"You are BS, the base station of {len(rows)} devices on one uplink channel.",
            _BS_GOAL,
            f"Last slot: {channel_text(grammar.num_rows, o)}.",
            *said,
            f"Answer: {f'BS: {form}'.rstrip()}",
            f"Each WORD one of: {' | '.join(words.dcm)}",
        ]
    )


def channel_text(num_rows: int, o: int) -> str:
    """What the base station saw on the channel, in words."""
    if o == 0:
        return "the channel was idle"
    if o == num_rows + 1:
        return "the channel was busy and nothing could be decoded"
    return f"a packet of UE{o - 1} was decoded"


def ue_candidates(grammar: Grammar, row: int, allowed: Sequence[bool] | None = None) -> list[str]:
    """The utterances a device may choose from, in the order of their numbers.

    Args:
        grammar: whose words are used.
        row: its row.
        allowed: which moves the level allows; None allows all.
    """
    num_moves = len(PHYSICAL) * len(grammar.alphabet.ucm)
    moves = range(num_moves) if allowed is None else [k for k in range(num_moves) if allowed[k]]
    return [grammar.print_ue(row, k) for k in moves]


def numbers(*parts: int | Sequence[int]) -> str:
    """An observation as bare integers: the prompt without identity or words [related: LLM4MAC]."""
    flat = [p for part in parts for p in ([part] if isinstance(part, int) else part)]
    return " ".join(str(int(p)) for p in flat)
