"""Draw README's picture into docs/pictures: scenes by `posewright data synth`, poses by the default model.

python docs/draw_pictures.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import posewright as pw
from posewright import draw, image
from posewright.predict import boxes
from posewright.synthetic import people

SEED, SCENES = 11, 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        listing = people.make(Path(folder), SCENES, seed=SEED, split="val", workers=1)
        found, names = boxes.annotated(listing), json.loads(listing.read_text())["images"]
        predictor, pictures = pw.load(runtime="torch"), []
        for entry in names:
            pixels = image.read(Path(folder) / "val" / entry["file_name"])
            pictures.append(draw.draw(pixels, predictor(pixels, found.of_id(entry["id"]))))
    image.write(
        Path(__file__).parent / "pictures" / "default.jpg", draw.sheet(pictures, columns=SCENES, cell=(300, 420))
    )


if __name__ == "__main__":
    main()
