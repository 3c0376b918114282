"""`sixgym/EventOffloadExit-v0` written by hand for one row: plain numbers and one NumPy array.

For the benchmark only: what a single environment costs without torch. It covers the default
parameters, takes its tables from the system, draws the same random numbers and is checked against
the environment before it is timed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from numpy_step import Stepped, check_params, key_of, uniform, unsigned, word

from sixgym.envs.core.rows import Rows
from sixgym.envs.event_offload.bank import CONFIRMED, CORRECT, TAIL
from sixgym.envs.event_offload.exit_system import (
    CONTINUE,
    EVENT,
    EXIT,
    OFFLOAD,
    SERVED,
    EventOffloadExit,
    ExitState,
)
from sixgym.envs.event_offload.state import BURST, ENERGY, SLOT, SNR

_LOG_10 = math.log(10.0)


class NumpyExit:
    """One row, going on from where a row of the environment stands; a `numpy_step.NumpyStep`.

    Args:
        rows: one, started, with the default parameters; its tables and its state are read.
    """

    def __init__(self, rows: Rows[Any, Any]) -> None:
        system = rows.system
        assert isinstance(system, EventOffloadExit)
        check_params(system)
        p = self.params = system.params
        self._names = [m.name for m in system.metrics_up_to(0)]
        self._features = system._features.numpy()
        self._traits = system.bank.traits.tolist()
        self._next_mac = system._next_mac.tolist()
        self._first_mac = system._first_mac
        self._events = unsigned(system._event_draws.table).tolist()
        self._gain = int(unsigned(system._slot_draws.table)[0])
        self._prevalence, self._tail, self._head = system.bank.mixes[0].tolist()
        self._tails = int(system.bank.starts[0, 1] - system.bank.starts[0, 0])
        self._first = int(system.bank.starts[0, 0])
        self._exits = system.num_exits
        self._worth = 1.0 / p.stationary_prevalence
        self._bandwidth = p.payload_bits * math.log(2.0) / p.bandwidth_hz
        self._min_snr = system.link.min_snr
        self._state: ExitState = rows.state
        self._key = key_of(rows)
        self.reset()

    def reset(self) -> None:
        """Back to where it began."""
        state = self._state
        self._sample = int(state.sample[0])
        vitals = state.vitals[0].tolist()
        self._snr, self._energy, self._slot = vitals[SNR], vitals[ENERGY], int(vitals[SLOT])
        self._event, self._exit = int(vitals[EVENT]), int(vitals[EXIT])
        self._served = int(vitals[SERVED])
        assert vitals[BURST] == 0.0
        self._tune()

    def _tune(self) -> None:
        """What an SNR means: energy of an offload, room in a slot."""
        airtime = min(self._bandwidth / math.log1p(self._snr), 1e30) if self._snr > 0.0 else 1e30
        self._offload_j = self.params.transmit_power_w * airtime
        self._is_up = self._snr >= self._min_snr
        self._room = math.floor(self.params.slot_s / airtime) if self._is_up else 0
        decibel = 10.0 * math.log(max(self._snr, 1e-6)) / _LOG_10 / 30.0
        self._seen_snr = min(max(decibel, -1.0), 1.0)
        price = (math.log(self._offload_j) - math.log(self.params.budget_j)) / _LOG_10 / 2.0
        self._seen_price = min(max(price, -1.0), 1.0) if self._is_up else 1.0

    def step(self, action: int) -> Stepped:
        """One decision; as ``step`` of the environment."""
        p, exit = self.params, self._exit
        allowed = True
        if action == CONTINUE:
            allowed = exit < self._exits - 1
        elif action == OFFLOAD:
            allowed = self._served < self._room
        goes_on = action == CONTINUE and allowed
        sent = 1.0 if action == OFFLOAD and allowed else 0.0
        done = 0.0 if goes_on else 1.0
        mac = self._first_mac if exit == 0 else 0.0
        if goes_on:
            mac += self._next_mac[exit]
        local, radio = p.energy_per_mac_j * mac, sent * self._offload_j
        energy = local + radio
        traits = self._traits[self._sample]
        tail = traits[TAIL]
        reward = self._worth * sent * traits[CORRECT] - p.energy_price * energy
        total = p.horizon_slots * p.num_events * p.budget_j
        values = [done, done * tail, sent * tail, sent * traits[CORRECT], sent * (1.0 - tail)]
        values += [sent * (1.0 - tail) * traits[CONFIRMED], sent, mac, local, radio, energy]
        values += [energy / total, 1.0, 0.0 if allowed else 1.0]
        self._energy += energy
        if goes_on:
            self._exit += 1
        else:
            self._served += int(sent)
            self._turn()
        info = dict(zip(self._names, values, strict=True))
        return Stepped(self.observe(), reward, self._slot >= p.horizon_slots, False, info)

    def _turn(self) -> None:
        """On to the next event, and the next slot where it was the last."""
        self._exit = 0
        self._event += 1
        if self._event >= self.params.num_events:
            self._event = self._served = 0
            self._slot += 1
            drawn = uniform(word(self._key, self._gain, self._slot))
            self._snr = -self.params.mean_snr * math.log(drawn)
            self._tune()
        drawn = uniform(word(self._key, self._events[self._event], self._slot + 1))
        tail = math.floor(min(drawn * self._tail, self._tails))
        head = math.floor(max((drawn - self._prevalence) * self._head, 0.0))
        self._sample = self._first + tail + head

    def observe(self) -> NDArray[np.float32]:
        """(N + 8,) float32 as of the environment."""
        p, exits = self.params, self._exits
        seen = np.zeros(exits + 8, np.float32)
        seen[self._exit] = 1.0
        seen[exits : exits + 3] = self._features[self._sample, self._exit]
        begun = self._slot * p.num_events + self._event + (self._exit > 0)
        left = min(self._energy / (max(begun, 1) * p.budget_j), 1.0)
        seen[exits + 3 :] = (
            self._seen_snr,
            self._seen_price,
            left,
            max(1.0 - self._slot / p.horizon_slots, 0.0),
            1.0 - self._event / p.num_events,
        )
        return seen
