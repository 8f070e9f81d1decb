"""Scores and outputs of trained models, over all neighbours or on minibatches."""
