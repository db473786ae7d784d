"""One-step image-to-image in the shape of SD-Turbo with random weights: as fast as the real one, and as heavy.

SD-Turbo is Stable Diffusion 2.1's U-Net (865.9 M parameters) distilled to one step (arXiv 2311.17042); the small
autoencoder is TAESD (2.4 M). Weights do not change the speed, so none are needed to hold it against StreamDiffusion's
published 93.897 fps for image-to-image on an RTX 4090 (arXiv 2312.12491, README of cumulo-autumn/StreamDiffusion).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

STREAM_DIFFUSION_FPS = 93.9  # one step, 512x512, TensorRT, RTX 4090: another card and backend, said in the row
WORDS = 77  # tokens of a prompt
STEP_AT = 499  # of 1000: half of the noise, as image-to-image with strength .5
ALPHA = 0.2777  # cumulative alpha there, of the scaled-linear schedule of Stable Diffusion


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the networks are. The defaults are SD-Turbo's."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    heads: tuple[int, ...] = (5, 10, 20, 20)
    prompt_width: int = 1024


class OneStep(nn.Module):
    """[B,3,H,W] 0..1 -> the same, by one step with a fixed prompt; H and W divide by 64."""

    def __init__(self, shape: Shape = Shape()) -> None:
        """Make the networks with random weights, on torch's default device."""
        from diffusers import AutoencoderTiny, UNet2DConditionModel

        super().__init__()
        self.unet: Any = UNet2DConditionModel(
            sample_size=64,
            cross_attention_dim=shape.prompt_width,
            block_out_channels=shape.channels,
            attention_head_dim=shape.heads,
            use_linear_projection=True,
        )
        self.coder: Any = AutoencoderTiny()
        self.register_buffer("prompt", torch.zeros(1, WORDS, shape.prompt_width))
        self.register_buffer("at", torch.tensor([STEP_AT]))

    def forward(self, picture: Tensor, noise: Tensor) -> Tensor:
        """Encode, add noise, take it away in one step, decode. `noise` is [B,4,H/8,W/8]."""
        clean = self.coder.encode(picture * 2 - 1).latents
        noisy = ALPHA**0.5 * clean + (1 - ALPHA) ** 0.5 * noise
        prompt = self.prompt.expand(len(picture), -1, -1)
        guessed = self.unet(noisy, self.at, encoder_hidden_states=prompt).sample
        found = (noisy - (1 - ALPHA) ** 0.5 * guessed) / ALPHA**0.5
        decoded: Tensor = self.coder.decode(found).sample
        return (decoded / 2 + 0.5).clamp(0, 1)
