"""Arrays and records on disk, read and written with every check in one place."""
