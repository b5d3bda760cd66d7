"""What tests stand on beside `scripts.lab`: strict clients, a checker of histories.

Nothing here imports the service: it is held to its protocol from outside.
"""
