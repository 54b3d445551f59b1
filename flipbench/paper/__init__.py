"""What the paper prints: its numbers and its names."""
