"""One training loop and its users."""
