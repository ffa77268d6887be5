import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, field_validator

from taskgroup.attacks.base import AttackBudget
from taskgroup.config import (
    Config,
    Fraction255,
    parse,
    parse_number,
    parse_yaml,
    parse_yaml_value,
    read_yaml,
    to_yaml,
)
from taskgroup.data.base import AnyDataset, DatasetConfig, check_tasks
from taskgroup.errors import ConfigError, DataError
from taskgroup.tasks.base import TaskInfo


class Oven(Config):
    """Something nested."""

    heat: Annotated[Fraction255, Field(ge=0, le=1)] = 0.5
    mode: Literal["grill", "bake"] = "bake"
    racks: Annotated[int, Field(ge=1)] = 2
    lit: bool = False

    @field_validator("racks")
    @classmethod
    def _check_racks(cls, racks: int) -> int:
        if racks == 13:
            raise ValueError(f"racks must not be unlucky, got {racks}; take 12")
        return racks


class Topping(Config):
    """An element of a list."""

    name: str
    grams: float = 1.0


class Recipe(Config):
    """One of everything that a configuration model may hold."""

    name: str = "bread"
    oven: Oven = Oven()
    weights: Literal["equal", "heavy"] | tuple[Annotated[Fraction255, Field(gt=0)], ...] = "equal"
    guests: Literal["all"] | int | tuple[str, ...] = "all"
    toppings: tuple[Topping, ...] = ()
    amounts: Mapping[str, Annotated[Fraction255, Field(gt=0)]] = {}
    rest: Annotated[float, Field(gt=0)] | None = None
    courses: Annotated[tuple[str, ...], Field(min_length=1, max_length=3)] = ("main",)


def message(values: Mapping[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, values)
    line = str(caught.value)
    assert "\n" not in line
    return line


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("8/255", 8 / 255),
            (" 8 / 255 ", 8 / 255),
            ("2.5/255", 2.5 / 255),
            ("1/3", 1 / 3),
            ("0/255", 0.0),
            ("-1/4", -0.25),
        ],
    )
    def test_fraction_is_the_nearest_float(self, text: str, number: float) -> None:
        assert parse_number(text) == number

    @pytest.mark.parametrize("value", ["8/0", "8/", "/255", "1/2/3", "a/b", "eight", 3, None])
    def test_anything_else_passes_through(self, value: object) -> None:
        assert parse_number(value) == value

    @pytest.mark.parametrize(
        ("value", "heat"), [("1/4", 0.25), (1, 1.0), ("0.5", 0.5), ("1e-3", 0.001)]
    )
    def test_model_takes_fractions_and_numbers(self, value: object, heat: float) -> None:
        assert parse(Recipe, {"oven": {"heat": value}}).oven.heat == heat

    @pytest.mark.parametrize("value", ["8/0", "hot"])
    def test_text_that_is_no_number(self, value: str) -> None:
        assert message({"oven": {"heat": value}}) == (
            f"oven.heat must be a number, got {value!r}; write 0.5 or 8/255"
        )

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_nan_and_infinity_are_refused(self, value: float) -> None:
        assert message({"oven": {"heat": value}}).startswith("oven.heat must be a finite number")
        assert message({"rest": value}).startswith("rest must be a finite number")

    def test_truth_is_no_number(self) -> None:
        assert message({"oven": {"racks": True}}) == "oven.racks must be an integer, got True"
        assert message({"rest": False}) == "rest must be a number, got False"
        assert parse(Recipe, {"oven": {"lit": True}}).oven.lit

    def test_fraction_with_an_integer_key(self) -> None:
        assert message({"oven": {"racks": "5/2"}}).startswith("oven.racks must be an integer")


class TestMessages:
    def test_unknown_key_gets_the_nearest_known_one(self) -> None:
        assert message({"oven": {"heet": 1}}) == "unknown key 'oven.heet'; did you mean 'heat'?"
        assert message({"nam": "x"}) == "unknown key 'nam'; did you mean 'name'?"

    def test_unknown_key_without_a_near_one_gets_the_list(self) -> None:
        assert message({"oven": {"xyz": 1}}) == (
            "unknown key 'oven.xyz'; known keys: heat, lit, mode, racks"
        )

    def test_unknown_key_inside_a_list(self) -> None:
        line = message({"toppings": [{"name": "salt"}, {"name": "oil", "gram": 3}]})
        assert line == "unknown key 'toppings.1.gram'; did you mean 'grams'?"

    def test_unknown_key_comes_before_other_problems(self) -> None:
        line = message({"name": 3, "oven": {"heat": 4, "heet": 1}})
        assert line == "unknown key 'oven.heet'; did you mean 'heat'? (and 2 more)"

    def test_missing_key(self) -> None:
        assert message({"toppings": [{}]}) == "toppings.0.name is required; add it"

    @pytest.mark.parametrize(
        ("values", "line"),
        [
            ({"name": 3}, "name must be text, got 3"),
            ({"name": None}, "name must be text, got None"),
            ({"oven": 3}, "oven must be a mapping of keys, got 3"),
            ({"oven": {"racks": "two"}}, "oven.racks must be an integer, got 'two'"),
            ({"oven": {"racks": 1.5}}, "oven.racks must be an integer, got 1.5"),
            ({"oven": {"lit": "maybe"}}, "oven.lit must be true or false, got 'maybe'"),
            ({"toppings": "salt"}, "toppings must be a list, got 'salt'"),
            ({"amounts": [1]}, "amounts must be a mapping of keys, got [1]"),
        ],
    )
    def test_wrong_type(self, values: dict[str, Any], line: str) -> None:
        assert message(values) == line

    @pytest.mark.parametrize(
        ("values", "line"),
        [
            ({"oven": {"heat": 2}}, "oven.heat must be at most 1, got 2"),
            ({"oven": {"heat": "-1/4"}}, "oven.heat must be at least 0, got '-1/4'"),
            ({"oven": {"racks": 0}}, "oven.racks must be at least 1, got 0"),
            ({"amounts": {"salt": 0}}, "amounts.salt must be greater than 0, got 0"),
            ({"rest": -1}, "rest must be greater than 0, got -1"),
            ({"courses": []}, "courses must be a list of at least 1, got []"),
            (
                {"courses": list("abcd")},
                "courses must be a list of at most 3, got ['a', 'b', 'c', 'd']",
            ),
        ],
    )
    def test_out_of_range(self, values: dict[str, Any], line: str) -> None:
        assert message(values) == line

    def test_choice(self) -> None:
        assert message({"oven": {"mode": "bak"}}) == (
            "oven.mode must be 'grill' or 'bake', got 'bak'; did you mean 'bake'?"
        )
        assert message({"oven": {"mode": "fry"}}) == (
            "oven.mode must be 'grill' or 'bake', got 'fry'"
        )

    def test_union_names_all_that_it_allows(self) -> None:
        assert message({"weights": "foo"}) == (
            "weights must be 'equal', 'heavy' or a list, got 'foo'"
        )
        assert message({"guests": 1.5}) == "guests must be 'all', an integer or a list, got 1.5"

    def test_union_follows_the_branch_that_got_inside(self) -> None:
        assert message({"weights": [1, -2]}) == "weights.1 must be greater than 0, got -2"

    def test_optional_is_no_union(self) -> None:
        assert message({"rest": "long"}).startswith("rest must be a number, got 'long'")

    def test_own_check_names_the_whole_key_once(self) -> None:
        assert message({"oven": {"racks": 13}}) == (
            "oven.racks must not be unlucky, got 13; take 12"
        )

    def test_long_values_are_cut(self) -> None:
        assert len(message({"name": list(range(1000))})) < 100

    def test_source_comes_first(self) -> None:
        with pytest.raises(ConfigError, match=r"^space\.yaml: name must be text, got 3$"):
            parse(Recipe, {"name": 3}, source="space.yaml")

    def test_value_that_is_no_mapping(self) -> None:
        with pytest.raises(ConfigError, match="the whole value must be a mapping of keys, got 3"):
            parse(Recipe, 3)

    def test_config_is_frozen(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            Recipe().name = "cake"


class Study(Config):
    """A configuration with the sections that are not plain models."""

    dataset: AnyDataset
    adversary: AttackBudget = AttackBudget()


class TestSections:
    def test_epsilon_in_steps_of_255_is_refused(self) -> None:
        with pytest.raises(
            ConfigError,
            match=r"^adversary\.epsilon must lie in \[0, 1\], got 8; did you mean 8/255\?$",
        ):
            parse(Study, {"dataset": DatasetConfig(name="any"), "adversary": {"epsilon": 8}})

    def test_l2_epsilon_may_exceed_one(self) -> None:
        values = {
            "dataset": DatasetConfig(name="any"),
            "adversary": {"norm": "l2", "epsilon": 3},
        }
        assert parse(Study, values).adversary.epsilon == 3

    def test_unknown_dataset(self) -> None:
        with pytest.raises(ConfigError, match=r"dataset\.name: unknown dataset 'nowhere'"):
            parse(Study, {"dataset": {"name": "nowhere"}})

    def test_task_that_the_data_set_lacks(self) -> None:
        class Shapes(DatasetConfig):
            def tasks(self) -> Mapping[str, TaskInfo]:
                return {name: TaskInfo(name) for name in ("depth", "normals")}

        check_tasks(Shapes(name="shapes"), ["depth"])
        expected = "data set 'shapes' has no task 'dept'; did you mean 'depth'? it has: depth, nor"
        with pytest.raises(ConfigError, match=re.escape(expected)):
            check_tasks(Shapes(name="shapes"), ["normals", "dept"])

    def test_dataset_without_a_name(self) -> None:
        with pytest.raises(ConfigError, match="dataset must be a mapping with a name"):
            parse(Study, {"dataset": {"root": "x"}})


class TestYaml:
    def test_numbers_with_exponents_are_numbers(self) -> None:
        values = parse_yaml("a: 1e-3\nb: 1.5E+3\nc: 2\nd: 8/255\ne: 1e\n", source="x")
        assert values == {"a": 0.001, "b": 1500.0, "c": 2, "d": "8/255", "e": "1e"}

    def test_key_that_stands_twice_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"x must be YAML: key 'a' stands twice .* line 2"):
            parse_yaml("b:\n  a: 1\n  a: 2\n", source="x")

    def test_merge_keys_may_be_overridden(self) -> None:
        values = parse_yaml("base: &b {p: 1, q: 1}\nmine: {<<: *b, p: 2}\nagain: *b", source="x")
        assert values["mine"] == {"p": 2, "q": 1}
        assert values["again"] == {"p": 1, "q": 1}

    @pytest.mark.parametrize("text", ["", "- 1", "3", "null"])
    def test_document_must_be_a_mapping(self, text: str) -> None:
        with pytest.raises(ConfigError, match="x must hold a mapping of keys, got "):
            parse_yaml(text, source="x")

    @pytest.mark.parametrize("text", ["a: [", "a: \x00", "? [1]\n: 2", "a: 2021-13-45", "\t- a"])
    def test_broken_yaml_gets_one_line(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"^x must be YAML: [^\n]+$"):
            parse_yaml(text, source="x")

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("a: 1\nb: c: d", "line 2, column 5: mapping values are not allowed here; "),
            (
                "a: [1, 2\nb: 3",
                "line 2, column 2: expected ',' or ']', but got ':' while parsing a flow sequence "
                "that begins in line 1; ",
            ),
            ("a: 1\nb: x\x00", "line 2, column 5: special characters are not allowed; "),
            ("a: 1\n\nb: 2021-13-45", "line 3, column 4: month must be in 1..12; "),
            (
                "a: [!!bool x]",
                "line 1, column 5: 'x' does not fit the tag 'tag:yaml.org,2002:bool'; ",
            ),
            ("a: !!timestamp x", "line 1, column 4: 'x' does not fit the tag "),
        ],
    )
    def test_broken_yaml_is_named_by_line_and_column(self, text: str, line: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_yaml(text, source="space.yaml")
        assert str(caught.value).startswith(f"space.yaml must be YAML: {line}")
        for noise in ("<unicode string>", "^", "\n"):
            assert noise not in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("a: " + "[" * 40 + "]" * 40, "values lie more than 32 levels deep"),
            ("a: " + "{b: " * 5000 + "1" + "}" * 5000, "values lie more than 32 levels deep"),
            ("a: &a [*a]", "an alias stands inside what it repeats"),
            ("a: &a {b: {c: *a}}", "an alias stands inside what it repeats"),
            ("{a: &a {<<: *a}}", "an alias stands inside what it repeats"),
            (
                "l0: &l0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
                + "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9)),
                "more than 10000 keys and values stand here",
            ),
            (
                "".join(f"k{n}: {n}\n" for n in range(30_000)),
                "more than 10000 keys and values stand here",
            ),
            ("a: 2020-01-01", "YAML reads '2020-01-01' as a date"),
            ("a: 2020-01-01 10:00:00", "YAML reads '2020-01-01 10:00:00' as a datetime"),
            ("a: !!set {b}", "as a set"),
            ("a: !!binary aGk=", "as a bytes"),
            ("a: 9223372036854775808", "the number 9223372036854775808 does not fit 64 bits"),
            (f"a: {'9' * 300}", f"the number {'9' * 40}... does not fit 64 bits"),
        ],
    )
    def test_what_no_space_can_mean_is_refused_at_once(self, text: str, problem: str) -> None:
        with pytest.raises(ConfigError, match=r"^x must be YAML: line \d+, column \d+: ") as caught:
            parse_yaml(text, source="x")
        assert problem in str(caught.value)
        assert len(str(caught.value)) < 300
        assert "\n" not in str(caught.value)

    def test_aliases_repeat_what_they_name(self) -> None:
        values = parse_yaml("a: &a [1, {b: 2}]\nc: *a\nd: {<<: {e: *a}}", source="x")
        assert values == {"a": [1, {"b": 2}], "c": [1, {"b": 2}], "d": {"e": [1, {"b": 2}]}}
        assert parse_yaml("a: -9223372036854775808", source="x") == {"a": -(2**63)}

    def test_no_object_is_ever_built(self) -> None:
        with pytest.raises(ConfigError, match="could not determine a constructor"):
            parse_yaml("a: !!python/object/apply:os.getcwd []", source="x")

    def test_values_that_are_no_mapping(self) -> None:
        assert parse_yaml_value("[depth, 1e-3]", source="--fix") == ["depth", 0.001]

    def test_file_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="must be a readable text file"):
            read_yaml(tmp_path / "none.yaml")

    def test_file_that_is_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "space.yaml"
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(DataError, match="must be a readable text file"):
            read_yaml(path)

    def test_writing_and_reading_returns_the_same(self, tmp_path: Path) -> None:
        values = {"name": "größe", "b": [1, 0.5, None], "a": {"x": True}}
        path = tmp_path / "space.yaml"
        path.write_text(to_yaml(values), encoding="utf-8")
        assert read_yaml(path) == values
        assert list(read_yaml(path)) == ["name", "b", "a"]
