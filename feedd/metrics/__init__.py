"""Metrics for Prometheus: one table, read from shared memory, served over HTTP."""
