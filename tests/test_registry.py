import pytest

from taskgroup.errors import ConfigError
from taskgroup.registry import Registry


@pytest.fixture
def shapes() -> Registry[type]:
    registry = Registry[type]("shape")
    registry.register("cube")(int)
    registry.register("ball")(float)
    return registry


def test_decorator_returns_what_it_binds(shapes: Registry[type]) -> None:
    @shapes.register("cone")
    class Cone: ...

    assert shapes["cone"] is Cone


def test_names_are_sorted_whatever_the_order_of_binding(shapes: Registry[type]) -> None:
    assert shapes.names() == tuple(shapes) == ("ball", "cube")
    assert len(shapes) == 2


def test_a_name_that_stands_for_a_bound_one_is_offered_but_not_bound() -> None:
    registry = Registry[type]("shape", also=("auto",))
    registry.register("cube")(int)
    assert "auto" not in registry
    with pytest.raises(ConfigError, match=r"^unknown shape 'x'; choose one of: auto, cube$"):
        _ = registry["x"]
    with pytest.raises(ConfigError, match="did you mean 'auto'"):
        _ = registry["autp"]


def test_membership(shapes: Registry[type]) -> None:
    assert "ball" in shapes
    assert "cone" not in shapes


def test_one_object_may_have_two_names(shapes: Registry[type]) -> None:
    shapes.register("sphere")(float)
    assert shapes["sphere"] is shapes["ball"]


def test_second_binding_is_refused_and_the_first_stays(shapes: Registry[type]) -> None:
    with pytest.raises(ConfigError, match=r"shape 'ball' is registered twice"):
        shapes.register("ball")(str)
    assert shapes["ball"] is float


def test_unknown_name_gets_the_nearest_and_the_list(shapes: Registry[type]) -> None:
    expected = r"unknown shape 'bal'; did you mean 'ball'\? choose one of: ball, cube"
    with pytest.raises(ConfigError, match=expected):
        shapes["bal"]


def test_unknown_name_without_a_near_one_gets_the_list(shapes: Registry[type]) -> None:
    with pytest.raises(ConfigError, match=r"^unknown shape 'torus'; choose one of: ball, cube$"):
        shapes["torus"]


def test_two_registries_share_nothing(shapes: Registry[type]) -> None:
    assert "ball" not in Registry[type]("shape")


def test_scratch_forgets_what_came_inside_and_keeps_the_rest(shapes: Registry[type]) -> None:
    def fail_inside() -> None:
        with shapes.scratch():
            shapes.register("cone")(str)
            assert "cone" in shapes
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert shapes.names() == ("ball", "cube")
