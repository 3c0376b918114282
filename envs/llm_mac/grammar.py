"""The protocol action grammar: utterances of the base station and of devices, to integers and back.

The listing of the paper could not be read; this grammar generates the closed candidate language of
the first author's earlier code in one utterance an agent [related: LLM4MAC] [our choice]::

    UE3: transmit schedule_request
    BS: UE0 schedule_grant, UE3 acknowledge, UE7 null

Parsing stands on lark, which comes with the extra ``train``. An utterance that does not parse, or
breaks a static check, becomes silence as a whole; one that parses but says what the level forbids
loses the forbidden parts only (`sixgym.envs.llm_mac.levels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from sixgym.envs.core.errors import ActionError, OptionsError
from sixgym.envs.llm_mac.codes import DCM_NULL
from sixgym.envs.llm_mac.levels import (
    Level,
    bs_allowed,
    shield_bs,
    shield_ue,
    ue_allowed,
)

if TYPE_CHECKING:
    from lark import Lark, Tree

MAX_ROWS = 100
"""Row numbers have one or two digits."""
MAX_CHARS = 64 * MAX_ROWS
"""Longer texts are violations before they are parsed; no utterance of the language is."""

PHYSICAL = ("nothing", "transmit", "delete")
"""Words of the physical actions 0, 1, 2."""

OnInvalid = Literal["noop", "raise"]


class GrammarError(ActionError):
    """A text is not an utterance of its speaker."""


@dataclass(frozen=True)
class Alphabet:
    """The words of the two control channels; the place of a word is its code.

    Attributes:
        ucm: what devices say; the first is silence.
        dcm: what the base station says; the first is silence.
    """

    ucm: tuple[str, ...]
    dcm: tuple[str, ...]

    @property
    def has_meaning(self) -> bool:
        """Whether the words are those whose meaning `Level.SINGLE_CHANNEL` and up restrict."""
        return self == WORDS


WORDS = Alphabet(("null", "schedule_request"), ("null", "schedule_grant", "acknowledge"))
"""The words of LLM4MAC [related: LLM4MAC]."""


def opaque(num_ucm: int = 2, num_dcm: int = 3) -> Alphabet:
    """Symbols without meaning, for protocols that emerge [related: Mota].

    Raises:
        OptionsError: a channel has no symbol.
    """
    if min(num_ucm, num_dcm) < 1:
        raise OptionsError(f"num_ucm={num_ucm}, num_dcm={num_dcm}: allowed: at least 1 each")
    names = tuple(f"Msg_#{k}" for k in range(max(num_ucm, num_dcm)))
    return Alphabet(names[:num_ucm], names[:num_dcm])


def lark_text(alphabet: Alphabet = WORDS) -> str:
    """The grammar in lark's notation, LALR; ``start`` is an utterance of either speaker."""
    phy = " | ".join(f'"{word}" -> phy_{k}' for k, word in enumerate(PHYSICAL))
    ucm = " | ".join(f'"{word}" -> ucm_{k}' for k, word in enumerate(alphabet.ucm))
    dcm = " | ".join(f'"{word}" -> dcm_{k}' for k, word in enumerate(alphabet.dcm))
    return f"""\
?start: ue_line | bs_line
ue_line: "UE" ROW ":" phy ucm
bs_line: "BS" ":" [clause ("," clause)*]
clause: "UE" ROW dcm
?phy: {phy}
?ucm: {ucm}
?dcm: {dcm}
ROW: /0|[1-9][0-9]?/
%ignore " "
"""


@lru_cache(maxsize=8)
def _parser(alphabet: Alphabet) -> Lark:
    try:
        from lark import Lark
    except ImportError:
        raise OptionsError(
            "lark is not installed: it parses the action grammar; pip install 'sixgym[train]'"
        ) from None
    return Lark(lark_text(alphabet), parser="lalr", maybe_placeholders=False)


class Reading(NamedTuple):
    """What a text comes to."""

    action: tuple[int, ...]
    """Of a device: one number, ``num_ucm * physical + ucm``. Of the base station: a DCM a row."""
    violation: bool
    """Whether it was no utterance, and became silence."""
    invalid: int
    """How many of its parts the level forbids; they were replaced."""
    reason: str
    """Why it was no utterance; empty otherwise."""


class Grammar:
    """The language of one cell.

    Args:
        num_rows: rows of devices, ``N_max``.
        level: what utterances may say; see `Level`. `Level.NONE` reads as `Level.SYNTAX` does: it
            leaves the speaker's decoding free, not the listener's ear.
        alphabet: the words.
        on_invalid: ``"noop"``: silence in place of what is no utterance; ``"raise"``: an error.
        lenient: whether rows that a base station does not mention are meant ``null``.

    Raises:
        OptionsError: more rows than numbers, an unknown level or option, or a level that restricts
            meanings which an opaque alphabet does not have.
    """

    def __init__(
        self,
        num_rows: int,
        level: int = Level.CONTEXT,
        *,
        alphabet: Alphabet = WORDS,
        on_invalid: OnInvalid = "noop",
        lenient: bool = False,
    ) -> None:
        if not 1 <= num_rows <= MAX_ROWS:
            raise OptionsError(f"num_rows={num_rows}: allowed: 1 to {MAX_ROWS}")
        if level not in tuple(Level):
            raise OptionsError(f"level={level!r}: allowed: {', '.join(map(str, map(int, Level)))}")
        if on_invalid not in ("noop", "raise"):
            raise OptionsError(f"on_invalid={on_invalid!r}: allowed: 'noop', 'raise'")
        if level >= Level.SINGLE_CHANNEL and not alphabet.has_meaning:
            raise OptionsError(f"level={level}: allowed with opaque symbols: at most 1")
        self.num_rows = num_rows
        self.level = Level(level)
        self.alphabet = alphabet
        self.on_invalid = on_invalid
        self.lenient = lenient

    # ------------------------------------------------------------------------ integer to text

    def print_ue(self, row: int, action: int) -> str:
        """The canonical utterance of a device.

        Raises:
            GrammarError: no such row or action.
        """
        return f"UE{self._row(row)}: {self.ue_words(action)}"

    def ue_words(self, action: int) -> str:
        """The two words of a device's move, without its name.

        Raises:
            GrammarError: no such action.
        """
        num_ucm = len(self.alphabet.ucm)
        if not 0 <= action < len(PHYSICAL) * num_ucm:
            raise GrammarError(f"action={action}: allowed: 0 to {len(PHYSICAL) * num_ucm - 1}")
        return f"{PHYSICAL[action // num_ucm]} {self.alphabet.ucm[action % num_ucm]}"

    def print_bs(self, message: Sequence[int], active: Sequence[bool]) -> str:
        """The canonical utterance of the base station.

        Args:
            message: a DCM for each row, 0 for empty ones.
            active: whether each row is taken.

        Raises:
            GrammarError: a DCM does not exist, is sent to an empty row, or rows are too many or
                too few.
        """
        if not len(message) == len(active) == self.num_rows:
            raise GrammarError(f"message of {len(message)} rows: allowed: {self.num_rows}")
        clauses = []
        for row, (code, is_taken) in enumerate(zip(message, active, strict=True)):
            if not 0 <= code < len(self.alphabet.dcm) or (code != DCM_NULL and not is_taken):
                raise GrammarError(f"message[{row}]={code}: allowed: a DCM, 0 for an empty row")
            if is_taken:
                clauses.append(f"UE{row} {self.alphabet.dcm[code]}")
        return " ".join(["BS:", ", ".join(clauses)]) if clauses else "BS:"

    # ------------------------------------------------------------------------ text to integer

    def parse_ue(self, text: object, row: int) -> int:
        """The move that a device utters.

        Args:
            text: what it said.
            row: its own row: it cannot speak for another.

        Raises:
            GrammarError: the text is no utterance of this device.
        """
        tree = self._tree(text, "ue_line")
        name, phy, ucm = tree.children
        if int(str(name)) != self._row(row):
            raise GrammarError(f"UE{name} speaks in row {row}: allowed: its own row")
        return _code(phy) * len(self.alphabet.ucm) + _code(ucm)

    def parse_bs(self, text: object, active: Sequence[bool]) -> tuple[int, ...]:
        """The DCM of each row that the base station utters, 0 for empty rows.

        Args:
            text: what it said.
            active: whether each row is taken.

        Raises:
            GrammarError: the text is no utterance of the base station.
        """
        tree = self._tree(text, "bs_line")
        clauses = [clause.children for clause in tree.children]
        rows = [int(str(name)) for name, _ in clauses]
        taken = [row for row in range(self.num_rows) if active[row]]
        if any(b <= a for a, b in pairwise(rows)):
            raise GrammarError(f"rows {rows}: allowed: strictly ascending")
        if not set(rows) <= set(taken):
            raise GrammarError(f"rows {rows}: allowed: active ones, {taken}")
        if rows != taken and not self.lenient:
            raise GrammarError(f"rows {rows}: allowed: each active one, {taken}")
        message = [DCM_NULL] * self.num_rows
        for row, (_, dcm) in zip(rows, clauses, strict=True):
            message[row] = _code(dcm)
        return tuple(message)

    # ------------------------------------------------------------------ the listener's rules

    def read_ue(self, text: object, row: int, *, q: int, m: int) -> Reading:
        """A device's text as the game takes it.

        Args:
            text: anything.
            row: its row.
            q: SDUs in its buffer.
            m: the DCM it has just seen.

        Raises:
            GrammarError: it is no utterance, and ``on_invalid`` is ``"raise"``.
        """
        try:
            move = self.parse_ue(text, row)
        except GrammarError as error:
            return self._reject((0,), error)
        allowed = ue_allowed(
            self.level,
            torch.tensor(True),
            torch.tensor(q),
            torch.tensor(m),
            len(self.alphabet.ucm),
        )
        kept = shield_ue(allowed, torch.tensor(move))
        return Reading((int(kept.move),), False, int(kept.invalid), "")

    def read_bs(
        self,
        text: object,
        active: Sequence[bool],
        *,
        decoded: Sequence[bool],
        requested: Sequence[bool],
    ) -> Reading:
        """The base station's text as the game takes it.

        Args:
            text: anything.
            active: whether each row is taken.
            decoded: whether each row was decoded in the last slot.
            requested: whether each row's last UCM was a request.

        Raises:
            GrammarError: it is no utterance, and ``on_invalid`` is ``"raise"``.
        """
        try:
            message = self.parse_bs(text, active)
        except GrammarError as error:
            return self._reject((DCM_NULL,) * self.num_rows, error)
        taken, heard, asked = (
            torch.tensor([bool(x) for x in part]) for part in (active, decoded, requested)
        )
        allowed = bs_allowed(self.level, taken, heard, asked, len(self.alphabet.dcm))
        kept = shield_bs(self.level, allowed, torch.tensor(message))
        return Reading(tuple(kept.move.tolist()), False, int(kept.invalid.sum()), "")

    # ---------------------------------------------------------------------------------- inside

    def _row(self, row: int) -> int:
        if not 0 <= row < self.num_rows:
            raise GrammarError(f"row={row}: allowed: 0 to {self.num_rows - 1}")
        return row

    def _reject(self, silence: tuple[int, ...], error: GrammarError) -> Reading:
        if self.on_invalid == "raise":
            raise error
        return Reading(silence, True, 0, str(error))

    def _tree(self, text: object, speaker: str) -> Tree[Any]:
        """The parse tree of a text, if it is one of the speaker's."""
        from_lark = _parser(self.alphabet)
        from lark.exceptions import LarkError

        if not isinstance(text, str):
            raise GrammarError(f"utterance of type {type(text).__name__}: allowed: str")
        if len(text) > MAX_CHARS:
            raise GrammarError(f"utterance of {len(text)} characters: allowed: {MAX_CHARS}")
        try:
            tree = from_lark.parse(text)
        except LarkError as error:
            place = getattr(error, "column", None)
            raise GrammarError(f"utterance {text[:60]!r}: no parse at column {place}") from None
        if tree.data != speaker:
            raise GrammarError(f"{tree.data}: allowed here: {speaker}")
        return tree


def _code(word: Tree[Any]) -> int:
    """The number in the alias of a word, ``dcm_2``."""
    return int(word.data.rpartition("_")[2])
