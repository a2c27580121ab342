"""Where a graph runs: one module for each target."""
