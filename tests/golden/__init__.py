"""What the original networks answered, and the means to ask them again."""
