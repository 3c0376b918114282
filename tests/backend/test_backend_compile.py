"""Every function of a step is one graph for the compiler, and the graph computes the same.

Capture alone finds breaks, host reads and shapes that depend on data, in seconds; the slow test
generates code for the hot path.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sixgym.envs.backend import (
    access,
    compute,
    fading,
    pathloss,
    queueing,
    ris,
    solvers,
)
from sixgym.envs.backend.complex import Complex

ROWS, USERS, ELEMENTS, ANTENNAS = 5, 4, 6, 2


def draw(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) + 0.1


def pair(*shape: int) -> Complex:
    value = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    return Complex(value[0], value[1])


GAIN, TARGET = draw(ROWS, USERS), draw(ROWS, USERS) * 3
D, R, G = pair(ROWS, USERS, ANTENNAS), pair(ROWS, USERS, ELEMENTS), pair(ROWS, ELEMENTS, ANTENNAS)


def single_antenna(gain: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    order = access.descending_gain_order(gain)
    least = access.min_power(gain, target, order, 1.0, 2.0)
    sinr = access.sic_sinr(gain * least.power_w, order, 1.0, 0.1)
    nats = access.nats_per_use(target, 1.0, 1.0)
    return (
        *least,
        sinr,
        access.log_min_received(nats, order),
        access.uncapped_sum_power(gain, nats, order),
        access.sum_spectral_efficiency(gain * least.power_w, 1.0),
        *access.tdma_min_power(gain, nats, 1.0, math.inf, 0.25),
        *access.ofdma_rate(torch.full_like(gain, 0.25), gain, 1.0, 1.0),
        *access.tdma_rate(torch.full_like(gain, 0.25), gain, 1.0, 1.0),
        access.transmit_energy(least.power_w, access.time_on_air(target, sinr, 1.0), 0.8),
    )


def many_antennas(re: Tensor, im: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    channel = Complex(re, im)
    order = access.descending_gain_order(re.square().sum(-1))
    least = access.mmse_min_power(channel, target, order, 1.0, 2.0)
    return (
        *least,
        access.mmse_sic_sinr(channel, least.power_w, order, 1.0, 0.1),
        access.mmse_sum_spectral_efficiency(channel, least.power_w, 1.0),
    )


def surface(phase: Tensor, correlation: Tensor) -> tuple[Tensor, ...]:
    v = ris.unit_phasor(ris.quantise_phase(phase, 2))
    moved = fading.gauss_markov(R, R, 0.9)
    faded = fading.rician(moved, R, 2.0, 0.5)
    a = ris.cascade(faded, G)
    again = fading.gauss_markov(R, R, fading.jakes_correlation(correlation, 0.01))
    return (
        *ris.effective_channel(D, a, v),
        *ris.effective_channel_of_hops(D, again, G, v),
        ris.alignment_bound(D, a),
        ris.random_phase_mean_gain(D, a),
    )


def geometry(centre: Tensor) -> tuple[Tensor, ...]:
    array = fading.planar_array(centre[0], 0.075, ELEMENTS)
    base = fading.linear_array(centre[1], 0.075, ANTENNAS, 1)
    return (*fading.steering(array, base, 0.15), fading.pairwise_distance(centre, base))


def buffers(bits: Tensor, backlog: Tensor) -> tuple[Tensor, ...]:
    volume = queueing.optimal_available(backlog)
    shifted = queueing.shift_buckets(queueing.serve_buckets(backlog, volume), volume)
    tasks = (bits * 10).long()
    return (
        *queueing.data_buffer_step(bits, bits, volume, volume, bits, 0.5),
        *shifted,
        *queueing.task_buffer_step(tasks, tasks, tasks // 2, 8),
    )


def processor(factor: Tensor) -> tuple[Tensor, ...]:
    loads = [compute.workload(factor, law) for law in compute.WORKLOAD_LAWS]
    back = [compute.factor_of_workload(loads[0], law) for law in compute.WORKLOAD_LAWS]
    speed = compute.lowest_speed(loads[0], 0.1, 3.0)
    return (
        *loads,
        *back,
        compute.cpu_time(loads[0], speed),
        compute.dvfs_energy_by_deadline(loads[0], 0.1, 1e-3),
        compute.fixed_energy(loads[0], 2.0),
        compute.extraction_limit(1.0, 2.0, loads[0]),
        compute.batch_service_time((10 * factor).long(), 0.1, 0.2),
        compute.batch_rate(factor, 0.1, 0.2),
        compute.similarity_exponential(factor),
        compute.similarity_logistic(factor, 0.3, 0.9, 1.0, 0.0),
    )


def losses(distance: Tensor) -> tuple[Tensor, ...]:
    return (
        pathloss.umi_nlos_loss_db(distance, 3.5e9),
        pathloss.uma_nlos_loss_db(distance, 3.5e9, distance.clamp(1.5, 20.0)),
        pathloss.inh_nlos_loss_db(distance, 3.5e9),
        pathloss.umi_los_probability(distance),
        pathloss.uma_los_probability(distance),
        pathloss.inh_mixed_los_probability(distance),
        pathloss.inh_open_los_probability(distance),
        pathloss.gain_of_loss(pathloss.free_space_loss_db(distance, 1e9)),
        pathloss.log_distance_gain(distance, 3.5, -30.0),
    )


def searches(x: Tensor) -> tuple[Tensor, ...]:
    low, high = torch.zeros_like(x), torch.full_like(x, 2.0)
    return (
        solvers.bisect(lambda y: y - x, low, high, 30),
        *solvers.golden_section(lambda y: (y - x).square(), low, high, 8),
        solvers.lambert_w0(x),
        solvers.lambert_wm1(-0.3 * x / x.amax()),
        solvers.water_filling(x, 2.0),
        solvers.project_simplex(x),
        solvers.projected_gradient(
            lambda y: y - x, lambda y: solvers.project_box(y, 0.0, 0.5), x, 0.5, 3
        ),
    )


PARTS: dict[str, tuple[Callable[..., tuple[Tensor, ...]], tuple[Tensor, ...]]] = {
    "single_antenna": (single_antenna, (GAIN, TARGET)),
    "many_antennas": (many_antennas, (D.re, D.im, TARGET)),
    "surface": (surface, (draw(ROWS, ELEMENTS), draw(1))),
    "geometry": (geometry, (draw(ROWS, 3),)),
    "buffers": (buffers, (draw(ROWS), draw(ROWS, 3))),
    "processor": (processor, (draw(ROWS, USERS) / 1.2,)),
    "losses": (losses, (draw(ROWS) * 100,)),
    "searches": (searches, (draw(ROWS, USERS),)),
}


@pytest.mark.parametrize("part", list(PARTS))
def test_functions_are_captured_as_one_graph(part: str) -> None:
    function, inputs = PARTS[part]
    graph = torch.compile(function, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for got, expected in zip(graph(*inputs), function(*inputs), strict=True):
            torch.testing.assert_close(got, expected)


@pytest.mark.slow
@pytest.mark.parametrize("part", list(PARTS))
def test_generated_code_computes_the_same(part: str) -> None:
    function, inputs = PARTS[part]
    with torch.no_grad():
        compiled = torch.compile(function, fullgraph=True)(*inputs)
        for got, expected in zip(compiled, function(*inputs), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", list(PARTS))
def test_dtype_of_the_inputs_is_kept(part: str) -> None:
    """float32 in, float32 out: nothing is promoted by a stray float64 constant."""
    function, inputs = PARTS[part]
    for value in function(*inputs):
        assert value.dtype in (torch.float32, torch.int64)
