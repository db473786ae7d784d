"""torchvision's networks from uint8 picture to plain tensors, so that a backend runs each as one graph."""

from typing import Any

import torch
from torch import Tensor, nn


class _Normalised(nn.Module):
    """A network with the mean and deviation of the pictures it was trained on."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Any, std: Any) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def pixels(self, image: Tensor) -> Tensor:
        """Return `[B,3,H,W]` normalised of `[B,H,W,3] uint8 rgb`."""
        return (image.permute(0, 3, 1, 2).to(self.mean.dtype) * (1 / 255) - self.mean) / self.std


class ClassifierOfPicture(_Normalised):
    """One answer for the whole picture."""

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `[B,C]` of `[B,H,W,3] uint8 rgb`."""
        logits: Tensor = self.network(self.pixels(image))
        return logits


class SegmenterOfPicture(_Normalised):
    """One answer for each cell of 8 or 16 px; enlarging it to the picture is cheaper for one class than for all."""

    def __init__(self, network: nn.Module, mean: Any, std: Any, wanted: list[int]) -> None:
        super().__init__(network, mean, std)
        self.wanted = wanted  # classes whose probabilities are added up for the mask
        self.backbone: Any = network.backbone
        self.classifier: Any = network.classifier
        self.is_lraspp = not isinstance(network.classifier, nn.Sequential)  # it takes two sizes of features
        del self.network  # with a second head, which helps in training only

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability of the wanted classes `[B,h,w] 0..1` and the likeliest class `[B,h,w] int32`."""
        features = self.backbone(self.pixels(image))
        logits = self.classifier(features if self.is_lraspp else features["out"])
        shares = torch.softmax(logits, 1)
        return shares[:, self.wanted].sum(1), logits.argmax(1).to(torch.int32)


class DetectorOfPicture(nn.Module):
    """Boxes, and what else the network finds in them. It scales and normalises the picture itself."""

    def __init__(self, network: nn.Module, score: float) -> None:
        super().__init__()
        self.network = network
        self.score = score  # the least a finding must have; sorting the rest out here saves large copies

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return of `[1,H,W,3] uint8 rgb`: boxes `[N,4]`, scores `[N]`, classes `[N]`, and where the network gives them
        the mask of all findings `[H,W] uint8` or keypoints `[N,K,3]` x, y, score.
        """
        dtype = next(self.network.parameters()).dtype
        found = self.network([image[0].permute(2, 0, 1).to(dtype) / 255])[0]
        kept = found["scores"] >= self.score
        answers = [found["boxes"][kept], found["scores"][kept], found["labels"][kept]]
        if "masks" in found:
            answers.append(_joined(found["masks"][kept], image))
        if "keypoints" in found:
            certain = torch.sigmoid(found["keypoints_scores"][kept])  # a logit of the heatmap's peak
            answers.append(torch.cat([found["keypoints"][kept][..., :2], certain[..., None]], -1))
        return tuple(answers)


def _joined(masks: Tensor, image: Tensor) -> Tensor:
    if not len(masks):
        return torch.zeros(image.shape[1:3], dtype=torch.uint8, device=image.device)
    return (masks[:, 0].amax(0) * 255).to(torch.uint8)
