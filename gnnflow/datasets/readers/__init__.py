"""Raw graphs from files, and from what other frameworks keep."""
