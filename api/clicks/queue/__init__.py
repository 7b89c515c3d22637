"""The broker between the spools and the consumers: ship, take, and what could not be counted."""
