"""What the tests of the inputs need: somebody who is told of what is left out or guessed."""

import pytest


class Told(list):
    """A `Warn` that keeps the warnings, as (kind, text)."""

    def __call__(self, kind, text):
        self.append((kind, text))


@pytest.fixture
def told():
    return Told()
