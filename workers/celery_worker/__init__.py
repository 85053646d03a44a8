"""The Celery worker: its tasks, the sweeper that notifies again, the watchdog."""
