"""The grammar token by token: a vocabulary, prompts on it, and the automaton of what may follow.

The language of one speaker in one slot is regular. Its automaton gives the next-token masks of a
decoder of our own, counts and lists the language, and prints itself as a lark grammar for decoders
elsewhere. Tokens that are forced, such as ``UE3`` or a comma, have probability one under the mask;
only the free ones carry log-probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_SG
from sixgym.envs.llm_mac.grammar import PHYSICAL, WORDS, Alphabet, Grammar, GrammarError
from sixgym.envs.llm_mac.levels import Level

PAD, BOS, EOS, ACT, UE, BS = "<pad>", "<bos>", "<eos>", "<act>", "<ue>", "<bs>"
SPECIAL = (PAD, BOS, EOS, ACT, UE, BS)
CHANNEL = ("idle", "undecodable", "decoded")


class Vocabulary:
    """The tokens of prompts and utterances; 18 + num_rows + buffer_size + 1 with the usual words.

    Args:
        num_rows: rows of devices.
        buffer_size: most SDUs in a buffer.
        alphabet: the words of the control channels.
    """

    def __init__(self, num_rows: int, buffer_size: int, alphabet: Alphabet = WORDS) -> None:
        control = dict.fromkeys((*alphabet.ucm, *alphabet.dcm))
        names = tuple(f"UE{row}" for row in range(num_rows))
        fills = tuple(f"b{q}" for q in range(buffer_size + 1))
        self.num_rows = num_rows
        self.alphabet = alphabet
        self.tokens = (*SPECIAL, *PHYSICAL, *control, *CHANNEL, *names, *fills, ":", ",")
        self.index = {token: k for k, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Iterable[str]) -> NDArray[np.int64]:
        """Numbers of tokens.

        Raises:
            GrammarError: one is not in the vocabulary.
        """
        try:
            return np.array([self.index[token] for token in tokens], dtype=np.int64)
        except KeyError as error:
            raise GrammarError(f"token {error}: not in the vocabulary") from None

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Tokens of numbers."""
        return [self.tokens[k] for k in numbers]

    def ue_prompt(self, row: int, q: int, a: int, u: int, m: int) -> list[str]:
        """What a device reads: row, buffer, last action, last UCM, the DCM it has just seen."""
        words = self.alphabet
        return [BOS, UE, f"UE{row}", f"b{q}", PHYSICAL[a], words.ucm[u], words.dcm[m], ACT]

    def bs_prompt(
        self, o: int, u: Sequence[int], m: Sequence[int], active: Sequence[bool]
    ) -> list[str]:
        """What the base station reads: the channel, then last UCM and DCM of each active row."""
        if o == 0:
            channel = ["idle"]
        elif o == self.num_rows + 1:
            channel = ["undecodable"]
        else:
            channel = ["decoded", f"UE{o - 1}"]
        words = self.alphabet
        rows = [
            token
            for row in range(self.num_rows)
            if active[row]
            for token in (",", f"UE{row}", words.ucm[u[row]], words.dcm[m[row]])
        ]
        return [BOS, BS, *channel, *rows, ACT]


class Automaton:
    """A deterministic automaton over tokens; state 0 is the start, the last state the end.

    Args:
        arcs: of each state, the tokens that may follow and where they lead. States are in an
            order in which arcs lead forward, so that the language is finite. The end has none.
    """

    def __init__(self, arcs: Sequence[Mapping[str, int]]) -> None:
        self.arcs = tuple(arcs)

    @property
    def end(self) -> int:
        """The state after a whole utterance."""
        return len(self.arcs) - 1

    def step(self, state: int, token: str) -> int:
        """The state after one more token.

        Raises:
            GrammarError: the token may not follow.
        """
        if token not in self.arcs[state]:
            raise GrammarError(f"token {token!r}: allowed: {', '.join(self.arcs[state]) or 'none'}")
        return self.arcs[state][token]

    def accepts(self, tokens: Iterable[str]) -> bool:
        """Whether these tokens are a whole utterance."""
        state = 0
        for token in tokens:
            if token not in self.arcs[state]:
                return False
            state = self.arcs[state][token]
        return state == self.end

    def is_free(self, state: int) -> bool:
        """Whether more than one token may follow: only such carry log-probability."""
        return len(self.arcs[state]) > 1

    def masks(self, vocabulary: Vocabulary) -> NDArray[np.bool_]:
        """(states, tokens) which tokens may follow; padding follows the end."""
        mask = np.zeros((len(self.arcs), len(vocabulary)), dtype=np.bool_)
        for state, arcs in enumerate(self.arcs):
            mask[state, vocabulary.encode(arcs)] = True
        mask[self.end, vocabulary.index[PAD]] = True
        return mask

    def count(self) -> int:
        """Utterances in the language."""
        ways = [0] * self.end + [1]
        for state in reversed(range(self.end)):
            ways[state] = sum(ways[after] for after in self.arcs[state].values())
        return ways[0]

    def utterances(self) -> Iterator[tuple[str, ...]]:
        """All of them, in the order of the arcs."""
        stack: list[tuple[int, tuple[str, ...]]] = [(0, ())]
        while stack:
            state, said = stack.pop()
            if state == self.end:
                yield said
            more = [(after, (*said, token)) for token, after in self.arcs[state].items()]
            stack += reversed(more)

    def lark_text(self, prefix: Sequence[str]) -> str:
        """The language as a right-linear lark grammar, for constrained decoders elsewhere.

        Args:
            prefix: tokens that the text begins with: ``("UE3", ":")`` or ``("BS", ":")``.
        """
        lines = [f"start: {' '.join(_quoted(t) for t in prefix)} s0"]
        for state, arcs in enumerate(self.arcs[:-1]):
            ways = [f"{_quoted(t)} s{after}" for t, after in arcs.items() if t != EOS]
            if EOS in arcs:
                ways.append("")
            lines.append(f"s{state}: {' | '.join(ways)}".rstrip())
        return "\n".join([*lines, '%ignore " "', ""])


def _quoted(token: str) -> str:
    return f'"{token}"'


def ue_automaton(grammar: Grammar, allowed: Sequence[bool]) -> Automaton:
    """Utterances of a device, without its name.

    Args:
        grammar: whose words are used.
        allowed: which moves the level allows, from `sixgym.envs.llm_mac.levels.ue_allowed`.
    """
    words = [grammar.ue_words(k).split(" ") for k, may in enumerate(allowed) if may]
    ucm_after: dict[str, list[str]] = {}
    for phy, ucm in words:
        ucm_after.setdefault(phy, []).append(ucm)
    before_eos = 1 + len(ucm_after)
    seconds = [dict.fromkeys(ucm, before_eos) for ucm in ucm_after.values()]
    first = {phy: 1 + k for k, phy in enumerate(ucm_after)}
    return Automaton([first, *seconds, {EOS: before_eos + 1}, {}])


def bs_automaton(
    grammar: Grammar, allowed: Sequence[Sequence[bool]], active: Sequence[bool]
) -> Automaton:
    """Utterances of the base station, without its name.

    Args:
        grammar: whose level and words are used.
        allowed: (N, D) which DCMs the level allows each row, from
            `sixgym.envs.llm_mac.levels.bs_allowed`.
        active: (N,) which rows are taken: all of them are spoken of, and no others.
    """
    rows = tuple(r for r in range(grammar.num_rows) if active[r])
    choices = tuple(tuple(k for k, may in enumerate(allowed[r]) if may) for r in rows)
    return _bs_automaton(grammar.alphabet, grammar.level >= Level.SINGLE_CHANNEL, rows, choices)


@lru_cache(maxsize=256)
def _bs_automaton(
    alphabet: Alphabet,
    is_single: bool,
    rows: tuple[int, ...],
    choices: tuple[tuple[int, ...], ...],
) -> Automaton:
    """States are (clause, place in it, grant spent, acknowledgement spent), breadth first."""
    scarce = (DCM_SG, DCM_ACK) if is_single else ()
    arcs: list[dict[str, int]] = []
    layer: dict[frozenset[int], list[tuple[int, str]]] = {frozenset(): []}
    for clause, (row, codes) in enumerate(zip(rows, choices, strict=True)):
        after: dict[frozenset[int], list[tuple[int, str]]] = {}
        for spent, arrivals in layer.items():
            if clause:
                _join(arcs, arrivals, len(arcs))
                arcs.append({",": len(arcs) + 1})
            arcs.append({f"UE{row}": len(arcs) + 1})
            here = len(arcs)
            arcs.append({})
            for code in codes:
                if code not in spent:
                    now = spent | {code} if code in scarce else spent
                    after.setdefault(now, []).append((here, alphabet.dcm[code]))
        layer = after
    for arrivals in layer.values():
        _join(arcs, arrivals, len(arcs))
    return Automaton([*arcs, {EOS: len(arcs) + 1}, {}])


def _join(arcs: list[dict[str, int]], arrivals: list[tuple[int, str]], state: int) -> None:
    """Lead arcs that were left open to a state."""
    for origin, token in arrivals:
        arcs[origin][token] = state
