"""One model on all ranks: its gradients, its buffers, its batch normalization."""
