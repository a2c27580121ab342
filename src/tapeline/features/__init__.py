"""Pure functions from prices and dates to features; nothing here depends on a dataset."""
