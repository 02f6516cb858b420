"""What is said when a recipe is refused."""

import pytest

from selu_hpc.errors import ConfigError
from selu_hpc.recipes import load_recipe


def said(*overrides, recipe="selu"):
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe, overrides)
    return str(caught.value)
