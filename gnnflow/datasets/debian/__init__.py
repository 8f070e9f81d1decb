"""The graphs made of Debian's archive: its packages, and the files in them."""
