"""Raw graphs of any size, made rather than read."""
