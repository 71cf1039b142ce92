"""Boxes given as corners are told from x, y, width, height by what they surround."""

from dataclasses import replace

import numpy as np
import pytest

from posewright.coco_format import read_annotations
from posewright.data import coco
from posewright.evaluate import box_form, evaluator, printing
from posewright.models import find
from posewright.predict.predictor import Predictor
from posewright.synthetic import people as synthetic
from posewright.types import Boxes


def as_corners(xywh):
    return np.concatenate([xywh[..., :2], xywh[..., :2] + xywh[..., 2:]], -1)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return coco.read(synthetic.make(tmp_path_factory.mktemp("people"), 4, workers=1))


def test_a_sentence_says_so_where_they_fit_far_better_as_corners(people):
    (note,) = box_form.note_on_corners("of here.json", [(as_corners(people.box), people.box)])
    assert note.startswith(
        "the boxes of here.json look like corners, x1, y1, x2, y2: read so, they overlap the people by 1.00"
    )
    assert box_form.note_on_corners("", [(people.box, people.box)]) == ()
    assert box_form.note_on_corners("", [(people.box + 900, people.box)]) == ()  # near nobody, however they are read
    assert box_form.note_on_corners("", [(np.zeros((0, 4)), people.box)]) == ()
    assert box_form.note_on_corners("", []) == ()


def test_results_and_annotations_are_compared_with_their_own_keypoints(people):
    results = [
        {
            "image_id": 1,
            "keypoints": np.column_stack([xy, visibility > 0]).ravel().tolist(),
            "score": 1,
            "bbox": box.tolist(),
        }
        for xy, visibility, box in zip(people.xy.astype(float), people.visibility, as_corners(people.box))
    ]
    assert "of mine look like corners" in box_form.note_on_results("mine", results)[0]
    assert box_form.note_on_results("mine", [r | {"bbox": b.tolist()} for r, b in zip(results, people.box)]) == ()
    assert box_form.note_on_results("mine", [{k: r[k] for k in ("image_id", "keypoints")} for r in results]) == ()
    assert box_form.note_on_annotations(people) == ()
    assert box_form.note_on_annotations(replace(people, annotated=None)) == ()  # of several files
    annotated = replace(people.annotated, box=as_corners(people.annotated.box))
    assert "look like corners" in box_form.note_on_annotations(replace(people, annotated=annotated))[0]


def test_an_evaluation_says_it_of_detections(people):
    spec = find("simplebaseline-r18-slim-128x96")
    predictor = Predictor(spec, spec.build(), flip=False, device="cpu")
    images = people.by_image().items()
    boxes = {image: Boxes.of(as_corners(people.box[group]), source="found.json") for image, group in images}
    evaluation = evaluator.evaluate(predictor, people, boxes)
    assert "the boxes of found.json look like corners" in evaluation.notes[0]
    assert evaluation.notes[0] in printing.lines(evaluation, "slim")
    assert evaluation.notes[0] in printing.as_dict(evaluation, "slim")["notes"]
    assert evaluator.evaluate(predictor, people, people.gt_boxes()).notes == ()


def test_what_makes_ap_zero_or_undefined_is_named():
    """Image ids in common with none, no people of a size, and results of another category."""
    category = {"id": 1, "name": "dot", "keypoints": ["a", "b"], "sigmas": [0.1, 0.1]}
    person = {"id": 1, "image_id": 5, "category_id": 1, "bbox": [0, 0, 200, 200], "area": 2e4, "iscrowd": 0}
    person |= {"num_keypoints": 2, "keypoints": [10, 10, 2, 150, 150, 2]}
    truth = {"images": [{"id": 5, "file_name": "5.jpg"}], "annotations": [person], "categories": [category]}
    result = {"image_id": 5, "category_id": 1, "keypoints": [10, 10, 1, 150, 150, 1], "score": 1}

    def said(*results):
        return printing.explain(evaluator.evaluate_results(annotated(truth), list(results)).measured)

    assert said(result) == ["AP_M and AR_M are -1: no ground truth of medium size (1024 to 9216 square pixels)"]
    other = said(result | {"category_id": 2})
    assert other[0] == "AP is 0: there are no results for the 1 annotated people"
    assert "left out 1 results of category 2, of which the ground truth has no annotations (only of 1)" in other[-1]
    with pytest.raises(ValueError, match=r"result 0 is of image 7, .* expected the ids of its 1 images, such as 5"):
        said(result | {"image_id": 7})
    shifted = said(result | {"keypoints": [900, 900, 1, 990, 990, 1]})
    assert shifted[0].startswith("AP is 0: 1 of 1 images with people have results, but the best result for each person")


def annotated(content):
    from pathlib import Path

    from posewright.data.formats import Annotated

    return Annotated(Path("dots.json"), read_annotations(content))
