from trained import run, torch_settings  # noqa: F401
