"""The queue: Celery application, broker, wake-ups, leases and process helpers. Leaves: they know settings and pipeline only."""
