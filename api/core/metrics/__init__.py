"""What this process counts, and how all processes of a host tell it together."""
