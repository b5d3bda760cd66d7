"""Where the eye rests: small files, small functions, names that are sentences, no waiting by guess."""

import ast

import pytest

from tests.house.tree import Module, modules

MOST_LINES = {"service": 400, "scripts": 400, "tests": 500}  # 150 is what to aim at
MOST_LINES_OF_A_FUNCTION = 60
FEWEST_WORDS_OF_A_TEST = 2

ALL = modules("service", "scripts", "tests")


def named(module: Module) -> str:
    return module.name


@pytest.mark.parametrize("module", ALL, ids=named)
def test_a_file_can_be_read_in_one_go(module: Module) -> None:
    assert module.lines <= MOST_LINES[module.name.split("/")[0]]


@pytest.mark.parametrize("module", ALL, ids=named)
def test_a_function_fits_on_a_screen(module: Module) -> None:
    for function in module.functions():
        assert function.end_lineno is not None
        lines = function.end_lineno - function.lineno + 1
        assert lines <= MOST_LINES_OF_A_FUNCTION, f"{function.name} has {lines} lines"


@pytest.mark.parametrize("module", [module for module in ALL if module.name.startswith("tests/")], ids=named)
def test_a_tests_name_is_a_sentence(module: Module) -> None:
    for function in module.functions():
        if function.name.startswith("test_"):
            words = function.name.removeprefix("test_").split("_")
            assert len(words) >= FEWEST_WORDS_OF_A_TEST, function.name


@pytest.mark.parametrize("module", modules("service"), ids=named)
def test_the_service_sleeps_on_no_literal(module: Module) -> None:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep":
            wait = node.args[0]
            assert not isinstance(wait, ast.Constant) or wait.value == 0, f"line {node.lineno}"
