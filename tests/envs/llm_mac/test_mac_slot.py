"""One slot of LLM-MAC: the dossier's golden trace and one-slot checks, arrivals, erasures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mac_cases import SILENT, draws, first, game, moves, play

from sixgym.envs.core.errors import ParamsError, UnknownIdError
from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_NULL, DCM_SG
from sixgym.envs.llm_mac.params import LlmMacParams

WAIT, ASK, SEND, SEND_ASK, DROP, DROP_ASK = range(6)
"""Users' actions, 2 a + u."""
RHO = 1.5


def test_golden_trace_of_the_dossier() -> None:
    """Section 1.3: N=2, no errors, no arrivals, q=(1,1), reward llm4mac; 3 + 4 + 0 = 7 rho."""
    system = game(initial_queue=1, **SILENT)
    state = first(system)
    script = [
        ((DCM_SG, DCM_NULL), (SEND, ASK), 1, 3.0, (1, 1), (1, 0)),
        ((DCM_ACK, DCM_SG), (DROP, SEND), 2, 4.0, (0, 1), (0, 1)),
        ((DCM_NULL, DCM_ACK), (WAIT, DROP), 0, 0.0, (0, 0), (0, 0)),
    ]
    total = 0.0
    for m, ue, o, reward, q, d in script:
        state, step = play(system, state, m, ue)
        assert int(state.o[0]) == o
        assert step.reward[0].tolist() == pytest.approx([reward * RHO] * 3)
        assert (state.q[0].tolist(), state.d[0].tolist()) == (list(q), list(d))
        assert state.m[0].tolist() == list(m)
        total += reward
    assert total == 7.0
    assert state.delivered[0].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("ue", "d", "reward", "o"),
    [
        ((SEND, SEND), (0, 0), -1.0, 3),  # collision
        ((DROP, WAIT), (0, 0), -2.0, 0),  # idle, and an undelivered packet lost
        ((SEND, WAIT), (1, 0), 0.0, 1),  # a duplicate is worth nothing
        ((DROP, SEND), (1, 0), 4.0, 2),  # a correct delete beside a new packet
        ((WAIT, WAIT), (0, 0), -1.0, 0),  # idle
    ],
)
def test_one_slot_from_one_packet_each(
    ue: tuple[int, int], d: tuple[int, int], reward: float, o: int
) -> None:
    """The dossier's one-slot checks, section 1.3, in units of rho."""
    system = game(initial_queue=1, **SILENT)
    state = first(system)._replace(d=torch.tensor([d]))
    new, step = play(system, state, (0, 0), ue)
    assert step.reward[0, 0] / RHO == pytest.approx(reward)
    assert int(new.o[0]) == o


def test_an_erasure_looks_like_a_collision_and_costs_as_much() -> None:
    system = game(initial_queue=1, **{**SILENT, "tbler": 1.0})
    new, step = play(system, first(system), (0, 0), (SEND, WAIT))
    assert int(new.o[0]) == 3
    assert step.metrics["erasure"].tolist() == [1.0]
    assert step.reward[0, 0] == pytest.approx(-RHO)
    assert new.d[0].tolist() == [0, 0]


def test_an_erasure_may_reveal_who_sent() -> None:
    system = game(initial_queue=1, erasure_reveals_id=True, **{**SILENT, "tbler": 1.0})
    new, _ = play(system, first(system), (0, 0), (WAIT, SEND))
    assert int(new.o[0]) == 2
    assert new.d[0].tolist() == [0, 0]
    seen = system.perceive(new, {})["bs.rows"][0, 0]
    assert seen[:, -2].tolist() == [0.0, 1.0], "decoded_last"


def test_erasures_of_each_seat_have_its_own_probability() -> None:
    system = game(3, initial_queue=20, row_tbler=(0.0, 0.3, 0.6), arrival_prob=0.0)
    state = first(system, 20_000)
    for seat, wanted in enumerate((0.0, 0.3, 0.6)):
        ue = [SEND if i == seat else WAIT for i in range(3)]
        _, step = play(system, state, (0, 0, 0), ue)
        assert float(step.metrics["erasure"].mean()) == pytest.approx(wanted, abs=0.012)


def test_actions_are_judged_by_the_buffer_before_the_arrival() -> None:
    """A packet can neither be sent nor deleted in the slot in which it arrives."""
    system = game(arrival_prob=1.0, tbler=0.0, mode="team")
    new, step = play(system, first(system), (0, 0), (SEND, DROP))
    assert new.q[0].tolist() == [1, 1]
    assert step.metrics["idle"].tolist() == [1.0]
    assert step.metrics["invalid"].tolist() == [2.0]
    assert new.a[0].tolist() == [0, 0], "at level 1 what is forbidden becomes nothing"


def test_below_level_1_void_actions_stay_as_they_were_said() -> None:
    system = game(pag_level=0, **SILENT)
    new, step = play(system, first(system), (0, 0), (SEND_ASK, DROP))
    assert new.a[0].tolist() == [1, 2]
    assert new.u[0].tolist() == [1, 0]
    assert step.metrics["invalid"].tolist() == [2.0]


@pytest.mark.parametrize(("arrivals_first", "dropped"), [(True, 1.0), (False, 0.0)])
def test_a_full_buffer_that_deletes_drops_only_if_arrivals_come_first(
    arrivals_first: bool, dropped: float
) -> None:
    system = game(
        1, buffer_size=3, initial_queue=3, arrival_prob=1.0, arrivals_first=arrivals_first
    )
    state = first(system)._replace(d=torch.tensor([[1]]))
    new, step = play(system, state, (DCM_ACK,), (DROP,))
    assert step.metrics["dropped"].tolist() == [dropped]
    assert int(new.q[0, 0]) == (2 if arrivals_first else 3)


def test_delays_are_those_of_a_first_in_first_out_buffer() -> None:
    """Arrivals in slots 0, 1, 2; the first is sent in slot 3, the second in slot 5."""
    system = game(1, arrival_prob=1.0, tbler=0.0, buffer_size=3)
    state = first(system)
    delays = []
    for ue in (WAIT, WAIT, WAIT, SEND, DROP, SEND):
        state, step = play(system, state, (0,), (ue,))
        delays.append(float(step.metrics["delay"][0]))
    assert delays == [0.0, 0.0, 0.0, 3.0, 0.0, 4.0]
    assert state.q[0].tolist() == [3], "B=3, so the arrivals of slots 3 and 4 were dropped"


def test_auto_delete_is_the_classical_collision_channel() -> None:
    system = game(initial_queue=2, auto_delete=True, **SILENT)
    state, step = play(system, first(system), (0, 0), (SEND, WAIT))
    assert state.q[0].tolist() == [1, 2]
    assert state.d[0].tolist() == [0, 0]
    state, step = play(system, state, (0, 0), (DROP, SEND))
    assert state.q[0].tolist() == [1, 1], "a delete does nothing"
    assert step.metrics["lost"].tolist() == [0.0]


def test_saturated_buffers_stay_full() -> None:
    system = game(traffic="saturated", tbler=0.0)
    state = first(system)
    assert state.q[0].tolist() == [20, 20]
    for ue in ((SEND, WAIT), (DROP, WAIT), (WAIT, SEND)):
        state, step = play(system, state, (0, 0), ue)
        assert state.q[0].tolist() == [20, 20]
    assert step.metrics["delivered"].tolist() == [1.0]


def test_poisson_traffic_has_mean_and_variance_of_its_rate() -> None:
    system = game(4, traffic="poisson", row_arrival_prob=(0.1, 0.5, 1.0, 0.0), buffer_size=50)
    _, step = play(system, first(system, 50_000), (0,) * 4, (0,) * 4)
    new, _ = play(system, first(system, 50_000), (0,) * 4, (0,) * 4)
    q = new.q.double()
    assert q.mean(0).tolist() == pytest.approx([0.1, 0.5, 1.0, 0.0], abs=0.015)
    assert q.var(0).tolist() == pytest.approx([0.1, 0.5, 1.0, 0.0], abs=0.03)
    assert torch.equal(step.metrics["generated"].double(), q.sum(1))


def test_several_packets_of_one_slot_keep_their_slot_of_arrival() -> None:
    system = game(1, traffic="poisson", arrival_prob=1.0, tbler=0.0, buffer_size=4)
    state = first(system, 200)
    plain: list[list[int]] = [[] for _ in range(200)]
    for t in range(12):
        ue = (SEND, DROP, WAIT)[t % 3]
        before = [list(p) for p in plain]
        counts = system.traffic.arrivals(state, draws(system, 200, t + 1))
        known = state.d[:, 0].tolist()
        state, step = play(system, state, (0,), (ue,))
        for row in range(200):
            queue, arrived = plain[row], int(counts[row, 0])
            queue += [t] * min(arrived, 4 - len(queue))
            if ue == DROP and before[row]:
                queue.pop(0)
            is_new = ue == SEND and before[row] and not known[row]
            wanted = t - before[row][0] if is_new else 0
            assert float(step.metrics["delay"][row]) == wanted
        assert state.q[:, 0].tolist() == [len(p) for p in plain]


def test_finite_traffic_ends_when_all_is_delivered_and_deleted() -> None:
    system = game(1, traffic="finite", packets=2, arrival_prob=1.0, tbler=0.0)
    state = first(system)
    ends = []
    for ue in (WAIT, WAIT, SEND, DROP, SEND, DROP):
        state, step = play(system, state, (0,), (ue,))
        ends.append(bool(step.terminated[0]))
    assert ends == [False] * 5 + [True]
    assert state.generated.tolist() == [[2]], "no third packet is generated"


def test_a_lost_packet_keeps_finite_traffic_from_ending() -> None:
    system = game(1, traffic="finite", packets=1, arrival_prob=1.0, tbler=0.0)
    state = first(system)
    for ue in (WAIT, DROP, WAIT, WAIT):
        state, step = play(system, state, (0,), (ue,))
        assert not step.terminated.any()
    assert step.metrics["lost"].tolist() == [0.0]


def test_traces_are_replayed_from_a_random_slot(tmp_path: Path) -> None:
    counts = np.arange(12).reshape(6, 2) % 3
    path = tmp_path / "trace.npy"
    np.save(path, counts)
    system = game(3, traffic="trace", trace_file=str(path), buffer_size=100)
    state = first(system, 64)
    offset = state.offset
    assert set(offset.tolist()) == set(range(6))
    for t in range(8):
        state, step = play(system, state, (0,) * 3, (0,) * 3)
        line = counts[(offset.numpy() + t) % 6][:, [0, 1, 0]].sum(1)
        assert step.metrics["generated"].tolist() == line.tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"not an array", "cannot be read"),
        (np.zeros(3), "shape"),
        (np.full((2, 2), -1), "whole numbers"),
        (np.full((2, 2), 0.5), "whole numbers"),
        (np.full((2, 2), np.nan), "whole numbers"),
        (np.array([["a"]]), "whole numbers"),
        (np.array([[{}]], dtype=object), "cannot be read"),
    ],
)
def test_faulty_traces_are_refused_in_one_line(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "trace.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(ParamsError, match=words) as caught:
        game(traffic="trace", trace_file=str(path))
    assert "\n" not in str(caught.value)


def test_delayed_messages_are_heard_in_the_next_slot() -> None:
    system = game(initial_queue=1, timing="delayed", **SILENT)
    state = first(system)
    grant = moves((DCM_SG, DCM_NULL), (WAIT, WAIT))
    assert system.heard(state, grant)[0].tolist() == [0, 0]
    state, _ = play(system, state, (DCM_SG, DCM_NULL), (WAIT, WAIT))
    assert system.heard(state, moves((0, 0), (0, 0)))[0].tolist() == [DCM_SG, DCM_NULL]
    fast = game(initial_queue=1, **SILENT)
    assert fast.heard(first(fast), grant)[0].tolist() == [DCM_SG, DCM_NULL]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"num_users": 11, "population": "fixed"}, "num_users"),
        ({"population_sizes": (2, 11)}, "population_sizes"),
        ({"population": "birth_death", "n_lo": 5, "n_hi": 4}, "n_lo"),
        ({"schedule": ((3, 2),)}, "schedule"),
        ({"row_tbler": (0.5, 1.5)}, "row_tbler"),
        ({"initial_queue": 21}, "initial_queue"),
        ({"trace_file": "a.npy"}, "trace_file"),
        ({"traffic": "trace"}, "trace_file"),
        ({"num_ucm": 4}, "num_ucm"),
        ({"opaque": True, "pag_level": 2}, "opaque"),
        ({"reward": "mota", "mode": "selfish"}, "mota"),
        ({"max_agents": 3}, "max_agents"),
        ({"pag_level": 4}, "pag_level"),
        ({"tbler": float("nan")}, "tbler"),
        ({"buffersize": 3}, "buffer_size"),
    ],
)
def test_parameters_are_checked(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ParamsError, match=words) as caught:
        LlmMacParams.create(None, **params)
    assert "\n" not in str(caught.value)


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(UnknownIdError, match="preset"):
        LlmMacParams.create("llm5mac")
