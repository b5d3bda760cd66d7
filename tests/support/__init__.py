"""What tests stand on: real servers and services to start and kill, strict clients, a checker of histories.

Nothing here imports the service: it is held to its protocol from outside.
"""
