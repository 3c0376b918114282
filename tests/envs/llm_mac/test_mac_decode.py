"""Batched decoding under the grammar: the automaton's twin (dossier 3.7)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sixgym.envs.llm_mac.decode import DONE, Decoder
from sixgym.envs.llm_mac.grammar import Grammar, opaque
from sixgym.envs.llm_mac.levels import Level, bs_allowed, shield_bs, ue_allowed
from sixgym.envs.llm_mac.tokens import EOS, PAD, Vocabulary, bs_automaton, ue_automaton

LINES, N, B = 40, 5, 3


def sample(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.multinomial(mask.double(), 1, generator=generator).squeeze(1)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_base_stations_say_what_their_automata_allow(level):
    g = torch.Generator().manual_seed(level)
    grammar, vocabulary = Grammar(N, level), Vocabulary(N, B)
    decoder = Decoder(grammar, vocabulary)
    active, decoded, asked = (torch.rand(LINES, N, generator=g) < 0.6 for _ in range(3))
    decoded = active & decoded & (decoded.cumsum(1) == 1)
    allowed = bs_allowed(level, active, decoded, asked & active)
    automata = [
        bs_automaton(grammar, allowed[i].tolist(), active[i].tolist()) for i in range(LINES)
    ]
    masks = [a.masks(vocabulary) for a in automata]
    states, said = [0] * LINES, [[] for _ in range(LINES)]
    line = decoder.begin_bs(allowed, active)
    for _ in range(3 * N + 1):
        mask = decoder.bs_mask(line)
        token = sample(mask, g)
        for i in range(LINES):
            assert np.array_equal(mask[i].numpy(), masks[i][states[i]])
            (word,) = vocabulary.decode([int(token[i])])
            if word != PAD:
                states[i] = automata[i].step(states[i], word)
                said[i].append(word)
        line = decoder.step_bs(line, token)
    assert (line.place == DONE).all()
    assert not shield_bs(level, allowed, line.message).invalid.any()
    for i in range(LINES):
        assert said[i].pop() == EOS
        text = " ".join(["BS:", *said[i]])
        assert grammar.parse_bs(text, active[i].tolist()) == tuple(line.message[i].tolist())


@pytest.mark.parametrize("words", [None, opaque(4, 6)])
def test_devices_say_what_their_automata_allow(words):
    g = torch.Generator().manual_seed(0)
    grammar = Grammar(N, Level.CONTEXT, **({"alphabet": words} if words else {}))
    vocabulary = Vocabulary(N, B, grammar.alphabet)
    decoder = Decoder(grammar, vocabulary)
    q, m = torch.randint(0, 2, (2, LINES), generator=g)
    allowed = ue_allowed(1, torch.ones(LINES).bool(), q, m, len(grammar.alphabet.ucm))
    automata = [ue_automaton(grammar, allowed[i].tolist()) for i in range(LINES)]
    states, said = [0] * LINES, [[] for _ in range(LINES)]
    line = decoder.begin_ue(allowed)
    for _ in range(3):
        mask = decoder.ue_mask(line)
        token = sample(mask, g)
        for i, automaton in enumerate(automata):
            assert np.array_equal(mask[i].numpy(), automaton.masks(vocabulary)[states[i]])
            (word,) = vocabulary.decode([int(token[i])])
            states[i] = automaton.step(states[i], word)
            said[i].append(word)
        line = decoder.step_ue(line, token)
    assert (line.place == DONE).all()
    for i in range(LINES):
        assert grammar.parse_ue(f"UE1: {' '.join(said[i][:-1])}", 1) == int(line.move[i])
    assert decoder.ue_mask(line)[:, vocabulary.index[PAD]].all()
