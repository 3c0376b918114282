"""A threshold pair for every exit: exact dynamic programming on one event (dossier 3.6).

Wald's sequential test with a payment: at each exit an event is closed as head (worth nothing),
offloaded (worth ``a p / pi - lambda E_off``, p the posterior of "tail"), or goes on for the price
of the next block. The value is convex in p, so the continuation set of every exit is an interval
and the optimal rule a pair of thresholds *per exit*, which meet at the last. [derived / standard:
Wald] Thresholds common to all exits are a restriction of this.

The model is Gaussian: the log-likelihood ratio gains N(+-v_n/2, v_n) at exit n and is sufficient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_REACH = 24.0
"""Half the width of the grid of log-likelihood ratios: the model's own lie within +-10."""
_STEP = 0.005
"""Of that grid; J* is then good to 1e-5."""


class EventModel(NamedTuple):
    """What one event costs and is worth."""

    separation: Floats
    """(exits,) d_n, the square root of the information up to exit n."""
    prevalence: float
    tail_accuracy: float
    """a, the share of tails that the server names rightly."""
    price: float
    """lambda, 1/J."""
    block_energy: Floats
    """(exits,) energy of each block in J."""
    offload_energy: float
    """E_off in J; infinite in outage."""


class ExitPlan(NamedTuple):
    """The optimal rule: at exit n head below ``low[n]``, offload above ``high[n]``."""

    low: Floats
    """(exits,) in log-likelihood ratio."""
    high: Floats
    """(exits,) in log-likelihood ratio; equal to ``low`` at the last exit."""
    value: float
    """J*: expected value of an event, energy of the first block included."""
    grid: Floats
    """(points,) the log-likelihood ratios of ``goes_on``."""
    goes_on: NDArray[np.bool_]
    """(exits, points) the continuation sets."""


def increments(separation: Floats) -> Floats:
    """(exits,) v_n = d_n^2 - d_{n-1}^2, the information of each block alone."""
    return np.asarray(np.diff(separation**2, prepend=0.0), dtype=np.float64)


def solve_exits(model: EventModel) -> ExitPlan:
    """The optimal rule of an event by backward induction over the exits.

    Args:
        model: of the event.
    """
    ratio = np.arange(-_REACH, _REACH + _STEP / 2, _STEP)
    odds = np.log(model.prevalence / (1.0 - model.prevalence))
    posterior = 1.0 / (1.0 + np.exp(-(ratio + odds)))
    worth = model.tail_accuracy / model.prevalence * posterior
    offload = worth - model.price * model.offload_energy
    stop = np.maximum(offload, 0.0)
    variance = increments(model.separation)
    exits = len(variance)
    low, high = np.zeros(exits), np.zeros(exits)
    sets = np.zeros((exits, len(ratio)), dtype=bool)
    level = _crossing(ratio, offload)
    low[-1] = high[-1] = level
    value = stop
    for n in range(exits - 2, -1, -1):
        ahead = _expect(value, posterior, float(variance[n + 1]))
        ahead -= model.price * model.block_energy[n + 1]
        sets[n] = ahead > stop
        low[n], high[n] = _ends(ratio, ahead, offload, sets[n], level)
        value = np.maximum(stop, ahead)
    start = _expect(value, posterior, float(variance[0]))
    middle = len(ratio) // 2
    value_now = float(start[middle] - model.price * model.block_energy[0])
    return ExitPlan(low, high, value_now, ratio, sets)


def _expect(value: Floats, posterior: Floats, variance: float) -> Floats:
    """The mean of the next value given the present ratio.

    A Gaussian blur on the grid for each label, weighted by the posterior.
    """
    half = min(int((variance / 2.0 + 9.0 * np.sqrt(variance)) / _STEP) + 1, len(value) - 1)
    offset = np.arange(-half, half + 1) * _STEP
    after = np.zeros_like(value)
    # Beyond the grid the value is taken as constant: the posterior is 0 or 1 there to 1e-10.
    padded = np.concatenate([np.full(half, value[0]), value, np.full(half, value[-1])])
    for share, mean in ((posterior, variance / 2.0), (1.0 - posterior, -variance / 2.0)):
        density = np.exp(-((offset - mean) ** 2) / (2.0 * variance))
        density /= density.sum()
        after += share * _correlate(padded, density)
    return after


def _correlate(signal: Floats, kernel: Floats) -> Floats:
    """``np.correlate(signal, kernel, "valid")`` by the fast Fourier transform."""
    size = 1 << int(np.ceil(np.log2(len(signal) + len(kernel))))
    product = np.fft.rfft(signal, size) * np.conj(np.fft.rfft(kernel, size))
    return np.fft.irfft(product, size)[: len(signal) - len(kernel) + 1]


def _crossing(ratio: Floats, gain: Floats) -> float:
    """Where an ascending function becomes positive, by linear interpolation.

    Infinite where it does not on the grid.
    """
    if gain[-1] <= 0.0:
        return float("inf")
    i = int(np.argmax(gain > 0.0))
    if i == 0:
        return float("-inf")
    share = gain[i - 1] / (gain[i - 1] - gain[i])
    return float(ratio[i - 1] + share * (ratio[i] - ratio[i - 1]))


def _ends(
    ratio: Floats, ahead: Floats, offload: Floats, goes_on: NDArray[np.bool_], level: float
) -> tuple[float, float]:
    """The ends of a continuation interval; both at the stopping rule's level where it is empty."""
    if not goes_on.any():
        return level, level
    low = _crossing(ratio, ahead)
    # From the right: offloading beats going on from here. Never, where nothing can be sent.
    if not np.isfinite(offload[-1]):
        return low, float("inf")
    return low, _crossing(ratio, np.where(ratio > low, offload - ahead, -1.0))


def simulate_exits(
    low: Floats, high: Floats, scores: Floats, final: float | None = None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Run thresholds per exit on drawn events.

    Args:
        low: (exits,) head below.
        high: (exits,) offload above.
        scores: (events, exits), in the scale of the thresholds.
        final: those left after the last exit are offloaded above this; None: never.

    Returns:
        (events,) exit taken, from 0, and (events,) whether it is offloaded.
    """
    stopped = (scores < low) | (scores > high)
    left = ~stopped.any(1)
    taken = np.where(left, scores.shape[1] - 1, stopped.argmax(1)).astype(np.int64)
    last = np.take_along_axis(scores, taken[:, None], 1)[:, 0]
    sent = ~left & (last > high[taken])
    if final is not None:
        sent |= left & (scores[:, -1] > final)
    return taken, sent
