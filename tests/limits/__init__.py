"""Plans, and what they let through."""
