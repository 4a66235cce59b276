"""One thread, the package registered, and the same random numbers in every test."""
import pytest
import torch

import aimclr_mm  # noqa: F401

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
