"""Batched physics and numerics in torch, with no reinforcement learning in it.

Every function is pure, takes tensors whose leading axes are a batch, keeps the dtype and device of
its inputs and never looks at a value on the host, so it can be compiled with
``torch.compile(fullgraph=True)``. Units are SI. Importing this package imports no torch: import the
module you need.

============== =================================================================================
module         what it holds
============== =================================================================================
rng            counter-based random draws, keyed by row seed, episode, step and stream name
complex        complex numbers as two float tensors
pathloss       log-distance, free-space and 3GPP TR 38.901 path loss and line-of-sight probability
fading         Rayleigh and Rician fading, Gauss-Markov steps, array geometry and steering
ris            cascaded channels of a reconfigurable surface, phase quantisation, alignment bounds
access         uplink NOMA with successive decoding, least transmit power, OFDMA and TDMA
compute        processor cycles, time and energy, batch service, semantic workload and similarity
mobility       motion power of wheels and of rotary wings, energy a metre, best speeds
queueing       data buffers, deadline buckets and task buffers with exact conservation
printing       text for messages: one line that any terminal can show
solvers        bisection, golden section, Lambert W, water-filling, projections, permutations
units          units that recorded series may be written in
traces         reading recorded series from CSV, Parquet and npz files
trace_formats  the inside of such files, for readers of other formats too
playback       playing recorded series to a batch of rows
sionna_channel TR 38.901 channels made by Sionna 2, as recordings (an optional library)
============== =================================================================================

Marks in the docstrings say where a formula is from: [paper] the source paper of a system, [related]
a neighbouring paper, [standard] a textbook or a standard, [derived] shown here and tested, [our
choice] ours.
"""
