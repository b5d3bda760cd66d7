"""Every module of the service has its tests where one looks for them."""

from tests.house.tree import ROOT, Module, modules

# Tested under another name: by what a user sees of it.
ELSEWHERE = {
    "app": "edge/test_problems.py",
    "delivery/peer": "delivery/test_connection.py",
    "edge/bodies": "edge/test_limits.py",
    "edge/health": "test_app.py",
    "edge/http": "edge/test_sending.py",
    "edge/http_protocol": "hostile/test_slow.py",
    "edge/legacy": "edge/test_older_protocol.py",
    "edge/ws_opening": "hostile/test_broken_requests.py",
    "store/limits": "store/test_appends.py",
    "store/link": "store/test_client.py",
    "store/presence": "store/test_claim.py",
    "store/single": "store/test_client.py",
}


def place(module: Module) -> str:
    return module.name.removeprefix("service/")


TESTED = [module for module in modules("service") if module.path.name != "__init__.py"]


def has_twin(module: Module) -> bool:
    """`core/cursor.py` has `tests/core/test_cursor.py`; `test_cursor_order.py` in its place would do, too."""
    if place(module) in ELSEWHERE:
        return (ROOT / "tests" / ELSEWHERE[place(module)]).is_file()
    folder, wanted = (ROOT / "tests" / place(module)).parent, f"test_{module.path.stem}"
    return (folder / f"{wanted}.py").is_file() or any(folder.glob(f"{wanted}_*.py"))


def test_every_module_has_a_test_of_its_name_in_the_folder_of_its_layer() -> None:
    assert [place(module) for module in TESTED if not has_twin(module)] == []


def test_the_exceptions_are_of_modules_that_exist() -> None:
    assert set(ELSEWHERE) <= {place(module) for module in TESTED}
