"""The project's files, as the tests of its structure read them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Module:
    """One Python file. `name`: its path from the root without the suffix, as in `service/core/cursor`."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).with_suffix("").as_posix()

    @property
    def layer(self) -> str:
        """Of a module of the service: its folder, or its own name where it lies beside the folders."""
        return self.name.split("/")[1]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text())

    @property
    def lines(self) -> int:
        return len(self.path.read_text().splitlines())

    def imports(self) -> Iterator[str]:
        """Dotted names of what it imports, wherever in the file."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name} imports relatively, which hides the layer"
                # `from service import telemetry` names a module, `from service.core.cursor import Cursor` does not.
                names = [f".{alias.name}" for alias in node.names] if node.module == "service" else [""]
                yield from (f"{node.module}{name}" for name in names)

    def classes(self) -> Iterator[ast.ClassDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef):
                yield node

    @property
    def libraries(self) -> set[str]:
        """Names it has from elsewhere than the service."""
        found = [node for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom)]
        return {
            alias.asname or alias.name
            for node in found
            for alias in node.names
            if not (node.module or "").startswith("service")
        }

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def modules(*folders: str) -> list[Module]:
    """All modules below these folders of the root."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return [Module(path) for path in sorted(found)]
