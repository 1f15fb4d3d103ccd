from segbench.models.solo.solo import SOLO as SOLO
from segbench.models.solo.solov2 import SOLOv2 as SOLOv2
