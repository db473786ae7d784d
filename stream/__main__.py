"""`python -m stream` is the `livelens` command."""

from stream.cli import main

main()
