"""What runs a probe on a device: its steps, its files, and the command."""
