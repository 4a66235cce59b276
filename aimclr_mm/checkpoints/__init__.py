"""Safe reading and strict loading of checkpoints, and the format of the released code."""
