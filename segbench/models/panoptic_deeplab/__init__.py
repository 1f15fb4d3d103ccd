from segbench.models.panoptic_deeplab.network import PanopticDeepLab

__all__ = ["PanopticDeepLab"]
