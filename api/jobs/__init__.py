"""Slow work beside requests: the Celery application, its tasks, and how jobs are queued."""
