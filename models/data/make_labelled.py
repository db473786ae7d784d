"""Make the labelled pictures of `livelens models check`, and the list of ImageNet's categories with their synonyms.

    python models/data/make_labelled.py timm-1.0.31-py3-none-any.whl

Needs scikit-image 0.26 and matplotlib 3.10, whose sample pictures these are; NOTICE has photographers and licences.
Each picture is scaled to 256 px on its shorter side, nothing else: the network looks at the middle 224.
"""

import sys
import zipfile
from importlib.resources import files
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parent
SHORTER_PX = 256
# folder (the labels that are right, joined by +) and name -> (package, file inside)
PICTURES = {
    "espresso/coffee": ("skimage", "data/coffee.png"),
    "tabby+tiger_cat+Egyptian_cat/chelsea": ("skimage", "data/chelsea.png"),
    "missile+projectile/rocket": ("skimage", "data/rocket.jpg"),
    "analog_clock+wall_clock/clock": ("skimage", "data/clock_motion.png"),
    "tripod/camera": ("skimage", "data/camera.png"),
    "military_uniform/grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}
INFO = "timm/data/_info/"


def write_pictures() -> None:
    for place, (package, inside) in PICTURES.items():
        with files(package).joinpath(inside).open("rb") as file:
            picture = Image.open(file).convert("RGB")
        scale = SHORTER_PX / min(picture.size)
        size = (round(picture.width * scale), round(picture.height * scale))
        target = FOLDER / "labelled" / f"{place}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.resize(size, Image.Resampling.LANCZOS).save(target, quality=90)
        print(f"{target.relative_to(FOLDER)}: {size[0]}x{size[1]}, {target.stat().st_size:,} bytes")


def write_synsets(wheel: str) -> None:
    """Write a line for each category, in the order of the network's answers: WordNet id, tab, its words."""
    with zipfile.ZipFile(wheel) as archive:
        order = archive.read(f"{INFO}imagenet_synsets.txt").decode().split()
        lines = archive.read(f"{INFO}imagenet_synset_to_lemma.txt").decode().splitlines()
    words = dict(line.split("\t", 1) for line in lines)
    (FOLDER / "imagenet_synsets.txt").write_text("".join(f"{synset}\t{words[synset]}\n" for synset in order))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} timm-1.0.31-py3-none-any.whl")
    write_pictures()
    write_synsets(sys.argv[1])
