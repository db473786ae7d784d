"""The networks themselves, one a file. Everything here imports torch; nothing here is imported until it must be."""
