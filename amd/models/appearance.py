"""The appearance pathway (paper 3.1, eq. 1): one image to c soft masks.

Input: images B,3,H,W in [0, 1]. Output: mask logits B,c,h,w, h and w being H and W over the output stride
(the U-Net's is 1).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.models.resnet import initialise, make_backbone

MEAN = (123.675 / 255, 116.28 / 255, 103.53 / 255)  # ImageNet's, as the published reference
STD = (58.395 / 255, 57.12 / 255, 57.375 / 255)


class ConvBlock(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, 1, dilation, dilation, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class AppearancePathway(nn.Module):
    """A fully convolutional segmentation network: backbone, two convolution blocks, 1x1 classifier.

    The U-Net ends in convolution blocks of its own: it has no others.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: str, segments: int, output_stride: int, dropout: float) -> None:
        super().__init__()
        self.backbone = make_backbone(backbone, output_stride)
        hidden, dilation = self.backbone.head_channels, self.backbone.head_dilation
        self.head = nn.Sequential()
        if dilation is not None:
            self.head.append(ConvBlock(self.backbone.channels, hidden, dilation))
            self.head.append(ConvBlock(hidden, hidden, dilation))
        self.dropout = nn.Dropout2d(dropout)  # of whole channels
        self.classifier = nn.Conv2d(hidden, segments, 1)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        initialise(self)

    def features(self, images: Tensor) -> Tensor:
        """Backbone features B,C,h,w."""
        normalised = (images - self.mean) / self.std
        return self.backbone(normalised.contiguous(memory_format=torch.channels_last))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.head(self.features(images))))

    def masks(self, images: Tensor) -> Tensor:
        """Soft masks B,c,h,w, float32, summing to one over c."""
        return F.softmax(self(images).float(), dim=1)
