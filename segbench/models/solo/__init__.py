from segbench.models.solo.solo import SOLO
from segbench.models.solo.solov2 import SOLOv2

__all__ = ["SOLO", "SOLOv2"]
