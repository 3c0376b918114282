"""Event-triggered offloading: rare events, multi-exit inference, dual thresholds.

A device watches a stream of events of which few are rare ("tail") and worth reporting. A network
with several exits rates each event; below a lower threshold it is dropped, above an upper one it is
sent to an edge server that names its class, in between the next block runs. Computing and sending
cost energy, sending costs more the worse the fading channel, and there is a budget. The agent sets
the thresholds.

This is a reconstruction: of You Zhou, Changsheng You, Kaibin Huang, "Communication Efficient
Cooperative Edge AI via Event-Triggered Computation Offloading", arXiv 2501.02001, only the abstract
and the first page were read. What is said of its body comes from third-party reading notes, and is
marked so; its multi-device companion FREDI (arXiv 2609.15847) was read.

============================== =====================================================================
`sixgym/EventOffload-v0`       two thresholds in every slot
`sixgym/EventOffloadExit-v0`   exit, continue or offload at each exit of each event
`sixgym/EventOffloadMulti-v0`  several devices, a shared uplink and server: a game
============================== =====================================================================
"""
