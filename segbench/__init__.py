"""segbench: which segmentation network, on my kind of data, at what cost?"""

__version__ = "0.1.0"
