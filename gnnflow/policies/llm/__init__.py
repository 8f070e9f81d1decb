"""A language model as policy: prompt in, log-probabilities of the allowed answers out."""
