"""Count the visits that no link answered, and answer questions about them."""
