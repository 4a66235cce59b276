"""The same random recordings for a test, whatever runs before it."""

import pytest

from tests.apis import test_apis

START = test_apis.RNG.bit_generator.state


@pytest.fixture(autouse=True)
def same_walks():
    """Set the generator of ``walk`` to its start."""
    test_apis.RNG.bit_generator.state = START
