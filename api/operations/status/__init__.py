"""The last hour of the whole installation, minute by minute, and the page that shows it."""
