"""Sections of the report: what each shows, and the sentences that its numbers allow."""
