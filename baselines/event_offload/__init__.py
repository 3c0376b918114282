"""Baselines of event-triggered offloading."""
