from segbench.models.mask2former.network import Mask2Former

__all__ = ["Mask2Former"]
