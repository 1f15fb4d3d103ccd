from network_tester import NetworkTester

from segbench.models.fcn import FCN


class TestFCN(NetworkTester):
    network = FCN
    backbone = "test_resnet"
    options = {"backbone": "test_resnet"}
    backbones = ("tf_efficientnet_lite0", "resnet18", "swin_tiny_patch4_window7_224")
    enough = 0.9  # stride 8 on objects of 20 pixels
