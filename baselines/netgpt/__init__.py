"""Baselines of NetGPT, and the theory of its unique threshold as code.

============ ======================================================================================
`model`       constants, latency, price and the extra cost of the cloud
`law`         what a threshold offloads and is worth under a law of the score; the unique threshold
`laws`        these laws: with noise, without, the difficulty itself
`threshold`   single crossing, closed forms, derivatives, the uniform toy, the counter-example
`frontier`    the value of dynamics, quality against cost, figures of merit
`congestion`  equilibrium and social optimum; the best set on a shared uplink
`trajectory`  the learning edge in the fluid limit
`investment`  offloading as an investment: dynamic programming
`design`      what a designer knows of a system; the mix of network states
`belief`      Delta of many rows at once
`fits`        thresholds and functions of the network that are fitted
`view`        how policies read the environments
`rules`       policies by thresholds
`joint`       policies that decide each request
`targets`     what learners of a threshold are trained towards
`table`       the tables
============ ======================================================================================

``BASELINES`` is the table of `sixgym/NetGptThreshold-v0`; the modules `route` and `batch` have
those of the other two.
"""

from __future__ import annotations

from sixgym.baselines.netgpt.table import table

BASELINES = table("threshold")
"""The table of `sixgym/NetGptThreshold-v0`."""
