import pytest
import typer

from service.ops.answers import plain_errors, stop
from service.ops.reach import NothingRuns


def test_errors_become_a_sentence_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as left, plain_errors():
        raise NothingRuns("nothing\x1b[2J runs")
    assert left.value.exit_code == 3
    assert capsys.readouterr().err == "nothing\\u001b[2J runs\n"


def test_each_line_of_a_reason_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as left:
        stop("one\ntwo", 1)
    assert left.value.exit_code == 1
    assert capsys.readouterr() == ("", "one\ntwo\n")
