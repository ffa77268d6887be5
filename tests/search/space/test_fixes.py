"""``--fix key=value``."""

import pytest

from taskgroup.errors import ConfigError
from taskgroup.search.space.fixes import apply_fixes


def test_fixes_pin_nested_keys_and_leave_the_argument_alone() -> None:
    values = {"search": {"trials": 12, "sampler": "tpe"}}
    fixed = apply_fixes(values, ["search.trials=4", "adversary.epsilon=8/255", "x=[a, b]"])
    assert fixed == {
        "search": {"trials": 4, "sampler": "tpe"},
        "adversary": {"epsilon": "8/255"},
        "x": ["a", "b"],
    }
    assert values == {"search": {"trials": 12, "sampler": "tpe"}}


@pytest.mark.parametrize("fix", ["search.trials", "=3", "a..b=3"])
def test_fix_without_key_or_value_is_refused(fix: str) -> None:
    with pytest.raises(ConfigError, match="--fix must be key=value"):
        apply_fixes({}, [fix])


def test_fix_inside_a_distribution_is_refused() -> None:
    with pytest.raises(ConfigError, match="fix loss_weights as a whole"):
        apply_fixes({"loss_weights": {"uniform": [0, 1]}}, ["loss_weights.depth=1"])


def test_fix_with_broken_yaml_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="value of --fix 'a=\\[1' must be YAML: line 1, column 3: "
    ):
        apply_fixes({}, ["a=[1"])
