"""Answer questions about clicks."""
