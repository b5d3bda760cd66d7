"""What happens between the service and its server."""

from scripts.chaos.grounds import Proxied
from scripts.chaos.stage import Stage, scenario
from scripts.lab.timing import UNIT


@scenario("replies-dropped", "commands run, but their replies are lost, and the connections with them", ground=Proxied)
def replies_dropped(stage: Stage[Proxied]) -> None:
    proxy = stage.ground.proxy
    cut = 0
    with stage.fault():
        for _ in range(max(3, int(stage.seconds / 2 / UNIT))):
            proxy.lose_answers = True
            stage.wait(stage.rng.uniform(0.05, 0.5))
            cut += proxy.cut()
            proxy.lose_answers = False
            stage.wait(stage.rng.uniform(0.5, 1.5))
    stage.prove(
        proxy.lost_bytes > 0 and cut > 0, f"{proxy.lost_bytes} bytes of replies were dropped, {cut} connections"
    )
    stage.prove(stage.duplicates() > 0, f"{stage.duplicates()} repeats were known already: their commands had run")


@scenario("black-hole", "replies vanish while the connections stay", ground=Proxied)
def black_hole(stage: Stage[Proxied]) -> None:
    proxy = stage.ground.proxy
    with stage.fault():
        proxy.lose_answers = True
        stage.wait(stage.seconds / 2)
        proxy.cut()
        proxy.lose_answers = False
    stage.prove(stage.refusals() > 0, f"sends were refused meanwhile ({stage.refusals()})")
    stage.prove(proxy.lost_bytes > 0, f"{proxy.lost_bytes} bytes of replies were dropped")


@scenario("server-unreachable", "no connection to the server can be made for a while", ground=Proxied)
def server_unreachable(stage: Stage[Proxied]) -> None:
    proxy = stage.ground.proxy
    with stage.fault():
        proxy.refusing = True
        cut = proxy.cut()
        stage.wait(stage.seconds / 2)
        proxy.refusing = False
    stage.prove(cut > 0 and proxy.refused > 0, f"{cut} connections were cut, {proxy.refused} new ones refused")
