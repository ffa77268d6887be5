import pytest

from taskgroup.errors import ConfigError
from taskgroup.tasks.base import TaskInfo
from taskgroup.tasks.class_weights import with_class_weights

INFO = TaskInfo("segmentation", num_classes=4, class_shares=(0.5, 0.3, 0.2, 0.0))


def test_median_frequency_is_median_share_over_share() -> None:
    weights = with_class_weights(INFO, "median_frequency").class_weights
    assert weights == pytest.approx((0.6, 1.0, 1.5, 1.0))


def test_absent_class_weighs_one_and_leaves_the_median_alone() -> None:
    shares = (0.5, 0.3, 0.2)
    without = with_class_weights(TaskInfo("parts", 3, class_shares=shares), "median_frequency")
    assert with_class_weights(INFO, "median_frequency").class_weights[:3] == without.class_weights


def test_explicit_weights_are_kept() -> None:
    assert with_class_weights(INFO, (1, 2, 3, 4)).class_weights == (1.0, 2.0, 3.0, 4.0)


def test_none_removes_weights_and_nothing_else_changes() -> None:
    weighted = with_class_weights(INFO, (1, 2, 3, 4))
    assert with_class_weights(weighted, "none") == INFO


def test_wrong_number_of_weights() -> None:
    expected = (
        r"^task_options\.segmentation\.class_weights must hold one weight for each of 4 classes, "
        r"got 2; or write median_frequency$"
    )
    with pytest.raises(ConfigError, match=expected):
        with_class_weights(INFO, (1, 2))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_must_be_positive(bad: float) -> None:
    with pytest.raises(ConfigError, match="must hold weights above 0, got"):
        with_class_weights(INFO, (1, 1, 1, bad))


def test_unknown_shares() -> None:
    with pytest.raises(ConfigError, match=r"median_frequency needs the class shares, .* instead$"):
        with_class_weights(TaskInfo("segmentation", num_classes=4), "median_frequency")


def test_task_without_classes() -> None:
    with pytest.raises(ConfigError, match=r"task_options\.depth\.class_weights needs a task with"):
        with_class_weights(TaskInfo("depth"), "median_frequency")
    assert with_class_weights(TaskInfo("depth"), "none") == TaskInfo("depth")
