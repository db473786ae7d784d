"""Measurements of speed and memory: `make bench`. Not tests: they assert nothing, and print what they found."""
