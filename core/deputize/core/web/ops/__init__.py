"""What operators read: metrics, health probes and access logs."""
