"""Settings, logging and the server configuration."""
