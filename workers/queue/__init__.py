"""Celery application, broker, wake-ups, leases and process helpers. They import settings and pipeline only."""
