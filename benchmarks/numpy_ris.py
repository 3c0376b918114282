"""`sixgym/RisNoma-v0` written by hand for one row: NumPy arrays over links and users.

For the benchmark only: what a single environment costs without torch. It covers the default
parameters, takes path gains and line of sight from the state it begins with, draws the same random
numbers and is checked against the environment before it is timed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from numpy_step import (
    Floats,
    Stepped,
    check_params,
    complex_normals,
    key_of,
    many_uniforms,
    many_words,
    unsigned,
)

from sixgym.envs.core.rows import Rows
from sixgym.envs.ris_noma.model import TINY
from sixgym.envs.ris_noma.observation import (
    EFFORT,
    ENERGY_UNIT_J,
    GLOBAL_FEATURES,
    HUGE,
    LIMIT,
    POWER_FLOOR,
    USER_FEATURES,
)
from sixgym.envs.ris_noma.state import BUCKETS, QUEUE, RAW, RHO, VOLUME, State
from sixgym.envs.ris_noma.system import TINY_J, RisNoma

_LOG_10 = math.log(10.0)
_LEAST = float(np.finfo(np.float64).tiny)


class NumpyRis:
    """One row, going on from where a row of the environment stands; a `numpy_step.NumpyStep`.

    Args:
        rows: one, started, with the default parameters; its tables and its state are read.
    """

    def __init__(self, rows: Rows[Any, Any]) -> None:
        system = rows.system
        assert isinstance(system, RisNoma)
        check_params(system)
        p, model = system.params, system.model
        self.params, self._key, self._rows = p, key_of(rows), (int(rows.step), rows.state)
        self._names = [m.name for m in system.metrics_up_to(0)]
        self._table = unsigned(system.step_draws.table)
        self._users, self._elements, self._window = model.users, model.elements, model.window
        self._beta, self._amplifier_s = model.beta, model.amplifier_s
        self._static_j, self._mean_bits = model.static_j, model.mean_bits
        self._budget = model.cycle_budget / p.cycles_per_bit
        self._price = model.compute_price
        state: State = rows.state
        self._moving = math.sqrt(1.0 - p.fading_correlation**2) * state.scatter[0].numpy()
        los = state.los[0].numpy()
        self._steady = (1.0 - p.fading_correlation) * (los[0] + 1j * los[1])
        self._slots = np.arange(1, self._window + 1)
        self._task_slope = (p.max_task_bits - p.min_task_bits) / p.arrival_probability
        self.reset()

    def reset(self) -> None:
        """Back to where it began."""
        self._step, state = self._rows
        links, surface = state.links[0].numpy(), state.surface[0].numpy()
        self._split(links[0] + 1j * links[1])
        users = state.users[0].numpy()
        self._volume, self._rho = users[:, VOLUME], users[:, RHO]
        self._queue, self._raw = users[:, QUEUE], users[:, RAW]
        self._backlog = users[:, BUCKETS:]
        self._order = state.order[0].numpy()
        self._surface = surface[0] + 1j * surface[1]
        *self._ages, self._slot = state.clock[0].tolist()
        self._gain, self._aligned = self._gains(), self._alignment()

    def _split(self, links: NDArray[np.complex128]) -> None:
        """Name the parts of the links."""
        users, elements = self._users, self._elements
        self._links, self._direct = links, links[:users]
        self._ris_ap = links[users : users + elements]
        self._user_ris = links[users + elements :].reshape(users, elements)

    def _gains(self) -> Floats:
        """Power gains over the noise."""
        channel = self._direct + self._user_ris @ (self._surface * self._ris_ap)
        return channel.real**2 + channel.imag**2 + TINY

    def _alignment(self) -> Floats:
        """Amplitudes of surfaces aligned to each user alone."""
        return np.abs(self._direct) + np.abs(self._user_ris) @ np.abs(self._ris_ap)

    def _walk(self, target: list[float], cap: list[float]) -> tuple[list[float], list[float]]:
        """Received powers and interference in decoding order, over the noise."""
        received, interference, total = target[:], target[:], 1.0
        for i in range(len(target) - 1, -1, -1):
            interference[i] = total
            received[i] = min(target[i] * total, cap[i])
            total += received[i]
        return received, interference

    def _limited(self, due: Floats, wish: Floats, load: Floats) -> Floats:
        """Raw bits that are really extracted; ``due`` cumulated."""
        most = np.minimum(due[:, -1], self._budget / np.maximum(load, _LEAST))
        return np.minimum(np.maximum(wish, due[:, 0]), most)

    def step(self, action: NDArray[np.float32]) -> Stepped:
        """One slot; as ``step`` of the environment."""
        p, users, elements = self.params, self._users, self._elements
        scaled = action.astype(np.float64)
        share, factor = 0.5 + 0.5 * scaled[: 2 * users].reshape(2, users)
        phase = np.pi * scaled[2 * users : 2 * users + elements]
        order = np.argsort(-scaled[2 * users + elements :], kind="stable")
        due = np.cumsum(self._backlog, 1)
        wish = due[:, 0] + share * (due[:, -1] - due[:, 0])
        rho = p.rho_min + (1.0 - p.rho_min) * factor
        self._surface = np.exp(1j * phase)

        load = -np.log(rho)
        volume = self._limited(due, wish, load)
        offered = self._queue + rho * volume
        quality = self._gains()[order]
        cap = quality * p.max_power_w
        target = np.expm1(self._beta * offered[order])
        received, interference = self._walk(target.tolist(), cap.tolist())
        service = np.empty(users)
        service[order] = np.log1p(cap / interference) / self._beta
        transmit_j = float((received / quality).sum()) * self._amplifier_s
        compute_j = float(((self._price * volume * load) ** 3).sum())

        sent = np.minimum(offered, service)
        raw = self._raw + volume
        delivered = raw * (sent / np.maximum(offered, _LEAST))
        left, left_raw = offered - sent, raw - delivered
        queue = np.minimum(left, p.queue_limit_bits)
        kept_raw = left_raw * (queue / np.maximum(left, _LEAST))
        backlog = np.minimum(np.maximum(due - volume[:, None], 0.0), self._backlog)
        dropped = float((left_raw - kept_raw + backlog[:, 0]).sum())

        self._step += 1
        self._slot += 1.0
        self._ages = [0.0, 0.0, 0.0]
        arrivals = self._move()
        self._volume, self._rho, self._order = wish, rho, order
        self._queue, self._raw = queue, kept_raw
        self._backlog = np.concatenate([backlog[:, 1:], arrivals[:, None]], 1)
        useful, energy = float(delivered.sum()), transmit_j + compute_j + self._static_j
        reward = useful - p.reference_ee * energy - p.drop_weight * dropped
        values = [useful, useful, dropped, float(arrivals.sum()), transmit_j, compute_j]
        values += [self._static_j, energy, useful / (energy + TINY_J), 0.0]
        info = dict(zip(self._names, values, strict=True))
        return Stepped(self.observe(), reward / self._mean_bits, False, False, info)

    def _move(self) -> Floats:
        """The next slot's links; (users,) bits that arrive."""
        p, links = self.params, len(self._links)
        words = many_words(self._key, self._table, self._step)
        moved = p.fading_correlation * self._links + self._steady
        self._split(moved + self._moving * complex_normals(words[:links]))
        self._gain, self._aligned = self._gains(), self._alignment()
        uniform = many_uniforms(words[links:])
        size = p.min_task_bits + self._task_slope * uniform
        return np.where(uniform < p.arrival_probability, size, 0.0)

    def observe(self) -> NDArray[np.float32]:
        """(K (11 + W) + 5,) float32 as of the environment."""
        p, users, order, gain = self.params, self._users, self._order, self._gain
        due = np.cumsum(self._backlog, 1)
        load = -np.log(self._rho)
        planned = self._limited(due, self._volume, load)
        bits = self._queue + self._rho * planned
        compute = (self._price * planned * load) ** 3 / ENERGY_UNIT_J
        quality = gain[order]
        target = np.expm1(self._beta * bits[order]).tolist()
        cap = quality * p.max_power_w
        power = np.array(self._walk(target, cap.tolist())[0]) / quality
        effort = np.array(self._walk(target, (cap * HUGE).tolist())[0]) / quality
        energy = float(compute.sum() + power.sum() * self._amplifier_s / ENERGY_UNIT_J)

        seen = np.empty((users, USER_FEATURES + self._window))
        log_gain = np.log(gain)
        seen[:, 0] = log_gain * (0.5 / _LOG_10) - 1.0
        seen[:, 1] = (log_gain - 2.0 * np.log(self._aligned)) / _LOG_10
        seen[:, 2] = (due / self._slots).max(1) / p.max_task_bits
        seen[:, 3] = planned / p.max_task_bits
        seen[:, 4] = self._volume / p.max_task_bits
        seen[:, 5] = self._rho
        seen[:, 6] = self._queue / p.max_task_bits
        seen[order, 7] = np.arange(users) / max(users - 1, 1)
        seen[:, 8] = (gain > gain[:, None]).sum(1) / max(users - 1, 1)
        seen[order, EFFORT] = np.log10(effort / p.max_power_w + POWER_FLOOR)
        seen[:, 10] = np.log1p(compute) / _LOG_10
        seen[:, USER_FEATURES:] = self._backlog / p.max_task_bits
        found = np.empty(seen.size + GLOBAL_FEATURES, np.float32)
        found[: seen.size] = seen.ravel()
        ages = [min(0.1 * age, 1.0) for age in self._ages]
        cost = math.log1p(self._static_j / ENERGY_UNIT_J + energy) / _LOG_10
        found[seen.size :] = (*ages, cost, self._slot / p.horizon_slots)
        return np.clip(found, -LIMIT, LIMIT)
