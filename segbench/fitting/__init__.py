"""Fit a recipe to a dataset: derive from its statistics what the recipe does not state. One rule a file."""
