"""Hyper-parameter search: what may be searched, trials, and the two ways to run them.

`coordinator` runs all trials of a study from one process, and is deterministic; `database` shares them among workers.
"""
