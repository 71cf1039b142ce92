"""Poses as the server answers them: the fields of its JSON, and what it says of a model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from posewright.draw import bone_colours, point_colours
from posewright.image import RGB
from posewright.predict.predictor import Predictor
from posewright.types import Poses


class Keypoint(BaseModel):
    """A point of a pose."""

    name: str
    x: float = Field(description="image pixels; (0, 0) is the centre of the top-left pixel")
    y: float = Field(description="image pixels")
    score: float = Field(description="the higher, the surer")
    shown: bool = Field(description="whether the score is above the threshold")


class Pose(BaseModel):
    """A person or an animal."""

    score: float = Field(description="of the pose, by the model's scoring rule")
    calibrated: float | None = Field(None, description="probability that the pose is right; null if not calibrated")
    box: list[float] = Field(description="x, y, width, height in image pixels")
    keypoints: list[Keypoint] = Field(description="in the order of the model's skeleton")


class Answer(BaseModel):
    """The poses in an image."""

    model: str
    boxes: str = Field(description="where the boxes came from")
    width: int = Field(description="of the image, pixels, turned upright")
    height: int
    threshold: float
    poses: list[Pose]


class Model(BaseModel):
    """A pose system that is served."""

    name: str
    system: str = Field(description="name of the pose system, see `posewright models`")
    input: tuple[int, int] = Field(description="height and width of the network's input")
    skeleton: str
    points: list[str]
    bones: list[tuple[int, int]] = Field(description="pairs of places in points")
    point_colours: list[str]
    bone_colours: list[str]


class Models(BaseModel):
    """What a request may choose from; the first of each is the default."""

    models: list[Model]
    detectors: list[str] = Field(description="'none' takes the image for one person")
    limits: dict[str, float]


class Failure(BaseModel):
    """Why a request was refused."""

    error: str = Field(description="one sentence")


def answer(model: str, poses: Poses, size: tuple[int, int], threshold: float) -> Answer:
    """The poses of an image of `size` (height, width)."""
    found = [
        Pose(
            score=float(poses.instance_score[n]),
            calibrated=None if poses.calibrated is None else round(float(poses.calibrated[n]), 4),
            box=[round(float(v), 3) for v in poses.boxes.xywh[n]],
            keypoints=[
                Keypoint(name=name, x=round(x, 3), y=round(y, 3), score=round(score, 4), shown=score > threshold)
                for name, (x, y), score in zip(poses.skeleton.points, poses.xy[n].tolist(), poses.score[n].tolist())
            ],
        )
        for n in range(len(poses))
    ]
    height, width = size
    source = poses.boxes.source
    return Answer(model=model, boxes=source, width=width, height=height, threshold=threshold, poses=found)


def about(name: str, predictor: Predictor) -> Model:
    """What the server says of a model."""
    spec, skeleton = predictor.spec, predictor.spec.skeleton
    colours: dict[str, Any] = {
        "point_colours": [_hex(c) for c in point_colours(skeleton)],
        "bone_colours": [_hex(c) for c in bone_colours(skeleton)],
    }
    return Model(
        name=name,
        system=spec.name,
        input=spec.size,
        skeleton=skeleton.name,
        points=list(skeleton.points),
        bones=[(a, b) for a, b in skeleton.bone_index.tolist()],
        **colours,
    )


def _hex(colour: RGB) -> str:
    return "#" + bytes(colour).hex()
