"""Where links may not lead."""
