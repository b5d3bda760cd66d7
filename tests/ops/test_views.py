import typer

from service.ops.views import register


def test_all_commands_are_registered_under_their_names() -> None:
    app = typer.Typer()
    register(app)
    assert [command.name for command in app.registered_commands] == [
        "send",
        "tail",
        "inbox",
        "workers",
        "doctor",
        "audit",
        "token",
    ]
