"""What a newcomer reads first is there: a docstring for every public name, a header for every script."""

import importlib
import inspect
import pkgutil
import re
from types import FunctionType, ModuleType

import pytest

import service.core
import service.store
from service.store import scripts
from service.store.scripts import Script

MODULES = [
    importlib.import_module(found.name)
    for package in (service.core, service.store)
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_function_and_class_has_a_docstring(module: ModuleType) -> None:
    assert module.__doc__
    public = [
        value
        for name, value in vars(module).items()
        if (inspect.isfunction(value) or inspect.isclass(value))
        and not name.startswith("_")
        and value.__module__ == module.__name__
    ]
    assert [value.__name__ for value in public if not own_docstring(value)] == []


def own_docstring(value: type | FunctionType) -> str | None:
    """Neither inherited nor made up by a dataclass."""
    found = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    return None if found is None or found.startswith(f"{value.__name__}(") else found


def header(script: Script) -> str:
    """The comment lines a script begins with."""
    lines = script.text.splitlines()[1:]
    return "\n".join(lines[: next(at for at, line in enumerate(lines) if not line.startswith("--"))])


@pytest.mark.parametrize("script", scripts.ALL, ids=lambda script: script.name)
def test_every_script_begins_with_what_it_does_takes_and_returns(script: Script) -> None:
    text = header(script)
    assert re.match(rf"-- {script.name}: \S", text)
    for part in (r"^-- KEYS  \S", r"^-- ARGV  \S", r"^-- Returns \S"):
        assert re.search(part, text, re.MULTILINE), part


@pytest.mark.parametrize("script", scripts.ALL, ids=lambda script: script.name)
def test_no_script_makes_keys_of_its_own(script: Script) -> None:
    code = "\n".join(line for line in script.text.splitlines() if not line.startswith("--"))
    assert not re.search(r"""['"][a-z]*:""", code), "a key that is not declared"
