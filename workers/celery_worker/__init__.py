"""The Celery worker: its tasks, the sweeper that repeats wake-ups, the watchdog."""
