"""What a run writes down: steps, summary, progress, traces, trackers."""
