"""Converted weights, where they came from (NOTICE), and the scripts that convert them."""
