"""The tables and figures of the paper: what they say, what has to be run for them, and the runs themselves."""
