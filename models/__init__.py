"""Recognition and generation networks that work offline, and the ways to run them."""
