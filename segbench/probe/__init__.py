"""What a training costs on a device, measured in a few steps or counted without running them."""
