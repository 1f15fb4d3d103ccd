"""Hours, energy and memory of cells that have not run yet."""
