"""Tables that models learn from: what a dataset declares, files, splits, and what the data is like."""
