"""What a method is made of, and FLIP."""
