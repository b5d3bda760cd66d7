"""What is run beside the service: measurements and checks. Nothing in `service` imports it."""
