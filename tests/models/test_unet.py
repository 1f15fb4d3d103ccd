from network_tester import NetworkTester

from segbench.models.unet import UNet


class TestUNet(NetworkTester):
    network = UNet
    lr = 0.01
    options = {"widths": [8, 16, 16, 24, 32]}


class TestUNetWithBackbone(NetworkTester):
    network = UNet
    lr = 0.01
    backbone = "test_resnet"
    options = {"backbone": "test_resnet", "widths": [8, 16, 16, 24, 32]}
    backbones = ("tf_efficientnet_lite0", "vgg16_bn", "swin_tiny_patch4_window7_224")
