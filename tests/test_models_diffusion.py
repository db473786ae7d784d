"""Image to image with a toy pipeline, built from a config and saved as diffusers saves; nothing is fetched."""

import json
import logging
import threading

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.base import Kind, Target
from models.diffusion import (
    REUSED_AT_MOST,
    SimilarityFilter,
    default_precision,
    random_pipeline,
    working_size,
)
from models.networks.img2img import SHAPES, TINY_VAE, Img2Img
from models.quality import sample_pictures
from models.registry import load
from stream.errors import ModelError
from tests.golden import picture

CPU = Target("cpu", 2)
OFF = "similarity=1"


def tokenizer(folder):
    """Make a CLIP tokenizer that knows single letters."""
    letters = [chr(c) for c in range(97, 123)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16), len(words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Save a toy of the class of SD-Turbo, and a tiny autoencoder beside it."""
    base = tmp_path_factory.mktemp("toy")
    words, size = tokenizer(base)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = CLIPTextConfig(
            vocab_size=size,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=size - 2,
            eos_token_id=size - 1,
            pad_token_id=size - 1,
        )
        vae = AutoencoderKL(
            block_out_channels=(4, 4, 4, 4),
            norm_num_groups=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
        )
        pipeline = StableDiffusionImg2ImgPipeline(
            vae=vae,
            text_encoder=CLIPTextModel(config),
            tokenizer=words,
            unet=UNet2DConditionModel(**SHAPES["tiny"]),
            scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="trailing"),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.save_pretrained(base / "toy")
        AutoencoderTiny(**TINY_VAE["tiny"]).save_pretrained(base / "tiny vae, mine")
    return base


@pytest.fixture
def toy(folder):
    model = load(f"diffusion:model={folder / 'toy'},size=64,prompt=abc", CPU, Kind.GENERATE)
    yield model
    model.close()


def different(one, other):
    return float(np.abs(one.astype(int) - other).mean())


def test_a_local_folder_is_loaded_and_paints(toy):
    image = picture("astronaut")[:90, :160].copy()
    painted = toy(image)
    assert (painted.shape, painted.dtype) == (image.shape, np.uint8)
    assert different(painted, image) > 1
    assert toy.variant == "torch fp32"


def test_same_picture_paints_the_same_and_another_seed_another(folder, toy):
    image = picture("astronaut")[:64, :96].copy()
    again = load(f"diffusion:model={folder / 'toy'},size=64,prompt=abc", CPU)
    other = load(f"diffusion:model={folder / 'toy'},size=64,prompt=abc,seed=7", CPU)
    assert np.array_equal(toy(image), again(image))
    assert different(toy(image), other(image)) > 0


def test_changed_prompt_paints_from_the_next_picture_on(folder, toy):
    image = picture("astronaut")[:64, :96].copy()
    first = toy(image)
    toy.change(prompt="xyz")
    changed = toy(image)
    assert different(first, changed) > 0
    fresh = load(f"diffusion:model={folder / 'toy'},size=64,prompt=xyz", CPU)
    assert np.array_equal(changed, fresh(image))
    toy.change(prompt="abc")
    assert np.array_equal(toy(image), first)
    assert toy.live.describe()["prompt"]["value"] == "abc"


def test_strength_changes_live_and_a_wrong_value_changes_nothing(toy):
    image = picture("astronaut")[:64, :96].copy()
    first = toy(image)
    toy.change(strength="0.9")
    assert different(first, toy(image)) > 0
    with pytest.raises(ModelError, match=r"option strength='2' is not allowed: expected a number 0\.05\.\.1"):
        toy.change(prompt="q", strength="2")
    assert toy.live.describe()["prompt"]["value"] == "abc"
    assert toy.live.describe()["strength"] == {
        "value": "0.9",
        "meaning": "how far it may go from the picture",
        "allowed": "a number 0.05..1",
        "low": 0.05,
        "high": 1,
    }
    assert toy.live_options == {"prompt", "strength", "similarity"}


def test_prompt_is_read_by_the_text_encoder_once(folder, monkeypatch):
    model = load(f'diffusion:model={folder / "toy"},size=64,{OFF},prompt="a, b"', CPU)
    embeds = []
    embed = model._loaded.embed
    object.__setattr__(model._loaded, "embed", lambda prompt: embeds.append(prompt) or embed(prompt))
    image = picture("astronaut")[:64, :96].copy()
    for _ in range(3):
        model(image)
    model.change(prompt="c")
    model(image)
    model.change(prompt="a, b")
    model(image)
    assert embeds == ["c"]


def test_tiny_autoencoder_is_used_instead(folder, toy):
    image = picture("astronaut")[:64, :96].copy()
    model = load(f'diffusion:model={folder / "toy"},size=64,prompt=abc,vae="{folder / "tiny vae, mine"}"', CPU)
    assert isinstance(model._loaded.network.vae, AutoencoderTiny)
    assert different(model(image), toy(image)) > 0


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_more_steps_paint_another_picture(folder, steps, toy):
    model = load(f"diffusion:model={folder / 'toy'},size=64,prompt=abc,steps={steps}", CPU)
    image = picture("astronaut")[:64, :96].copy()
    assert (different(model(image), toy(image)) > 0) is (steps > 1)


def test_the_clean_latent_is_found_again_when_the_noise_is_known():
    """A network that predicts exactly the noise that was added gives the picture back, at any strength."""
    noise = torch.randn(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    class Vae(torch.nn.Module):
        config = type("Config", (), {"scaling_factor": 2.0, "latent_channels": 3, "block_out_channels": (1,)})

        def encode(self, x):
            return type("Found", (), {"latents": x})

        def decode(self, x, return_dict):
            return (x,)

    class Unet(torch.nn.Module):
        def __init__(self, prediction):
            super().__init__()
            self.prediction, self.calls, self.clean = prediction, 0, None

        def forward(self, noisy, step, encoder_hidden_states, return_dict):
            added = noise[self.calls]
            self.calls += 1
            if self.prediction == "epsilon":
                return (added,)
            alpha = alphas[step]
            return (alpha.sqrt() * added - (1 - alpha).sqrt() * self.clean,)

    alphas = torch.cumprod(1 - torch.linspace(0.001, 0.01, 1000), 0)
    image = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    for prediction in ("epsilon", "v_prediction"):
        unet = Unet(prediction)
        unet.clean = (image.permute(0, 3, 1, 2).float() / 127.5 - 1) * 2
        network = Img2Img(unet, Vae(), alphas, prediction)
        painted = network(image, torch.zeros(1, 4, 4), noise, torch.tensor([700, 300]))
        assert unet.calls == 2
        assert (painted.int() - image.int()).abs().max() <= 1


def test_alike_pictures_show_the_last_painting_and_are_counted(toy):
    image = picture("astronaut")[:64, :96].copy()
    first = toy(image)
    again = toy(np.clip(image.astype(int) + 1, 0, 255).astype(np.uint8))
    assert again is first
    other = toy(picture("street")[:64, :96].copy())
    assert other is not first
    assert toy.counts() == {"painted": 2, "repeated": 1}
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0


def test_similarity_of_one_paints_every_picture(folder):
    model = load(f"diffusion:model={folder / 'toy'},size=64,{OFF}", CPU)
    image = picture("astronaut")[:64, :96].copy()
    for _ in range(3):
        model(image)
    assert model.counts() == {"painted": 3, "repeated": 0}


def test_a_still_picture_is_painted_again_after_a_while():
    alike, image = SimilarityFilter(0.98), picture("street")
    answers = [alike.may_reuse(image) for _ in range(2 * REUSED_AT_MOST + 3)]
    assert answers == [False, *[True] * REUSED_AT_MOST, False, *[True] * REUSED_AT_MOST, False]


def test_a_small_thing_that_moves_and_a_lamp_that_is_lit_are_seen():
    image = picture("street").copy()
    moved = image.copy()
    moved[100:130, 100:130] = 255 - moved[100:130, 100:130]
    for changed in (moved, (image * 0.7).astype(np.uint8), np.zeros_like(image)):
        alike = SimilarityFilter(0.98)
        alike.may_reuse(image)
        assert not alike.may_reuse(changed)


def test_slow_drift_adds_up_against_the_picture_painted_last():
    alike, image = SimilarityFilter(0.98), np.full((64, 64, 3), 200, np.uint8)
    answers = [alike.may_reuse((image * (0.97**i)).astype(np.uint8)) for i in range(9)]
    assert answers[:2] == [False, True]
    assert not all(answers[1:9])


def test_camera_noise_alone_is_no_change():
    chance = np.random.default_rng(0)
    image = sample_pictures(90)[0].astype(float)
    alike = SimilarityFilter(0.98)
    noisy = [np.clip(image + chance.normal(0, 5, image.shape), 0, 255).astype(np.uint8) for _ in range(5)]
    assert [alike.may_reuse(one) for one in noisy] == [False, True, True, True, True]


@pytest.mark.parametrize("size", [(1, 1), (17, 41), (90, 161), (161, 90)])
def test_any_size_gives_a_picture_of_that_size(toy, size):
    painted = toy(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    assert (painted.shape, painted.dtype) == ((*size, 3), np.uint8)


def test_working_size_keeps_the_aspect_in_multiples_of_8():
    assert working_size(360, 640, 512) == (288, 512)
    assert working_size(640, 360, 512) == (512, 288)
    assert working_size(1, 1000, 512) == (64, 512)


@pytest.mark.parametrize(
    ("behind", "message"),
    [
        ("", "say which model, as in diffusion:model=stabilityai/sd-turbo"),
        (":model=./gone", r"there is no folder '\./gone', and a hub id looks like"),
        (":model=nobody/nothing", r"neither a folder here nor in the hub's cache.*`hf download nobody/nothing`"),
        (":model=tests", r"the folder tests has no model_index\.json"),
        (":model=a/b,steps=0", "option steps='0' is not allowed"),
    ],
)
def test_missing_model_is_one_clear_line_and_nothing_is_fetched(behind, message, monkeypatch, tmp_path):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was opened"))
    with pytest.raises(ModelError, match=message) as caught:
        load(f"diffusion{behind}", CPU)
    assert "\n" not in str(caught.value)


def copied(folder, tmp_path):
    import shutil

    shutil.copytree(folder / "toy", tmp_path / "toy")
    return tmp_path / "toy"


def test_damaged_weights_are_one_clear_line(folder, tmp_path):
    toy = copied(folder, tmp_path)
    weights = toy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be read as StableDiffusionImg2ImgPipeline") as caught:
        load(f"diffusion:model={toy}", CPU)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_not_opened(folder, tmp_path):
    toy = copied(folder, tmp_path)
    weights = toy / "unet" / "diffusion_pytorch_model.safetensors"
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self):
            return canary.touch, ()

    torch.save({"state": Bomb()}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load(f"diffusion:model={toy}", CPU)
    assert not canary.exists()


def test_fp16_variant_alone_is_found(folder, tmp_path):
    toy = copied(folder, tmp_path)
    for part, file in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        plain = toy / part / f"{file}.safetensors"
        tensors = {key: value.half() for key, value in load_file(plain).items()}
        save_file(tensors, toy / part / f"{file}.fp16.safetensors", {"format": "pt"})
        plain.unlink()
    model = load(f"diffusion:model={toy},size=64", CPU)
    assert model(picture("astronaut")[:64, :96].copy()).shape == (64, 96, 3)


def test_closed_model_says_so_and_tells_its_counts(toy, caplog):
    image = picture("astronaut")[:64, :96].copy()
    toy(image)
    with caplog.at_level(logging.INFO):
        toy.close()
        toy.close()
    assert "1 pictures painted, 0 shown again" in caplog.text
    with pytest.raises(ModelError, match="after close"):
        toy(image)


def test_missing_package_names_the_extra(monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "diffusers" else find(name))
    with pytest.raises(ModelError, match=r"pip install 'livelens\[diffusion\]'"):
        load("diffusion:model=a/b", CPU)


def test_random_pipeline_paints_without_any_file():
    loaded = random_pipeline("tiny")
    image = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    noise = torch.randn(1, *loaded.network.latent_shape(64, 64))
    with torch.inference_mode():
        painted = loaded.network(image, loaded.embed("a"), noise, torch.tensor([499]))
    assert (painted.shape, painted.dtype) == ((1, 64, 64, 3), torch.uint8)
    assert default_precision("cuda:0") == "fp16"


def test_shape_of_sd_turbo_is_the_published_one():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SHAPES["sd-turbo"])
    assert sum(weight.numel() for weight in unet.parameters()) == 865_910_724


@pytest.mark.gpu
def test_paints_on_a_gpu_in_half_precision(folder):
    model = load(f"diffusion:model={folder / 'toy'},size=64", Target("cuda:0"), Kind.GENERATE)
    assert model(picture("astronaut")[:64, :96].copy()).shape == (64, 96, 3)
    assert model.variant == "torch fp16 cuda:0"


def test_it_paints_in_a_thread_that_is_not_the_one_that_loaded_it(toy):
    painted = []
    thread = threading.Thread(target=lambda: painted.append(toy(picture("astronaut")[:64, :96].copy())))
    thread.start()
    thread.join(30)
    assert painted
