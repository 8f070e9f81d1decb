"""One process for each machine that holds the model, and the ranks that ask it."""
