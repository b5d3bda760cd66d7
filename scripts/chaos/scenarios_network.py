"""What happens between the service and its server."""

from scripts.chaos.grounds import Fronted, Isolated, Proxied
from scripts.chaos.stage import Stage, scenario
from scripts.lab import netns
from scripts.lab.tcp_proxy import NONE, Faults
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


@scenario("slow-network", "every byte between service and server is late, in small pieces, at random", ground=Proxied)
def slow_network(stage: Stage[Proxied]) -> None:
    proxy = stage.ground.proxy
    with stage.fault():
        proxy.faults = Faults(delay=0.02, jitter=0.08, piece=400)
        stage.wait(stage.seconds)
        proxy.faults = NONE
    late, pieces = proxy.counts["delayed"], proxy.counts["pieces"]
    stage.prove(late > 100 and pieces > late, f"{late} chunks came late, in {pieces} pieces")


@scenario("lossy-network", "connections to the server are reset, and answers lost, at random", ground=Proxied)
def lossy_network(stage: Stage[Proxied]) -> None:
    proxy = stage.ground.proxy
    with stage.fault():
        proxy.faults = Faults(jitter=0.02, reset=0.01, lose_answer=0.01)
        stage.wait(stage.seconds)
        stage.wait_for(lambda: min(proxy.counts["resets"], proxy.counts["lost_answers"]) > 0)
        proxy.faults = NONE
    stage.prove(proxy.counts["resets"] > 0, f"{proxy.counts['resets']} connections were reset")
    stage.prove(proxy.counts["lost_answers"] > 0, f"{proxy.counts['lost_answers']} answers were lost")


@scenario("lossy-clients", "connections between clients and service are slow, and reset at random", ground=Fronted)
def lossy_clients(stage: Stage[Fronted]) -> None:
    front = stage.ground.front
    with stage.fault():
        front.faults = Faults(jitter=0.1, piece=700, reset=0.02, lose_answer=0.02)
        stage.wait(stage.seconds)
        stage.wait_for(lambda: stage.duplicates() > 0 and front.counts["resets"] > 0)
        front.faults = NONE
    stage.prove(front.counts["resets"] > 0, f"{front.counts['resets']} connections were reset")
    stage.prove(front.counts["lost_answers"] > 0, f"{front.counts['lost_answers']} answers were lost")
    stage.prove(stage.duplicates() > 0, f"{stage.duplicates()} repeats were known already: only the answer was lost")


@scenario(
    "packets-dropped",
    "IP packets between service and server are dropped at random (nftables), and for a moment all of them",
    ground=Isolated,
    hindrance=netns.obstacle,
)
def packets_dropped(stage: Stage[Isolated]) -> None:
    space, dropped = stage.ground.space, 0
    with stage.fault():
        for percent in (5, 20, 100, 10):
            space.lose(percent)
            stage.wait(stage.seconds / 4 if percent < 100 else 3)
            dropped += space.lost
        space.heal()
    stage.prove(dropped > 0, f"{dropped} packets were dropped")
