"""torchvision's networks with random numbers from a file, against torchvision itself; and files that do not fit.

The random networks are small ones. Batch norms are made to fit the pictures, or every answer would be the same.
"""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.models import detection, get_model, list_models, segmentation

from models.base import Kind, Target
from models.networks.torchvision_graphs import DetectorOfPicture
from models.pull import resolve
from models.registry import cards, load, parse
from models.torchvision_models import LONGEST, middle_square, seen_size
from models.torchvision_names import CLASSIFICATION, DETECTION, SEGMENTATION
from models.torchvision_weights import weights_of
from stream.errors import ModelError
from tests.golden import picture

CPU = Target("cpu", 1)


def pixels(image, preset):
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preset.mean, preset.std))
    return ((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std)[None]


def fitted(network):
    """Return the network with batch norms that fit noise, ready to run."""
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        network.train()(torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1)))
    return network.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def classifier(folder):
    torch.manual_seed(0)
    network = fitted(get_model("shufflenet_v2_x0_5", weights=None))
    torch.save(network.state_dict(), folder / "classifier.pth")
    return network, folder / "classifier.pth"


@pytest.fixture(scope="module")
def segmenter(folder):
    torch.manual_seed(0)
    network = fitted(get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None))
    for last in (network.classifier.low_classifier, network.classifier.high_classifier):
        last.weight.data *= 0.02  # trained logits change slowly from cell to cell; random ones would jump
    torch.save(network.state_dict(), folder / "segmenter.pth")
    return network, folder / "segmenter.pth"


@pytest.fixture(scope="module")
def detector(folder):
    torch.manual_seed(0)
    network = get_model("ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None).eval()
    for head in network.head.classification_head.module_list:
        head[1].bias.data.view(-1, 91)[:, 1] += 4  # everything is a person
    torch.save(network.state_dict(), folder / "detector.pth")
    return network, folder / "detector.pth"


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_classification_says_what_torchvision_says(classifier, backend):
    network, file = classifier
    model = load(f"torchvision/shufflenet_v2_x0_5:weights={file},top=20,backend={backend},precision=fp32", CPU)
    weights = weights_of("shufflenet_v2_x0_5").entry
    square = middle_square(picture("astronaut"), weights.transforms())
    with torch.no_grad():
        shares = torch.softmax(network(pixels(square, weights.transforms()))[0], 0)
    found = dict(model(picture("astronaut")).classes)
    expected = {weights.meta["categories"][i]: float(shares[i]) for i in shares.argsort(descending=True)[:20]}
    assert found == pytest.approx(expected, abs=1e-4)
    assert max(found.values()) > 2 * min(found.values())


def test_middle_square_is_what_torchvision_cuts():
    preset = weights_of("shufflenet_v2_x0_5").entry.transforms()
    image = np.ascontiguousarray(np.repeat(picture("coffee"), 2, axis=1))
    theirs = preset(torch.from_numpy(image).permute(2, 0, 1))[None]
    ours = pixels(middle_square(image, preset), preset)
    assert (theirs - ours).abs().mean() < 0.06  # of a standard deviation: another way of averaging pixels


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("shape", [(256, 256), (180, 320)])
def test_segmentation_masks_what_torchvision_masks(segmenter, backend, shape):
    network, file = segmenter
    name = f"torchvision/lraspp_mobilenet_v3_large:weights={file},size=160,backend={backend},precision=fp32"
    model = load(f"{name},of=person+dog", CPU)
    image = np.ascontiguousarray(np.tile(picture("astronaut"), (1, 2, 1))[: shape[0], : shape[1]])
    found = model(image)
    weights = weights_of("lraspp_mobilenet_v3_large").entry
    from models.picture import resize

    small = resize(image, *seen_size(*shape, 160))
    with torch.no_grad():
        logits = network(pixels(small, weights.transforms()))["out"]
    labels = weights.meta["categories"]
    shares = torch.softmax(logits, 1)[0, [labels.index("person"), labels.index("dog")]].sum(0).numpy()
    expected = resize((shares * 255 + 0.5).astype(np.uint8), *shape)
    assert expected.std() > 2
    assert np.abs(found.mask.astype(int) - expected).mean() < 2  # enlarged after the softmax, not before
    assert found.mask.shape == shape
    assert {label for label, _ in found.classes} <= set(labels[1:])


def test_segmentation_keeps_to_its_grid():
    assert seen_size(360, 640, 520) == (512, 928)
    assert seen_size(640, 360, 160) == (288, 160)
    assert seen_size(1, 1000, 160) == (160, 160 * LONGEST)


def test_unknown_class_of_a_mask_is_told(segmenter):
    with pytest.raises(ModelError, match=r"of='unicorn' is not known; it has aeroplane, bicycle"):
        load(f"torchvision/lraspp_mobilenet_v3_large:weights={segmenter[1]},of=unicorn", CPU)


def test_detection_finds_what_torchvision_finds(detector):
    network, file = detector
    image = picture("street")
    found = load(f"torchvision/ssdlite320_mobilenet_v3_large:weights={file},score=0.3", CPU)(image)
    with torch.no_grad():
        expected = network([torch.from_numpy(image).permute(2, 0, 1) / 255])[0]
    kept = expected["scores"] >= 0.3
    assert kept.sum() > 3
    assert np.abs(found.boxes - expected["boxes"][kept].numpy()).max() < 0.01
    assert found.scores == pytest.approx(expected["scores"][kept].numpy(), abs=1e-4)
    assert set(found.labels) == {"person"}
    assert found.fault(*image.shape[:2]) == ""


def test_detection_can_be_followed_and_runs_on_torch(detector):
    model = load(f"torchvision/ssdlite320_mobilenet_v3_large:weights={detector[1]},score=0.3,track=on", CPU)
    assert model.variant == "torch fp32"
    first, second = model(picture("street")), model(picture("street"))
    assert (len(first.boxes), len(second.track_ids) > 3) == (0, True)
    for wrong, says in (("backend=openvino", "say backend=torch"), ("size=320", "takes 320 px only")):
        with pytest.raises(ModelError, match=says):
            load(f"torchvision/ssdlite320_mobilenet_v3_large:weights={detector[1]},{wrong}", CPU)


def scripted(**extra):
    """Return a detection network that gives two findings, one of them unsure."""

    class Scripted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            assert images[0].shape == (3, 20, 30)
            assert float(images[0].max()) <= 1
            found = {"boxes": torch.tensor([[0.0, 0, 9, 9], [5, 5, 9, 9]]), "scores": torch.tensor([0.9, 0.2])}
            return [{**found, "labels": torch.tensor([1, 3]), **extra}]

    return Scripted()


IMAGE = torch.full((1, 20, 30, 3), 255, dtype=torch.uint8)


def test_masks_of_sure_findings_are_joined():
    masks = torch.zeros(2, 1, 20, 30)
    masks[0, 0, :5], masks[1, 0, 10:] = 1, 1
    boxes, _, labels, mask = DetectorOfPicture(scripted(masks=masks), 0.5)(IMAGE)
    assert (boxes.tolist(), labels.tolist()) == ([[0, 0, 9, 9]], [1])
    assert mask[:5].min() == 255
    assert mask[5:].max() == 0
    nobody = DetectorOfPicture(scripted(masks=masks), 0.95)(IMAGE)
    assert nobody[3].shape == (20, 30)
    assert nobody[3].max() == 0


def test_keypoints_have_probabilities():
    points, logits = torch.ones(2, 17, 3), torch.zeros(2, 17)
    keypoints = DetectorOfPicture(scripted(keypoints=points, keypoints_scores=logits), 0.5)(IMAGE)[3]
    assert keypoints.shape == (1, 17, 3)
    assert keypoints[0, 0].tolist() == [1, 1, 0.5]


# ---- files


@pytest.fixture
def empty_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn`"),
        ("deeplabv3_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large`"),
        ("mobilenet_v3_large", "mobilenet_v3_large`"),
        ("mobilenet_v3_large:weights=IMAGENET1K_V1", "mobilenet_v3_large:weights=IMAGENET1K_V1`"),
    ],
)
def test_weights_that_are_not_here_are_named_with_the_command_that_fetches_them(empty_home, name, command):
    with pytest.raises(ModelError) as raised:
        load(f"torchvision/{name}", CPU)
    assert f"fetch them with `livelens models pull torchvision/{command}, or give a file" in str(raised.value)
    assert " MB)" in str(raised.value)
    assert list(empty_home.iterdir()) == []  # nothing was fetched behind one's back


def test_fetched_weights_are_found_where_pull_puts_them(empty_home, classifier):
    url, folder = resolve("torchvision/shufflenet_v2_x0_5", None)
    assert url.startswith("https://download.pytorch.org/models/shufflenet")
    assert folder == empty_home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    os.link(classifier[1], folder / url.rpartition("/")[2])
    assert load("torchvision/shufflenet_v2_x0_5:backend=torch", CPU)(picture("astronaut")).classes
    other = resolve("torchvision/mobilenet_v3_large:weights=IMAGENET1K_V1", folder)
    assert other == ("https://download.pytorch.org/models/mobilenet_v3_large-8738ca79.pth", folder)


class Canary:
    def __reduce__(self):
        return (os.mkdir, (os.environ["CANARY"],))


def bad_file(folder, kind, state):
    file = folder / f"{kind}.pth"
    if kind == "missing key":
        torch.save({key: value for key, value in state.items() if key != "fc.bias"}, file)
    elif kind == "extra key":
        torch.save({**state, "more": torch.zeros(1)}, file)
    elif kind == "wrong shape":
        torch.save({**state, "fc.bias": torch.zeros(7)}, file)
    elif kind == "code":
        torch.save({**state, "fc.bias": Canary()}, file)
    elif kind == "a list":
        torch.save([torch.zeros(1)], file)
    elif kind == "cut off":
        torch.save(state, file)
        file.write_bytes(file.read_bytes()[:1000])
    else:
        file.write_text("<html>404</html>")
    return file


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing key", r"does not fit torchvision/shufflenet_v2_x0_5: Missing key.*fc\.bias"),
        ("extra key", r"does not fit .*Unexpected key.*more"),
        ("wrong shape", r"does not fit .*size mismatch for fc\.bias"),
        ("code", "a pickle that would run code; it was not run"),
        ("a list", "expected tensors by name, got list"),
        ("cut off", "expected tensors saved by torch"),
        ("a page", "expected tensors saved by torch"),
    ],
)
def test_a_file_that_is_no_weights_is_refused(classifier, tmp_path, monkeypatch, kind, says):
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    file = bad_file(tmp_path, kind, classifier[0].state_dict())
    with pytest.raises(ModelError, match=says) as raised:
        load(f"torchvision/shufflenet_v2_x0_5:weights={file},backend=torch", CPU)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "canary").exists()


def test_safetensors_are_read_too(classifier, tmp_path):
    file = tmp_path / "net.safetensors"
    save_file({key: value.contiguous() for key, value in classifier[0].state_dict().items()}, file)
    ours = load(f"torchvision/shufflenet_v2_x0_5:weights={file},backend=torch", CPU)(picture("coffee"))
    theirs = load(f"torchvision/shufflenet_v2_x0_5:weights={classifier[1]},backend=torch", CPU)(picture("coffee"))
    assert ours.classes == theirs.classes


def test_wrong_options_are_told_before_anything_is_loaded():
    with pytest.raises(ModelError, match=r"weights='/no/such\.pth' is not allowed"):
        parse("torchvision/resnet18:weights=/no/such.pth")
    with pytest.raises(ModelError, match=r"no weights 'IMAGENET1K_V9'; there are .*IMAGENET1K_V1"):
        load("torchvision/resnet18:weights=IMAGENET1K_V9", CPU)
    with pytest.raises(ModelError, match="did you mean torchvision/resnet18"):
        parse("torchvision/resnet8")


# ---- names


def test_names_are_those_of_torchvision():
    ours = {"detection": DETECTION, "segmentation": SEGMENTATION, "classification": CLASSIFICATION}
    modules = {"detection": detection, "segmentation": segmentation, "classification": torchvision.models}
    version = tuple(int(part) for part in torchvision.__version__.split(".")[:2])
    for kind, names in ours.items():
        theirs = set(list_models(module=modules[kind]))
        assert names == sorted(names)
        if version >= (0, 29):  # an older one may lack some, a newer one may have more
            assert set(names) <= theirs
        if version == (0, 29):
            assert set(names) == theirs


def test_every_one_has_a_card_that_says_what_it_gives():
    gives = {card.name: card.gives for card in cards() if card.collection == "torchvision"}
    assert len(gives) == len(DETECTION) + len(SEGMENTATION) + len(CLASSIFICATION)
    assert gives["torchvision/maskrcnn_resnet50_fpn"] == {"boxes", "mask"}
    assert gives["torchvision/keypointrcnn_resnet50_fpn"] == {"boxes", "keypoints"}
    assert gives["torchvision/vit_b_16"] == {"classes"}
    assert parse("torchvision/fcos_resnet50_fpn:size=320", Kind.RECOGNIZE).where == "torchvision/fcos_resnet50_fpn"


def test_a_network_that_the_installed_torchvision_lacks_is_told(monkeypatch):
    def missing(name):
        raise ValueError(name)

    monkeypatch.setattr(torchvision.models, "get_model_weights", missing)
    with pytest.raises(ModelError, match="has no network 'resnet18'; a newer one may"):
        load("torchvision/resnet18", CPU)


def test_a_smaller_size_is_scaled_to():
    from models.torchvision_weights import _set_size

    network = SimpleNamespace(transform=SimpleNamespace(min_size=(800,), max_size=1333))
    _set_size("fcos_resnet50_fpn", network, 320)
    assert (network.transform.min_size, network.transform.max_size) == ((320,), 533)


def test_serve_says_that_weights_are_missing_before_anything_starts(empty_home):
    command = [sys.executable, "-m", "stream", "serve", "test:", "--recognize", "torchvision/resnet18", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert done.stderr.startswith("livelens: error: torchvision/resnet18: its weights are not here")
    assert "`livelens models pull torchvision/resnet18`" in done.stderr
    assert done.stderr.count("\n") == 1
