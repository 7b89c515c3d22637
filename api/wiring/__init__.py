"""Puts the services of the application together, side by side and each side alone."""
