"""Record, spool and ingest clicks."""
