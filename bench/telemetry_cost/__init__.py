"""What `bench/telemetry` does: servers that tell more or less, who is told, and what it costs."""
