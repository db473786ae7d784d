"""Image to image with a latent diffusion network in one or a few steps: a module of its own around diffusers' parts.

For networks distilled to work in one step, such as SD-Turbo (Sauer et al. 2023, arXiv 2311.17042). From a picture's
latent x, step by step: add the noise of time t, let the network predict, and take its estimate of the clean latent,
x0 = (x_t - sqrt(1 - a_t) * eps) / sqrt(a_t) (Ho et al. 2020, equation 15; for v-prediction Salimans and Ho 2022,
appendix D). The next step begins from that estimate with less noise, as consistency models do (Luo et al. 2023, arXiv
2310.04378, algorithm 3). No guidance: these networks are trained without.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stream.errors import ModelError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Img2Img(nn.Module):
    """Repaint a picture. `unet` and `vae` are diffusers' modules; `alphas [T]` is the product of 1 - beta up to a t."""

    alphas: Tensor

    def __init__(self, unet: nn.Module, vae: nn.Module, alphas: Tensor, prediction: str) -> None:
        super().__init__()
        if prediction not in ("epsilon", "v_prediction"):
            raise ModelError(f"expected a network that predicts epsilon or v_prediction, got {prediction}")
        self.unet, self.vae, self.prediction = unet, vae, prediction
        self.register_buffer("alphas", alphas.float(), persistent=False)
        self._factor = float(vae.config.scaling_factor)  # type: ignore[union-attr, arg-type]
        self._shift = float(getattr(vae.config, "shift_factor", None) or 0)

    @property
    def times(self) -> int:
        """Number of noise levels, 1000 for Stable Diffusion."""
        return len(self.alphas)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return `[1,C,h,w]` of a picture's latent."""
        config: Any = self.vae.config
        blocks = getattr(config, "block_out_channels", None) or config.encoder_block_out_channels
        shrink = 2 ** (len(blocks) - 1)
        return 1, int(config.latent_channels), height // shrink, width // shrink

    def forward(self, picture: Tensor, prompt: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """Return `[1,H,W,3] uint8` for `[1,H,W,3] uint8 rgb`, H and W multiples of 8.

        prompt  `[1,N,D]` of the text encoder, in the network's number format
        noise   `[S,1,C,h,w]` standard normal, for S steps
        steps   `[S] int64` noise levels, falling
        """
        x = self._encode(picture.permute(0, 3, 1, 2).to(prompt.dtype) / 127.5 - 1)
        for index in range(noise.shape[0]):
            step = steps[index : index + 1]
            alpha = self.alphas.index_select(0, step)  # an index of no dimension would be read back from the GPU
            keep, add = alpha.sqrt().to(x.dtype), (1 - alpha).sqrt().to(x.dtype)
            noisy = keep * x + add * noise[index]
            (found,) = self.unet(noisy, step, encoder_hidden_states=prompt, return_dict=False)
            x = (noisy - add * found) / keep if self.prediction == "epsilon" else keep * noisy - add * found
        painted = self._decode(x).float().clamp(-1, 1)
        whole: Tensor = (painted * 127.5 + 128).clamp(0, 255).to(torch.uint8)  # + 0.5: the cast truncates
        return whole.permute(0, 2, 3, 1)

    def _encode(self, x: Tensor) -> Tensor:
        found: Any = self.vae.encode(x)  # type: ignore[operator]
        latent: Tensor = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents
        return (latent - self._shift) * self._factor

    def _decode(self, latent: Tensor) -> Tensor:
        picture: Tensor = self.vae.decode(latent / self._factor + self._shift, return_dict=False)[0]  # type: ignore[operator]
        return picture


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network ready to run, and what turns a prompt into `[1,N,D]`."""

    network: Img2Img
    embed: Callable[[str], Tensor]


def load(model: str, vae: str | None, device: str, dtype: torch.dtype) -> Loaded:
    """Read a pipeline from a local folder, or from the local cache of a hub id; nothing is ever downloaded.

    Only safetensors are read, and no code that comes with a model. Raises ModelError.
    """
    from diffusers import AutoencoderTiny, StableDiffusionImg2ImgPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    parts = _read(StableDiffusionImg2ImgPipeline, model, dtype, safety_checker=None, requires_safety_checker=False)
    if getattr(parts.unet.config, "addition_embed_type", None) is not None:
        raise ModelError(f"{model}: expected a Stable Diffusion 1 or 2 class network such as sd-turbo, not an XL one")
    own_vae = parts.vae if vae is None else _read(AutoencoderTiny, vae, dtype)
    network = Img2Img(parts.unet, own_vae, parts.scheduler.alphas_cumprod, parts.scheduler.config.prediction_type)
    parts.text_encoder.to(device)

    def embed(prompt: str) -> Tensor:
        with torch.inference_mode():
            found, _ = parts.encode_prompt(prompt, torch.device(device), 1, do_classifier_free_guidance=False)
        return torch.as_tensor(found, dtype=dtype)

    return Loaded(_ready(network, device, dtype), embed)


def _read(kind: Any, name: str, dtype: torch.dtype, **more: Any) -> Any:
    """Read one thing in its plain files, else in the fp16 variant that many publishers keep beside them."""
    errors: list[BaseException] = []
    for variant in (None, "fp16"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", FutureWarning
                )  # `torch_dtype` is what diffusers 0.32 to 0.x understands
                return kind.from_pretrained(
                    name, torch_dtype=dtype, local_files_only=True, use_safetensors=True, variant=variant, **more
                )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            errors.append(error)
    raise ModelError(f"{name}: cannot be read as {kind.__name__}: {_line(errors[0])}") from errors[0]


def _line(error: BaseException) -> str:
    return f"{' '.join(str(error).split()):.200}"


def _ready(network: Img2Img, device: str, dtype: torch.dtype) -> Img2Img:
    alphas = network.alphas.clone()
    network.to(device, dtype)
    network.alphas = alphas.to(device)  # in float32 still: rounded to fp16 they are off by 1e-3 where noise is little
    return network.eval().requires_grad_(False)


# Shapes of published networks, to be filled with random numbers: speed does not depend on the weights' values.
SHAPES: dict[str, dict[str, Any]] = {
    "sd-turbo": {  # stabilityai/sd-turbo, unet/config.json
        "sample_size": 64,
        "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": (5, 10, 20, 20),
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
    },
    "tiny": {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "attention_head_dim": 4,
        "norm_num_groups": 4,
        "layers_per_block": 1,
        "cross_attention_dim": 16,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    },
}
TINY_VAE = {"tiny": {"encoder_block_out_channels": (8, 8, 8, 8), "decoder_block_out_channels": (8, 8, 8, 8)}}
TOKENS = 77  # of a prompt, CLIP's


def random_network(size: str, device: str, dtype: torch.dtype, seed: int = 0) -> Loaded:
    """Build a network of that shape with random weights and the tiny autoencoder, and a random embedding per prompt."""
    import diffusers

    made: Any = diffusers  # typed in part
    with torch.device(device), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = made.UNet2DConditionModel(**SHAPES[size])
        vae = made.AutoencoderTiny(**TINY_VAE.get(size, {}))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2  # "scaled_linear", as published
    network = Img2Img(unet, vae, torch.cumprod(1 - betas, 0), "epsilon")

    def embed(prompt: str) -> Tensor:
        chance = torch.Generator().manual_seed(sum(prompt.encode()))
        return torch.randn(1, TOKENS, int(SHAPES[size]["cross_attention_dim"]), generator=chance).to(device, dtype)

    return Loaded(_ready(network, device, dtype), embed)
