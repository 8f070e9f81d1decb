"""The commands: each parses options into a config, calls the library and prints the outcome."""
