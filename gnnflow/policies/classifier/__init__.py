"""Classifiers as policies: trained on replayed situations, updated by what happens in a run."""
