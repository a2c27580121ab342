"""Mistakes planted into the code: `make test-mutants` counts how many of them a test finds."""
