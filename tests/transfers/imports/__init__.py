"""Links that come by the million."""
