"""The networks in torch. Tensors are called what checkpoints call them; imported only where torch is used."""
