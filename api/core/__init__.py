"""What the modules share; knows no module."""
