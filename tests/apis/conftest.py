"""Reset the random recordings before each test, so that results do not depend on test order."""

import pytest

from tests.apis import test_apis

START = test_apis.RNG.bit_generator.state


@pytest.fixture(autouse=True)
def same_walks():
    """Set the generator of ``walk`` to its start."""
    test_apis.RNG.bit_generator.state = START
