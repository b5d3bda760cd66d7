"""Chaos: real servers and workers, busy clients, one fault after the other; then the recorded history is judged.

`python -m scripts.chaos --list` names the scenarios. What a file is for:

- `history` what clients saw, record by record; `checker` what must hold of it, with `devices` for one device over all
  its connections; `figures` what it amounted to (all pure, and what the tests judge by);
- `client`, `senders`, `readers` the clients, `crowd` all of them in one thread;
- `grounds` where a scenario takes place; `stage` what a scenario may do; `scenarios_*` the scenarios themselves;
- `runner` one scenario from start to verdict; `report` tables and the page `docs/chaos-report.md`.
"""
