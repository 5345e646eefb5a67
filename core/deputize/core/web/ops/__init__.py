"""Metrics, health probes and access logs for operators."""
