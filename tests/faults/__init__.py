"""Faults at length: python -m tests.faults. The tests of every commit do the same briefly."""
