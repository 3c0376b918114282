"""Congestion: the cost of the cloud grows with the share that is sent there (3.8).

Everyone's own best reply has one fixed point, the equilibrium; the threshold that is best for all
together solves the same equation at marginal costs. With K requests and one uplink the optimum over
all subsets is found by sorting.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.netgpt.law import GATE, ScoreLaw
from sixgym.baselines.netgpt.model import Model, Network

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Cost = Callable[[float], float]
"""omega by the share offloaded, not falling."""

STEPS = 60
"""Halvings of [0, 1]."""
MOST_ENUMERATED = 16
"""Requests whose subsets are tried one by one: 2^16."""
MAX_LOAD = 0.95
"""Of the M/M/1 queue, (14). [our choice]"""


def congested_threshold(law: ScoreLaw, marginal: Cost, average: Cost | None = None) -> float:
    """The root of V Delta(tau) = marginal(O(tau)): unique, since one side falls, the other rises.

    Args:
        law: of the score.
        marginal: cost of the cloud by share offloaded; omega for the equilibrium, d(O omega)/dO
            for the social optimum of a shared uplink, see `uplink_cost`.
        average: omega by share offloaded, where ``marginal`` is another: behind a gate it decides
            about the invalid drafts, which a threshold sends all or none.
    """
    own = marginal if average is None else average

    def wants_more(tau: float) -> bool:
        share = float(law.rates(tau).offload)
        return bool(law.threshold(marginal(share)) > tau)

    least = 0.0
    if law.is_gated:
        invalid = own(float(law.rates(GATE).offload))
        least = float(law.least_threshold(np.array(invalid)))
    if (law.is_gated and least == 0.0) or not wants_more(least):
        return least
    low, high = least, 1.0
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        if wants_more(middle):
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def uplink_cost(model: Model, network: Network, *, is_social: bool) -> Cost:
    """Cost omega by share offloaded on an uplink shared equally, eta = K O, in the mean field.

    Args:
        model: the constants.
        network: one state; its own sharing is not looked at.
        is_social: the marginal cost to all, d(O omega)/dO, instead of a request's own cost.
    """
    alone = float(model.extra_cost(network._replace(sharing=0.0)))
    load = model.w_latency * model.requests * float(model.megabits() / network.bandwidth)
    factor = 2.0 if is_social else 1.0
    return lambda share: alone + factor * load * share


def mm1_wait(model: Model, share: float, slot_s: float, service_rate: float) -> float:
    """Wait at the edge if this share is offloaded, s, mode ``mm1`` of (14), no training.

    Args:
        model: the constants.
        share: offloaded.
        slot_s: T_s.
        service_rate: mu_E, requests/s.
    """
    load = min(model.requests * (1.0 - share) / (slot_s * service_rate), MAX_LOAD)
    return load / (service_rate * (1.0 - load))


def queue_cost(
    model: Model,
    network: Network,
    *,
    slot_s: float,
    service_rate: float,
    is_social: bool,
) -> Cost:
    """Cost omega by share offloaded, pre mode, M/M/1 at the edge: it grows as the edge empties.

    The social marginal cost is below it: who leaves relieves those who stay,
    omega + lambda_L (1 - O) L_e'(O) with L_e' < 0. At most `MAX_LOAD` the wait is flat.

    Raises:
        ValueError: not the pre mode.
    """
    if model.mode != "pre":
        raise ValueError(f"mode={model.mode!r}: allowed: 'pre', in a cascade all use the edge")
    base = float(model.extra_cost(network))
    full = model.requests / (slot_s * service_rate)

    def cost(share: float) -> float:
        omega = base - model.w_latency * mm1_wait(model, share, slot_s, service_rate)
        load = full * (1.0 - share)
        if not is_social or load >= MAX_LOAD:
            return omega
        slope = -full / (service_rate * (1.0 - load) ** 2)
        return omega + model.w_latency * (1.0 - share) * slope

    return cost


# ------------------------------------------------------------------------------ finitely many


def batch_value(gain: Floats, load: Floats, chosen: Bools) -> Floats:
    """What a set of offloads is worth, (...).

    Args:
        gain: (..., K) v_i, V (q_c - q_e) less the part of omega that is not shared.
        load: (..., K) lambda_L D_i / B: cost of each request that shares the uplink with i.
        chosen: (..., K) who is offloaded.
    """
    count = chosen.sum(-1, keepdims=True)
    return np.asarray((chosen * (gain - count * load)).sum(-1))


def batch_optimum(gain: Floats, load: Floats) -> Bools:
    """The best set of offloads on a shared uplink, exact for any sizes, (..., K).

    With k offloads request i is worth v_i - k load_i, so the best k are the k largest of these;
    k is tried from 0 to K. Of equal sizes the order does not depend on k (sort and cut, 3.8).
    [derived: proved against `batch_brute_force`]

    Args:
        gain: (..., K) see `batch_value`; minus infinity for places that are empty.
        load: (..., K) not negative.
    """
    places = gain.shape[-1]
    best_value = np.zeros(gain.shape[:-1])
    best = np.zeros(gain.shape, dtype=np.bool_)
    for k in range(1, places + 1):
        worth = gain - k * load
        order = np.argsort(-worth, axis=-1, kind="stable")[..., :k]
        value = np.take_along_axis(worth, order, -1).sum(-1)
        chosen = np.zeros_like(best)
        np.put_along_axis(chosen, order, True, -1)
        is_better = value > best_value
        best_value = np.where(is_better, value, best_value)
        best = np.where(is_better[..., None], chosen, best)
    return best


def batch_brute_force(gain: Floats, load: Floats) -> tuple[Bools, float]:
    """The best of all 2^K sets, and its value; the test of `batch_optimum`.

    Args:
        gain: (K,) see `batch_value`.
        load: (K,).

    Raises:
        ValueError: more than `MOST_ENUMERATED` requests.
    """
    places = len(gain)
    if places > MOST_ENUMERATED:
        raise ValueError(f"requests={places}: allowed: at most {MOST_ENUMERATED}")
    sets = (np.arange(2**places)[:, None] >> np.arange(places)) & 1 == 1
    value = batch_value(gain, load, sets)
    best = int(value.argmax())
    return sets[best], float(value[best])
