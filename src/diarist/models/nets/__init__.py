"""Network definitions: which tensors, in which order, make a model."""
