"""WHO runs it: Celery tasks, tray, sweeper, writer, REST API, command line."""
