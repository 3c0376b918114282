"""How fast an environment steps: measured and told, never judged."""

from __future__ import annotations

import time

import numpy as np

from sixgym.envs.core.conformance.guest import Guest
from sixgym.envs.core.conformance.subject import Actions, Subject, check

SECONDS = 0.3
"""Of processor time that a measurement takes, and a call more."""
ROWS = (1, 256)


def speed(subject: Subject) -> str:
    """Steps a second of processor time, resets included, are told."""
    rates = [f"{steps_a_second(subject, rows):,.0f} in a batch of {rows}" for rows in ROWS]
    return f"steps a second of processor time: {', '.join(rates)}"


def steps_a_second(subject: Subject, rows: int) -> float:
    """Real transitions only: a row that restarts does not count."""
    env = subject.batch(rows)
    actions = Actions(env.single_action_space)
    batches = [actions.many(rows, t) for t in range(7)]
    env.reset(seed=0)
    env.step(batches[0])
    done, restarting, began = 0, 0, time.process_time()
    while time.process_time() - began < SECONDS:
        for batch in batches:
            _, _, terminated, truncated, _ = env.step(batch)
            done += rows - restarting
            restarting = int(np.count_nonzero(terminated | truncated))
    return done / (time.process_time() - began)


def guest_speed(guest: Guest) -> str:
    """Steps a second of processor time, and the time of a reset, are told."""
    env = guest.make()
    resets, steps = [], 0
    told = guest.begin(env, 0)
    began = time.process_time()
    while time.process_time() - began < SECONDS:
        if told.ended:
            at = time.process_time()
            told = guest.begin(env)
            resets.append(time.process_time() - at)
        else:
            told = guest.step(env, steps)
            steps += 1
    rate = steps / (time.process_time() - began)
    env.close()
    reset = f", a reset takes {1e3 * float(np.mean(resets)):.3g} ms" if resets else ""
    return f"{rate:,.0f} steps a second of processor time{reset}"


CHECKS = (check(speed),)
