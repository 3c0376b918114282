"""The grammar token by token, and the prompts (dossier 3.7, 4.1, 4.4)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from lark import Lark
from lark.exceptions import LarkError

from sixgym.envs.llm_mac.grammar import Grammar, GrammarError, opaque
from sixgym.envs.llm_mac.levels import (
    Level,
    bs_allowed,
    bs_free_masks,
    bs_language_size,
    ue_allowed,
)
from sixgym.envs.llm_mac.prompts import bs_prompt, numbers, ue_prompt
from sixgym.envs.llm_mac.tokens import EOS, Vocabulary, bs_automaton, ue_automaton

N = 10


def automaton(level: int, active: list[bool], decoded: list[bool] | None = None):
    no = [False] * len(active)
    given = [torch.tensor(x) for x in (active, decoded or no, no)]
    return bs_automaton(Grammar(len(active), level), bs_allowed(level, *given).tolist(), active)


def test_the_vocabulary_has_49_tokens_for_10_rows_and_20_sdus():
    assert len(Vocabulary(10, 20)) == 49 == 18 + 10 + 20 + 1
    assert len(set(Vocabulary(10, 20).tokens)) == 49


def test_tokens_and_numbers_undo_each_other():
    v = Vocabulary(4, 5)
    assert v.decode(v.encode(v.tokens)) == list(v.tokens)
    with pytest.raises(GrammarError, match="UE4"):
        v.encode(["UE4"])


def test_token_prompts_are_the_dossiers():
    v = Vocabulary(N, 20)
    assert v.ue_prompt(3, 5, 1, 1, 2) == [
        *("<bos>", "<ue>", "UE3", "b5", "transmit", "schedule_request", "acknowledge", "<act>")
    ]
    active = [r in (0, 3) for r in range(N)]
    u, m = [1] + [0] * 9, [0, 0, 0, 1] + [0] * 6
    assert " ".join(v.bs_prompt(4, u, m, active)) == (
        "<bos> <bs> decoded UE3 , UE0 schedule_request null , UE3 null schedule_grant <act>"
    )
    assert v.bs_prompt(0, u, m, active)[2] == "idle"
    assert v.bs_prompt(11, u, m, active)[2] == "undecodable"


def test_ten_devices_need_at_most_75_tokens():
    v = Vocabulary(N, 20)
    prompt = v.bs_prompt(10, [0] * N, [0] * N, [True] * N)
    said = max(map(len, itertools.islice(automaton(1, [True] * N).utterances(), 50)))
    assert len(prompt) == 5 + 4 * 10
    assert said == 3 * 10
    assert len(prompt) + said == 75


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_the_automaton_has_the_language_of_its_level(level, n):
    found = automaton(level, [True] * n)
    assert found.count() == len(set(found.utterances())) == bs_language_size(level, n)


def test_every_utterance_of_the_automaton_parses_to_a_message_of_its_own():
    active = [True, False, True, True]
    g = Grammar(4, Level.SINGLE_CHANNEL, on_invalid="raise")
    no = [False] * 4
    messages = set()
    for tokens in automaton(2, active).utterances():
        text = " ".join(["BS", ":", *tokens[:-1]])
        reading = g.read_bs(text, active, decoded=no, requested=no)
        assert reading.invalid == 0
        messages.add(reading.action)
    assert len(messages) == 13


def test_a_device_may_say_what_its_mask_allows():
    g = Grammar(N)
    for q, size in ((0, 2), (1, 6)):
        mask = ue_allowed(1, torch.tensor(True), torch.tensor(q), torch.tensor(0)).tolist()
        found = ue_automaton(g, mask)
        moves = [g.parse_ue("UE2: " + " ".join(t[:-1]), 2) for t in found.utterances()]
        assert moves == list(range(size))
        assert found.count() == size
        assert found.accepts(("nothing", "null", EOS))
        assert found.accepts(("delete", "null", EOS)) is (q > 0)


def test_no_devices_leave_nothing_to_say():
    found = automaton(1, [False] * 3)
    assert list(found.utterances()) == [(EOS,)]


@pytest.mark.parametrize("level", [1, 2])
def test_probabilities_of_all_messages_add_up_to_one_over_free_tokens_alone(level):
    """Token by token through the automaton equals the product over rows of the masked softmax."""
    n = 3
    v, g = Vocabulary(n, 2), Grammar(n, level)
    no = torch.zeros(n).bool()
    allowed = bs_allowed(level, ~no, no, no)
    found = bs_automaton(g, allowed.tolist(), [True] * n)
    masks = found.masks(v)
    logits = torch.randn(n, len(v), generator=torch.Generator().manual_seed(3))
    words = v.encode(g.alphabet.dcm)
    total = 0.0
    for tokens in found.utterances():
        state, row, log_p = 0, 0, 0.0
        for token in tokens:
            if found.is_free(state):
                may = torch.tensor(masks[state])
                row_logits = logits[row].masked_fill(~may, -math.inf)
                log_p += float(row_logits.log_softmax(0)[v.index[token]])
            row += token in g.alphabet.dcm
            state = found.step(state, token)
        m = torch.tensor([g.alphabet.dcm.index(t) for t in tokens if t in g.alphabet.dcm])
        free = bs_free_masks(level, allowed, m)
        by_row = logits[:, words].masked_fill(~free, -math.inf).log_softmax(-1)
        assert log_p == pytest.approx(float(by_row.gather(1, m[:, None]).sum()), abs=1e-5)
        total += math.exp(log_p)
    assert total == pytest.approx(1.0, abs=1e-5)


def test_masks_name_exactly_the_tokens_that_may_follow():
    v = Vocabulary(4, 2)
    found = automaton(2, [True, False, True, True])
    masks = found.masks(v)
    for state, arcs in enumerate(found.arcs[:-1]):
        assert set(np.array(v.tokens)[masks[state]]) == set(arcs)
    assert masks.any(1).all()
    with pytest.raises(GrammarError, match="UE0"):
        found.step(0, "UE1")


@pytest.mark.parametrize("level", [1, 2])
def test_the_specialised_lark_grammar_generates_the_same_language(level):
    active = [True, False, True, True]
    found = automaton(level, active)
    parser = Lark(found.lark_text(("BS", ":")), parser="lalr")
    g = Grammar(4, Level.SYNTAX)
    inside = {tokens[:-1] for tokens in found.utterances()}
    for tokens in automaton(0, active).utterances():
        text = "BS: " + " ".join(tokens[:-1])
        if tokens[:-1] in inside:
            parser.parse(text)
        else:
            with pytest.raises(LarkError):
                parser.parse(text)
        g.parse_bs(text, active)


def test_opaque_symbols_have_an_automaton_too():
    symbols = opaque(4, 6)
    g = Grammar(2, 1, alphabet=symbols)
    found = bs_automaton(g, [[True] * 6] * 2, [True, True])
    assert found.count() == 36
    assert found.masks(Vocabulary(2, 3, symbols)).any(1).all()


# ------------------------------------------------------------------------------------- prompts


def test_prompts_name_who_speaks_what_it_sees_and_what_it_can_say():
    g = Grammar(N)
    text = ue_prompt(g, 3, q=5, a=1, u=1, m=2, allowed=[True, True] + [False] * 4)
    assert "You are UE3" in text
    assert "Buffer: 5. Last action: transmit. Last message to BS: schedule_request." in text
    assert "Message from BS: acknowledge." in text
    assert text.endswith("UE3: nothing null | UE3: nothing schedule_request")
    active = [r in (0, 3) for r in range(N)]
    told = bs_prompt(g, o=4, u=[1] + [0] * 9, m=[0, 0, 0, 1] + [0] * 6, active=active)
    assert "a packet of UE3 was decoded" in told
    assert "UE0 said schedule_request, was told null." in told
    assert "UE3 said null, was told schedule_grant." in told
    assert "Answer: BS: UE0 WORD, UE3 WORD" in told
    assert "UE1" not in told


def test_the_choices_of_a_prompt_are_utterances():
    g = Grammar(N)
    choices = ue_prompt(g, 3, q=5, a=1, u=1, m=2).rpartition("one of: ")[2].split(" | ")
    assert [g.parse_ue(c, 3) for c in choices] == list(range(6))


def test_bare_numbers_drop_every_word():
    assert numbers(5, 1, 1, 2) == "5 1 1 2"
    assert numbers(11, [1, 0], [0, 2]) == "11 1 0 0 2"
