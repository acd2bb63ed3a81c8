"""Evaluation, calibration and probe data as calls: reading, cutting, storing; knows numpy and recipes, no model."""
