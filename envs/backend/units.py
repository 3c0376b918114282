"""Units that recorded series may be written in, and their conversion to SI."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Unit(NamedTuple):
    """A unit of measurement."""

    quantity: str
    """What it measures; units of one quantity convert into each other."""
    scale: float
    """How many SI units one of it is (of a decibel: its reference)."""
    is_decibel: bool = False
    """Values are ``10 log10`` of a power over the reference."""


UNITS: dict[str, Unit] = {
    "1": Unit("ratio", 1.0),
    "%": Unit("ratio", 1e-2),
    "dB": Unit("ratio", 1.0, is_decibel=True),
    "W": Unit("power", 1.0),
    "mW": Unit("power", 1e-3),
    "uW": Unit("power", 1e-6),
    "dBW": Unit("power", 1.0, is_decibel=True),
    "dBm": Unit("power", 1e-3, is_decibel=True),
    "J": Unit("energy", 1.0),
    "mJ": Unit("energy", 1e-3),
    "Hz": Unit("frequency", 1.0),
    "kHz": Unit("frequency", 1e3),
    "MHz": Unit("frequency", 1e6),
    "GHz": Unit("frequency", 1e9),
    "bit": Unit("data", 1.0),
    "bits": Unit("data", 1.0),
    "kbit": Unit("data", 1e3),
    "Mbit": Unit("data", 1e6),
    "byte": Unit("data", 8.0),
    "bytes": Unit("data", 8.0),
    "kB": Unit("data", 8e3),
    "MB": Unit("data", 8e6),
    "KiB": Unit("data", 8.0 * 2**10),
    "MiB": Unit("data", 8.0 * 2**20),
    "bit/s": Unit("rate", 1.0),
    "kbit/s": Unit("rate", 1e3),
    "Mbit/s": Unit("rate", 1e6),
    "Gbit/s": Unit("rate", 1e9),
    "s": Unit("time", 1.0),
    "ms": Unit("time", 1e-3),
    "us": Unit("time", 1e-6),
    "min": Unit("time", 60.0),
    "slot": Unit("slots", 1.0),
    "slots": Unit("slots", 1.0),
    "m": Unit("length", 1.0),
    "km": Unit("length", 1e3),
    "m/s": Unit("speed", 1.0),
    "km/h": Unit("speed", 1.0 / 3.6),
}
"""Every unit by its symbol; a byte has 8 bits, ``kB`` 1000 bytes and ``KiB`` 1024."""


def units_of(quantity: str, *, decibels: bool = True) -> tuple[str, ...]:
    """Symbols of the units of a quantity, with or without those in decibels."""
    return tuple(
        symbol
        for symbol, unit in UNITS.items()
        if unit.quantity == quantity and (decibels or not unit.is_decibel)
    )


def to_si(values: NDArray[np.float64], symbol: str) -> NDArray[np.float64]:
    """Values of a unit in SI units, any shape; powers in decibels become linear.

    Raises:
        KeyError: there is no such unit.
    """
    unit = UNITS[symbol]
    with np.errstate(over="ignore"):
        linear = 10.0 ** (values / 10.0) if unit.is_decibel else values
        return np.asarray(linear * unit.scale, np.float64)
