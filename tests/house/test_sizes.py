"""Where the eye rests: small files, small functions, names that are sentences, no waiting by guess."""

import ast
from collections.abc import Iterator

from tests.house.tree import Module, modules

MOST_LINES = {"service": 400, "scripts": 400, "tests": 500}  # 150 is what to aim at
MOST_LINES_OF_A_FUNCTION = 60
FEWEST_WORDS_OF_A_TEST = 2

ALL = modules("service", "scripts", "tests")


def test_a_file_can_be_read_in_one_go() -> None:
    assert [module.name for module in ALL if module.lines > MOST_LINES[module.name.split("/")[0]]] == []


def test_a_function_fits_on_a_screen() -> None:
    long = [f"{one.name} of {module.name}" for module in ALL for one in module.functions() if is_long(one)]
    assert long == []


def is_long(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1 > MOST_LINES_OF_A_FUNCTION


def test_a_tests_name_is_a_sentence() -> None:
    tests = [
        one.name
        for module in ALL
        for one in module.functions()
        if module.name.startswith("tests/") and one.name.startswith("test_")
    ]
    assert tests
    assert [name for name in tests if name.count("_") < FEWEST_WORDS_OF_A_TEST] == []


def test_the_service_sleeps_on_no_literal() -> None:
    assert [f"{module.name}, line {line}" for module in modules("service") for line in literal_sleeps(module)] == []


def literal_sleeps(module: Module) -> Iterator[int]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep":
            wait = node.args[0]
            if isinstance(wait, ast.Constant) and wait.value != 0:
                yield node.lineno
