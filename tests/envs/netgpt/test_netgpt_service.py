"""Latency, price, queue and sharing: the dossier's constants, and a slot again in a plain loop."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from netgpt_cases import FLOOR, OMEGA, batch, play

from sixgym.envs.netgpt.params import NetGptThresholdParams
from sixgym.envs.netgpt.requests import split_requests
from sixgym.envs.netgpt.service import Service

BANDWIDTH = torch.tensor([100.0, 20.0, 4.0, 1.0], dtype=torch.float64)
RTT = torch.tensor([0.02, 0.06, 0.15, 0.3], dtype=torch.float64)


def service(**params: Any) -> Service:
    return Service(NetGptThresholdParams.create(**params))


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


PROMPT, OUTPUT, CONTEXT = number(900.0), number(60.0), number(512_000.0)


def test_constants_at_mean_sizes_are_the_dossiers() -> None:
    serve = service()
    edge = serve.edge_s(PROMPT, OUTPUT)
    mbit = serve.transfer_mbit(PROMPT, OUTPUT, CONTEXT)
    price = serve.cloud_price(PROMPT, OUTPUT, number(1.0))
    assert edge.item() == pytest.approx(0.89)
    assert mbit.item() == pytest.approx(4.16672)
    assert price.item() == pytest.approx(0.2772)
    assert serve.charge(edge, number(0.005)).item() == pytest.approx(FLOOR)
    no_context = serve.transfer_mbit(PROMPT, OUTPUT, number(0.0))
    assert no_context.item() == pytest.approx(0.070720)


def test_cloud_latency_and_omega_of_the_regimes_are_the_dossiers() -> None:
    serve = service()
    cloud = serve.cloud_s(BANDWIDTH, RTT, number(4.16672), OUTPUT, 1.0)
    assert cloud.tolist() == pytest.approx([1.70167, 1.98834, 3.09168, 6.66672], abs=1e-5)
    assert serve.charge(cloud, number(0.2772)).tolist() == pytest.approx(OMEGA.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("pricing", "price"), [("flat", 0.2772), ("tou", 0.309), ("premium", 0.6048), ("surge", 0.2772)]
)
def test_price_lists_are_the_dossiers(pricing: str, price: float) -> None:
    at_full = service(pricing=pricing).cloud_price(PROMPT, OUTPUT, number(1.0))
    assert at_full.item() == pytest.approx(price)


def test_cached_prompts_cost_the_price_of_a_hit() -> None:
    all_hit = service(cache_hit=1.0).cloud_price(PROMPT, OUTPUT, number(1.0))
    assert all_hit.item() == pytest.approx(0.9 * 0.028 + 0.06 * 0.42)


def test_slopes_of_omega_are_those_of_the_theory() -> None:
    """d omega / dR = .24 per s, d omega / dB = -.333338 / B^2, d omega / dm = .11088."""
    serve = service()

    def omega(bandwidth: float, rtt: float, mult: float) -> float:
        mbit = serve.transfer_mbit(PROMPT, OUTPUT, CONTEXT)
        latency = serve.cloud_s(number(bandwidth), number(rtt), mbit, OUTPUT, 1.0)
        return serve.charge(latency, serve.cloud_price(PROMPT, OUTPUT, number(mult))).item()

    eps = 1e-5
    assert (omega(20, 0.06 + eps, 1) - omega(20, 0.06, 1)) / eps == pytest.approx(0.24)
    by_bandwidth = (omega(20 + eps, 0.06, 1) - omega(20 - eps, 0.06, 1)) / (2 * eps)
    assert by_bandwidth == pytest.approx(-0.333338 / 400, rel=1e-5)
    assert (omega(20, 0.06, 1 + eps) - omega(20, 0.06, 1)) / eps == pytest.approx(0.11088)


# ------------------------------------------------------------------------------------------ queue


def test_fluid_backlog_of_an_overloaded_edge_grows_by_six_seconds_a_slot() -> None:
    env = batch(rows=1, preset="pre_queue", edge_rate=1.0, size_model="deterministic", info_level=1)
    seen = play(env, 0.0, 5)
    assert float(env.rows.state.desk.backlog[0]) == pytest.approx(30.0)
    for t in range(5):
        wait = seen["latency_each"][t, 0, 0] - 0.89
        assert wait == pytest.approx(6 * t + 3, abs=1e-5)


def test_an_edge_of_default_rate_never_waits() -> None:
    env = batch(rows=1, preset="pre_queue", size_model="deterministic", info_level=1)
    assert play(env, 0.0, 5)["latency_each"] == pytest.approx(0.89, abs=1e-6)


def test_training_slows_the_edge() -> None:
    serve = service(queue="fluid")
    load, backlog = number(20.0), number(1.0)
    free, busy = (serve.next_backlog(backlog, load, number(u)).item() for u in (0.0, 1.0))
    assert free == pytest.approx(0.0)  # 1 + 8 - 10
    assert busy == pytest.approx(2.0)  # 1 + 8 - 7
    assert serve.wait_s(backlog, load, number(1.0)).item() == pytest.approx(1.5)


def test_mm1_wait_is_the_textbooks_and_capped() -> None:
    serve = service(queue="mm1")
    zero = number(0.0)
    assert serve.wait_s(zero, number(16.0), zero).item() == pytest.approx(0.64 / (2.5 * 0.36))
    assert serve.wait_s(zero, number(1e6), zero).item() == pytest.approx(0.95 / (2.5 * 0.05))
    assert serve.wait_s(zero, zero, zero).item() == 0.0


@given(st.floats(0, 100), st.floats(0, 100), st.sampled_from([0.0, 1.0]))
def test_fluid_queue_conserves_work(backlog: float, load: float, training: float) -> None:
    serve = service(queue="fluid")
    after = serve.next_backlog(number(backlog), number(load), number(training)).item()
    done = backlog + load / 2.5 - after
    room = 10.0 * (1.0 - 0.3 * training)
    assert after >= 0
    assert -1e-9 <= done <= room + 1e-9
    assert after == 0 or done == pytest.approx(room)


# ---------------------------------------------------------------------------- a slot, plainly


def plain_slot(env: Any, sent: np.ndarray) -> tuple[float, list[float], list[float]]:
    """Mean utility of row 0, and what each request would earn kept and offloaded, in a loop."""
    p, state = env.system.params, env.rows.state
    link, desk = state.link, state.desk
    requests = split_requests(state.requests)
    count = int(desk.arrived[0])
    is_training = float(state.mind.training[0]) > 0
    kept, away = [], []
    for i in range(count):
        r = [float(column[0, i]) for column in requests]
        _, edge_valid, edge_right, cloud_valid, cloud_right, _, _, n_in, n_out, context = r
        for choice in (0, 1):
            others = [int(sent[j]) for j in range(count) if j != i] + [choice]
            load = count - sum(others) if p.mode == "pre" else count
            sharers = sum(others) if p.share_uplink else 1
            edge = n_in / 10_000 + n_out / 80 + 0.05
            if p.queue == "fluid":
                room = p.slot_s * (0.7 if is_training else 1.0)
                edge += float(desk.backlog[0]) + 0.5 * max(0.0, load / p.edge_rate - room)
            if choice == 0:
                money, latency, valid, right = 0.005, edge, edge_valid, edge_right
            else:
                mbit = 8e-6 * (4 * (n_in + n_out) + context + 5000)
                latency = 3 * float(link.rtt[0]) + mbit * sharers / float(link.bandwidth[0])
                latency += 0.6 + n_out / 60
                money = float(link.price_mult[0]) * (0.28 * n_in + 0.42 * n_out) / 1000
                valid, right = cloud_valid, cloud_right
                if p.mode == "cascade":
                    latency, money = latency + edge, money + 0.005
            utility = right - 0.08 * latency - 0.4 * money - p.w_schema * (1 - valid)
            utility -= p.w_sla * (latency > p.sla_s)
            (kept, away)[choice].append(utility)
    chosen = [away[i] if sent[i] else kept[i] for i in range(count)]
    return sum(chosen) / max(count, 1), kept, away


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"share_uplink": False, "w_schema": 0.3, "w_sla": 0.2},
        {"mode": "pre", "queue": "fluid", "edge_rate": 0.9},
        {"arrivals": "poisson", "num_requests": 4, "max_requests": 6},
        {"queue": "fluid", "edge_rate": 1.2, "pricing": "surge"},
    ],
)
def test_a_slot_earns_what_a_plain_loop_says(params: dict[str, Any]) -> None:
    env = batch("batch", rows=1, info_level=1, dtype="float64", **params)
    generator = np.random.default_rng(0)
    env.reset(seed=4)
    for _ in range(12):
        sent = generator.integers(0, 2, env.system.params.max_requests).astype(np.int8)
        reward, kept, away = plain_slot(env, sent)
        count = len(kept)
        _, got, _, _, info = env.step(sent[None])
        assert got[0] == pytest.approx(reward, abs=1e-9)
        assert info["U_edge_cf"][0, :count] == pytest.approx(kept, abs=1e-9)
        assert info["U_cloud_cf"][0, :count] == pytest.approx(away, abs=1e-9)


def test_counterfactuals_are_what_the_other_choice_earns() -> None:
    """Flip one request of a shared uplink: it earns its counterfactual."""
    env = batch("batch", rows=1, info_level=1, num_requests=5, max_requests=5)
    env.reset(seed=9)
    before = env.state_dict()
    for bits in itertools.islice(itertools.product((0, 1), repeat=5), 0, 32, 5):
        for i in range(5):
            flipped = [b ^ (j == i) for j, b in enumerate(bits)]
            infos = []
            for choice in (bits, flipped):
                env.load_state_dict(before)
                infos.append(env.step(np.array([choice], np.int8))[4])
            name = "U_edge_cf" if bits[i] else "U_cloud_cf"
            earned = infos[1]["U_cloud_cf" if flipped[i] else "U_edge_cf"][0, i]
            assert infos[0][name][0, i] == pytest.approx(earned, abs=1e-6)


def test_sharing_the_uplink_slows_every_offloaded_request() -> None:
    shared, own = (
        play(batch(rows=4, info_level=1, size_model="deterministic", share_uplink=s), 1.0, 1)
        for s in (True, False)
    )
    gap = shared["latency_each"] - own["latency_each"]
    expected = 15 * 4.16672 / own["bandwidth_mbps"][:, :, None]
    assert gap == pytest.approx(np.broadcast_to(expected, gap.shape), rel=1e-4)
