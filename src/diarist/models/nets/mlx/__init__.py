"""The networks in MLX, channels last, with the classes and tensor names of `nets/torch`.

Imported only where MLX is used. `weights.load` turns the tensors of a checkpoint round.
"""
