from segbench.models.blendmask.network import BlendMask

__all__ = ["BlendMask"]
