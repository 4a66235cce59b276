"""What property tests share: the same examples everywhere, and seeds."""

import torch
from hypothesis import settings
from hypothesis import strategies as st

settings.register_profile(
    'project', deadline=None, derandomize=True, max_examples=20, database=None
)
settings.load_profile('project')
SEEDS = st.integers(0, 2**32 - 1)


def seeded(seed: int, function, *args):
    """What a function returns after torch was seeded."""
    torch.manual_seed(seed)
    return function(*args)
