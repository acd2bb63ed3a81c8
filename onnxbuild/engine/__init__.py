"""Deciding and running actions in workers; knows no stage by name."""
