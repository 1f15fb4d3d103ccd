"""Predictions of other programs, read into the folder of a cell."""
