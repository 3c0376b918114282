"""The action grammar: what it says, what it refuses, and what becomes of garbage (dossier 3)."""

from __future__ import annotations

import builtins
import itertools
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.llm_mac import grammar as grammar_module
from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_NULL, DCM_SG
from sixgym.envs.llm_mac.grammar import (
    MAX_CHARS,
    WORDS,
    Alphabet,
    Grammar,
    GrammarError,
    lark_text,
    opaque,
)
from sixgym.envs.llm_mac.levels import (
    Level,
    bs_allowed,
    bs_free_masks,
    bs_language_size,
    protocol_language_size,
    shield_bs,
    shield_ue,
    ue_allowed,
)

N = 10
SYNTAX = Grammar(N, Level.SYNTAX)
ALPHABETS = (WORDS, opaque(), opaque(4, 6))
actives = st.lists(st.booleans(), min_size=N, max_size=N)


def test_the_six_moves_of_a_device_have_the_numbers_of_the_dossier():
    said = [SYNTAX.print_ue(3, k) for k in range(6)]
    assert said == [
        "UE3: nothing null",
        "UE3: nothing schedule_request",
        "UE3: transmit null",
        "UE3: transmit schedule_request",
        "UE3: delete null",
        "UE3: delete schedule_request",
    ]
    assert [SYNTAX.parse_ue(text, 3) for text in said] == list(range(6))


def test_the_base_station_names_every_active_row_in_order():
    active = [r in (0, 3, 9) for r in range(N)]
    message = [0] * N
    message[0], message[3] = DCM_SG, DCM_ACK
    text = "BS: UE0 schedule_grant, UE3 acknowledge, UE9 null"
    assert SYNTAX.print_bs(message, active) == text
    assert list(SYNTAX.parse_bs(text, active)) == message
    assert SYNTAX.print_bs([0] * N, [False] * N) == "BS:"


@given(st.sampled_from(ALPHABETS), st.data(), actives)
def test_printing_and_parsing_undo_each_other(alphabet: Alphabet, data, active):
    g = Grammar(N, Level.SYNTAX, alphabet=alphabet)
    row = data.draw(st.integers(0, N - 1))
    move = data.draw(st.integers(0, 3 * len(alphabet.ucm) - 1))
    text = g.print_ue(row, move)
    assert g.parse_ue(text, row) == move
    codes = st.integers(0, len(alphabet.dcm) - 1)
    message = tuple(data.draw(codes) if is_taken else 0 for is_taken in active)
    said = g.print_bs(message, active)
    assert g.parse_bs(said, active) == message
    assert g.print_bs(g.parse_bs(said, active), active) == said


@pytest.mark.parametrize(
    "text",
    ["UE 3 : transmit  null", "UE3:transmitnull", " UE3: transmit null ", "UE3 :transmit null"],
)
def test_spaces_are_free_on_input_only(text):
    assert SYNTAX.parse_ue(text, 3) == 2
    assert SYNTAX.print_ue(3, 2) == "UE3: transmit null"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UE4: transmit null",  # speaks for another
        "UE03: transmit null",  # leading zero
        "UE3: transmit",
        "UE3: null transmit",
        "UE3: transmit null null",
        "UE3: Transmit null",
        "UE3:\ttransmit null",
        "UE3: transmit null\n",
        "UE3: transmit acknowledge",
        "BS: UE3 null",
        None,
        b"UE3: transmit null",
        3,
    ],
)
def test_what_a_device_cannot_say(text):
    with pytest.raises(GrammarError):
        SYNTAX.parse_ue(text, 3)
    reading = Grammar(N, Level.CONTEXT).read_ue(text, 3, q=1, m=0)
    assert reading.action == (0,)
    assert reading.violation
    assert reading.reason


@pytest.mark.parametrize(
    "text",
    [
        "BS: UE0 schedule_grant",  # row 3 is missing
        "BS: UE3 null, UE0 schedule_grant",  # descending
        "BS: UE0 null, UE0 null, UE3 null",
        "BS: UE0 schedule_grant, UE1 null, UE3 null",  # row 1 is empty
        "BS: UE0 schedule_grant UE3 null",
        "BS: UE0 schedule_grant, UE3 null,",
        "BS: UE0 schedule_request, UE3 null",
        "BS: UE100 null",
        "BS:",
        "UE0: transmit null",
    ],
)
def test_a_message_is_rejected_as_a_whole(text):
    active = [r in (0, 3) for r in range(N)]
    none = [False] * N
    reading = Grammar(N).read_bs(text, active, decoded=none, requested=none)
    assert reading.action == (0,) * N
    assert reading.violation
    with pytest.raises(GrammarError):
        Grammar(N, on_invalid="raise").read_bs(text, active, decoded=none, requested=none)


def test_lenient_input_takes_missing_rows_as_null():
    active = [True] * 3
    text = "BS: UE1 schedule_grant"
    assert Grammar(3, lenient=True).parse_bs(text, active) == (0, 1, 0)
    assert Grammar(3, lenient=True).parse_bs("BS:", active) == (0, 0, 0)


def test_a_forbidden_part_is_replaced_and_counted_not_the_whole():
    g = Grammar(4, Level.SINGLE_CHANNEL)
    kept = g.read_ue("UE2: delete schedule_request", 2, q=0, m=0)
    assert kept.action == (1,)  # nothing schedule_request
    assert (kept.violation, kept.invalid) == (False, 1)
    text = "BS: UE0 schedule_grant, UE1 schedule_grant, UE2 acknowledge, UE3 acknowledge"
    no = [False] * 4
    reading = g.read_bs(text, [True] * 4, decoded=no, requested=no)
    assert reading.action == (DCM_SG, DCM_NULL, DCM_ACK, DCM_NULL)
    assert (reading.violation, reading.invalid) == (False, 2)


@given(st.one_of(st.text(max_size=80), st.binary(max_size=40), st.none(), st.floats()))
def test_no_text_whatsoever_is_more_than_a_violation(text):
    g = Grammar(3, Level.CONTEXT)
    active = [True, False, True]
    assert g.read_ue(text, 0, q=1, m=0).action[0] in range(6)
    reading = g.read_bs(text, active, decoded=active, requested=active)
    assert len(reading.action) == 3


def test_texts_spliced_from_the_language_never_do_what_the_level_forbids():
    rng = random.Random(7)
    words = ["UE0", "UE1", "UE2", "BS", ":", ",", " ", "null", "schedule_grant", "acknowledge"]
    words += ["transmit", "nothing", "delete", "schedule_request", "UE", "\x00", "é"]
    g = Grammar(3, Level.SINGLE_CHANNEL)
    violations = 0
    for _ in range(1500):
        text = "".join(rng.choice(words) for _ in range(rng.randint(0, 9)))
        move = g.read_ue(text, 1, q=0, m=0)
        assert move.action[0] in (0, 1)
        reading = g.read_bs(text, [True] * 3, decoded=[False] * 3, requested=[False] * 3)
        assert reading.action.count(DCM_SG) <= 1
        assert reading.action.count(DCM_ACK) <= 1
        violations += move.violation and reading.violation
    assert violations > 1000


def test_a_text_longer_than_any_utterance_is_not_even_parsed():
    with pytest.raises(GrammarError, match="characters"):
        SYNTAX.parse_bs("BS: " + "UE0 null, " * MAX_CHARS, [True] * N)


def test_without_lark_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def no_lark(name, *args, **kwargs):
        if name.split(".")[0] == "lark":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    grammar_module._parser.cache_clear()
    monkeypatch.setattr(builtins, "__import__", no_lark)
    assert SYNTAX.print_ue(0, 0) == "UE0: nothing null"  # printing needs no lark
    with pytest.raises(OptionsError, match=r"sixgym\[train\]"):
        SYNTAX.parse_ue("UE0: nothing null", 0)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((0,), {}),
        ((101,), {}),
        ((3, 4), {}),
        ((3,), {"on_invalid": "ignore"}),
        ((3, 2), {"alphabet": opaque()}),
    ],
)
def test_options_outside_their_range_are_refused(args, kwargs):
    with pytest.raises(OptionsError, match="allowed"):
        Grammar(*args, **kwargs)


def test_the_lark_listing_is_the_dossiers():
    text = lark_text()
    assert 'ue_line: "UE" ROW ":" phy ucm' in text
    assert 'bs_line: "BS" ":" [clause ("," clause)*]' in text
    assert "ROW: /0|[1-9][0-9]?/" in text


# ------------------------------------------------------------------ levels and their masks (3.5)


def every_message(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product(range(3), repeat=n)))


def language(level: int, n: int, decoded: list[bool], requested: list[bool]) -> torch.Tensor:
    m = every_message(n)
    active = torch.ones_like(m).bool()
    allowed = bs_allowed(
        level, active, torch.tensor(decoded).expand_as(m), torch.tensor(requested).expand_as(m)
    )
    return m[~shield_bs(level, allowed, m).invalid.any(1)]


@pytest.mark.parametrize(
    ("level", "sizes"),
    [
        (0, [3, 9, 27, 81, 243]),
        (1, [3, 9, 27, 81, 243]),
        (2, [3, 7, 13, 21, 31]),
    ],
)
def test_sizes_of_the_base_stations_language(level, sizes):
    no = [[False] * n for n in range(1, 6)]
    counted = [len(language(level, n, no[n - 1], no[n - 1])) for n in range(1, 6)]
    assert counted == sizes
    assert [bs_language_size(level, n) for n in range(1, 6)] == sizes


def test_at_most_one_grant_alone_gives_2_to_the_n_plus_n_2_to_the_n_minus_1():
    sizes = [int(((every_message(n) == DCM_SG).sum(1) <= 1).sum()) for n in range(1, 6)]
    assert sizes == [3, 8, 20, 48, 112]


def test_size_of_the_protocol_level_depends_on_who_asked_and_who_was_decoded():
    for n in range(1, 5):
        for requested in itertools.product([False, True], repeat=n):
            for row in range(-1, n):
                decoded = [r == row for r in range(n)]
                found = len(language(3, n, decoded, list(requested)))
                both = row >= 0 and requested[row]
                assert found == protocol_language_size(sum(requested), row >= 0, both)


@pytest.mark.parametrize("level", list(Level))
def test_masks_given_the_rows_before_span_exactly_the_language(level):
    """Summing over the free masks in ascending order lists every message once."""
    n = 4
    m = every_message(n)
    decoded = torch.tensor([False, True, False, False]).expand_as(m)
    requested = torch.tensor([True, True, False, False]).expand_as(m)
    allowed = bs_allowed(level, torch.ones_like(m).bool(), decoded, requested)
    free = bs_free_masks(level, allowed, m)
    by_masks = free.gather(-1, m.unsqueeze(-1)).squeeze(-1).all(1)
    by_shield = ~shield_bs(level, allowed, m).invalid.any(1)
    assert torch.equal(by_masks, by_shield)
    assert free[..., DCM_NULL].all()


def test_what_devices_may_do_at_each_level():
    q = torch.tensor([0, 1, 1, 1, 1])
    m = torch.tensor([DCM_SG, DCM_NULL, DCM_SG, DCM_ACK, DCM_SG])
    active = torch.tensor([True, True, True, True, False])
    silent = [1, 0, 0, 0, 0, 0]
    everything, no_data = [1] * 6, [1, 1, 0, 0, 0, 0]
    expected = {
        Level.NONE: [everything] * 4 + [silent],
        Level.SYNTAX: [everything] * 4 + [silent],
        Level.CONTEXT: [no_data, everything, everything, everything, silent],
        Level.SINGLE_CHANNEL: [no_data, everything, everything, everything, silent],
        Level.PROTOCOL: [no_data, no_data, [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1], silent],
    }
    for level, masks in expected.items():
        assert ue_allowed(level, active, q, m).int().tolist() == masks


def test_a_forbidden_move_keeps_its_word():
    move = torch.tensor([3, 5, 4, 3])  # transmit+SR, delete+SR, delete, transmit+SR of nobody
    active = torch.tensor([True, True, True, False])
    allowed = ue_allowed(1, active, torch.tensor([0, 0, 1, 0]), torch.zeros(4).long())
    kept = shield_ue(allowed, move)
    assert kept.move.tolist() == [1, 1, 4, 0]
    assert kept.invalid.tolist() == [True, True, False, True]
