"""Teaching a small model to decide: LoRA on situations whose better choice is known."""
