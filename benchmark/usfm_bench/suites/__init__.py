"""Suites and profiles: which trials there are."""
