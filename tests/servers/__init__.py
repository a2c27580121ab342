"""Tests against real servers and a real browser, on loopback: make test-servers."""
