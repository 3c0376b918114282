"""Baselines of digital twins kept in step by mobile agents.

=============== ===================================================================================
`problem`        the one-shot problem: what is given, which ingredients may be switched off
`instances`      such problems as the environments draw them, and solutions as actions
`stages`         best speed, processing rate, power and compression at a price of energy
`plans`          most information of an agent by a given time; its certificate
`tables`         the same for all agents, regions and times
`regions`        the deviation of a region for a group of agents
`realise`        exact plans of an assignment
`bandwidth`      the split of the band that lowers the largest deviation
`matching`       the outer layer: proposals, transfers and swaps in leximax order
`assignments`    simple assignments
`exact`          all assignments; bottleneck and sum assignment of one agent a region
`bounds`         what no assignment and no split can beat
`two_layer`      both layers together
`round`          the table of `sixgym/TwinRound-v0`
=============== ===================================================================================
"""
