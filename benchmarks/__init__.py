"""Figures next to their goals; see DESIGN.md, *Running*."""
