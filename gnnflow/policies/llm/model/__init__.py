"""The model itself: its files, its adapter, what it scores and writes."""
