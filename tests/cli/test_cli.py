"""The command line as a user meets it: help at once, one clear line for bad input, and no half-written files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from posewright import image
from posewright.cli import main
from posewright.synthetic import people as synthetic
from posewright.train.loop import TrainConfig, fit

SLIM = "simplebaseline-r18-slim-128x96"


@pytest.fixture(scope="module")
def set_up(tmp_path_factory):
    """Six drawn images, and weights trained on them for one step."""
    folder = tmp_path_factory.mktemp("people")
    listing = synthetic.make(folder, 6, split="val", workers=1)
    config = TrainConfig(model=SLIM, train=str(listing), out=str(folder / "run"), steps=1, batch=2, workers=0)
    fit(config)
    return folder


@pytest.fixture(scope="module")
def listing(set_up):
    return set_up / "annotations" / "person_keypoints_val.json"


@pytest.fixture(scope="module")
def last(set_up):
    return set_up / "run" / "last.pt"


def run(capsys, *arguments):
    """Exit status, stdout and stderr."""
    status = main([str(a) for a in arguments])
    streams = capsys.readouterr()
    return status, streams.out, streams.err


def last_line(text):
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "words", [[], ["train"], ["eval"], ["predict"], ["demo"], ["models"], ["data", "synth"], ["weights", "pull"]]
)
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys; from posewright.cli import main\n"
        f"try: main({[*words, '--help']!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'cv2', 'rich', 'msgspec'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "usage: posewright" in out
    assert last_line(out) == "[]"


def test_predict_writes_a_drawing_for_each_image_and_coco_results(capsys, set_up, listing, last, tmp_path):
    out = tmp_path / "drawn"
    status, text, _ = run(capsys, "predict", set_up / "val", "--weights", last, "--annotations", listing, "--out", out)
    assert status == 0
    assert last_line(text).startswith("6 images, ")
    assert "boxes: gt" in text
    results = json.loads((out / "results.json").read_text())
    people = json.loads(listing.read_text())["annotations"]
    assert len(results) == sum(a["num_keypoints"] >= 0 for a in people)
    assert {r["image_id"] for r in results} == {1, 2, 3, 4, 5, 6}
    assert {len(r["keypoints"]) for r in results} == {51}
    assert sorted(p.name for p in out.glob("*_pose.jpg")) == [f"{n:012d}_pose.jpg" for n in range(1, 7)]


def test_images_named_by_number_meet_a_detections_file(capsys, set_up, last, tmp_path):
    """As the MSPN cases predict: images named by their id, boxes from a JSON, drawings of what scores high enough."""
    folder = tmp_path / "infer_img"
    folder.mkdir()
    for number in (398905, 90891):
        (folder / f"{number}.jpg").write_bytes((set_up / "val" / "000000000001.jpg").read_bytes())
    boxes = tmp_path / "det.json"
    entry = {"category_id": 1, "image_id": 398905, "bbox": [20.5, 10.0, 80.0, 150.0], "score": 0.99}
    boxes.write_text(json.dumps([entry, entry | {"category_id": 3}, entry | {"bbox": [5, 5, 0, 10]}]))
    out = tmp_path / "res_img"
    arguments = ("--boxes", boxes, "--score-threshold", "0.7", "--out", out)
    status, text, _ = run(capsys, "predict", folder, "--weights", last, *arguments)
    assert status == 0
    assert "2 images, 1 people, 0 drawn" in text  # nothing untrained scores 0.7
    (result,) = json.loads((out / "results.json").read_text())
    assert (result["image_id"], result["file_name"]) == (398905, "398905.jpg")


def test_whole_image_is_said_plainly(capsys, set_up, last, tmp_path):
    path = set_up / "val" / "000000000001.jpg"
    status, text, _ = run(capsys, "predict", path, "--weights", last, "--out", tmp_path)
    assert status == 0
    assert "each image was taken for one person, looked for in the whole of it and then closer" in text
    assert "`posewright weights pull yolox-nano`, then --detector yolox-nano; or --boxes FILE" in text


def test_eval_prints_the_ten_lines_and_a_row_with_the_box_source(capsys, listing, last, tmp_path):
    status, text, _ = run(capsys, "eval", "--data", listing, "--weights", last, "--out", tmp_path, "--no-flip-test")
    assert status == 0
    assert text.count(" @[ IoU=0.") == 10
    assert text.count("Average Recall     (AR)") == 5
    assert "| gt |" in text
    assert "contact sheets" not in text
    (results := tmp_path / "results.json").stat()
    status, again, _ = run(capsys, "eval", "--data", listing, "--results", results)
    assert status == 0
    assert [a for a in again.splitlines() if "@[" in a] == [a for a in text.splitlines() if "@[" in a]


def test_a_folder_with_a_bad_image_is_predicted_but_for_that(capsys, set_up, last, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    whole = (set_up / "val" / "000000000001.jpg").read_bytes()
    (folder / "1.jpg").write_bytes(whole)
    (folder / "2.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "3.jpg").write_bytes(whole)
    status, text, _ = run(capsys, "predict", folder, "--weights", last, "--out", tmp_path / "out")
    assert status == 1
    assert "skipped: " in text
    assert "2.jpg: the JPEG is cut short" in text
    assert "2 images, 2 people" in text
    assert [r["image_id"] for r in json.loads((tmp_path / "out" / "results.json").read_text())] == [1, 3]


def edited(listing, tmp_path, change):
    """A copy of the annotations, changed; its images are still found."""
    content = json.loads(listing.read_text())
    change(content)
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(content))
    return path


def _nan(c):
    c["annotations"][0]["keypoints"][0] = float("nan")


def _short(c):
    c["annotations"][0]["keypoints"].pop()


def _nobody(c):
    for a in c["annotations"]:
        a["keypoints"] = [0] * 51


def _empty(c):
    c["annotations"].clear()


def _missing_image(c):
    c["images"][0]["file_name"] = "nowhere.jpg"


def _unknown_image(c):
    c["annotations"][0]["image_id"] = 99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_nan, r"edited.json: annotation"),
        (_short, "edited.json: annotation"),
        (_nobody, "without a labelled keypoint"),
        (_empty, "no annotations in it"),
        (_missing_image, "nowhere.jpg"),
        (_unknown_image, "99"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_annotations_give_one_line_naming_the_file(capsys, set_up, listing, tmp_path, change, message):
    path = edited(listing, tmp_path, change)
    out = tmp_path / "run"
    arguments = ("--train", path, "--train-images", set_up / "val", "--out", out)
    status, _, errors = run(capsys, "train", SLIM, *arguments)
    assert status == 2
    assert last_line(errors).startswith("posewright: ")
    assert "edited.json" in last_line(errors)
    assert message in last_line(errors)
    assert not list(out.glob("*"))


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[]"])
def test_what_is_not_coco_is_said_so(capsys, tmp_path, text):
    path = tmp_path / "edited.json"
    path.write_text(text)
    status, _, errors = run(capsys, "train", SLIM, "--train", path, "--out", tmp_path / "run")
    assert status == 2
    assert "edited.json" in errors


def test_boxes_outside_or_empty_are_skipped_and_counted(capsys, set_up, listing, last, tmp_path):
    def spoil(content):
        content["annotations"][0]["bbox"] = [10, 10, 0, 0]
        content["annotations"][1]["bbox"] = [9000, 10, 50, 50]

    path = edited(listing, tmp_path, spoil)
    arguments = ("--images", set_up / "val", "--weights", last, "--out", tmp_path, "--no-flip-test")
    status, text, _ = run(capsys, "eval", "--data", path, *arguments)
    assert status == 0
    assert "skipped: " in text
    assert "2 with a box empty or outside its image" in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("none.jpg", None, "none.jpg: no such file"), ("text.jpg", b"hello", "text.jpg: not an image that can be read")],
)
def test_bad_images_give_one_line(capsys, last, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    status, _, errors = run(capsys, "predict", tmp_path / name, "--weights", last, "--out", tmp_path / "out")
    assert status == 2
    assert message in last_line(errors)
    assert not list(tmp_path.glob("out/*.jpg"))


def test_an_unwritable_folder_a_foreign_checkpoint_and_no_weights(capsys, set_up, last, tmp_path):
    (tmp_path / "file").write_text("")
    picture = set_up / "val" / "000000000001.jpg"
    status, _, errors = run(capsys, "predict", picture, "--weights", last, "--out", tmp_path / "file" / "out")
    assert status == 2
    assert "cannot write into" in errors
    status, _, errors = run(capsys, "predict", picture, "--model", "lpn-50-256x192", "--weights", last)
    assert status == 2
    assert SLIM in errors
    assert "lpn-50-256x192" in errors
    status, _, errors = run(capsys, "predict", picture, "--model", "lpn-50-256x192", "--weights", tmp_path / "no.pt")
    assert status == 2
    assert "no.pt" in errors


def test_training_by_hand_resuming_and_the_lists(capsys, set_up, listing, tmp_path):
    out = tmp_path / "run"
    settings = ("steps=2", "batch=2", "workers=0", "eval_every=1", "flip_test=false", "device=cpu")
    status, text, _ = run(capsys, "train", SLIM, "--train", listing, "--val", listing, "--out", out, "--set", *settings)
    assert status == 0
    assert "trained 2 steps; best: AP 0." in text
    status, text, _ = run(capsys, "train", "--resume", out)
    assert status == 0  # there is nothing left to do, and it says so
    status, text, _ = run(capsys, "recipes")
    assert "mspn_2stg_coco2014" in text
    status, text, _ = run(capsys, "models", "mspn-2stg-*")
    assert "mspn-2stg-mindspore-256x192" in text
    status, _, errors = run(capsys, "models", "nothing*")
    assert status == 2
    assert "no pose system matches 'nothing*'" in errors


def test_eval_judges_points_by_name_and_by_the_sigmas_of_the_file_or_else_of_the_weights(
    capsys, set_up, listing, tmp_path
):
    (points,) = (c["keypoints"] for c in json.loads(listing.read_text())["categories"])
    own = [f"{point}_spot" for point in points]

    def written(name, names, sigma=None):
        """The listing with points of other names, in the order of their names here."""
        content = json.loads(listing.read_text())
        sigmas = {"sigmas": [sigma] * len(names)} if sigma else {}
        content["categories"] = [{"id": 1, "name": "spots", "keypoints": names} | sigmas]
        for a in content["annotations"]:
            triples = dict(zip(own, np.reshape(a["keypoints"], (-1, 3)).tolist()))
            a["keypoints"] = [v for n in names for v in triples.get(n, (0, 0, 0))]
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path

    def evaluated(path):
        arguments = ("--data", path, "--images", set_up / "val", "--weights", best, "--out", tmp_path / "eval")
        status, text, errors = run(capsys, "eval", *arguments)
        assert status == 0, errors
        return text, [line for line in text.splitlines() if "@[" in line]

    bare = written("bare.json", own)
    skeleton = tmp_path / "own.json"
    skeleton.write_text(json.dumps({"points": own, "sigmas": dict.fromkeys(own, 2.0)}))
    settings = ("steps=1", "batch=2", "workers=0", "device=cpu", "flip_test=false")
    paths = ("--train", bare, "--val", bare, "--train-images", set_up / "val", "--val-images", set_up / "val")
    arguments = (*paths, "--skeleton", skeleton, "--out", tmp_path / "run", "--set", *settings)
    status, _, errors = run(capsys, "train", SLIM, *arguments)
    assert status == 0, errors
    best = tmp_path / "run" / "best.pt"

    said = f"bare.json has no OKS sigmas: AP is by those of {best}\n"
    text, figures = evaluated(bare)
    assert said in text
    assert not figures[0].endswith("0.000")  # with sigmas so large, even this network does well
    text, same = evaluated(backwards := written("backwards.json", own[::-1], 2.0))
    assert "OKS sigmas" not in text
    assert same == figures
    status, text, _ = run(capsys, "eval", "--data", backwards, "--results", tmp_path / "eval" / "results.json")
    assert [line for line in text.splitlines() if "@[" in line] == figures
    assert evaluated(written("strict.json", own, 1e-4))[1][0].endswith("0.000")  # the file's own win
    text, few = evaluated(written("few.json", own[:5]))
    assert f"never labelled: {', '.join(sorted(own[5:]))}\nfew.json" in text.replace(f"{tmp_path}/", "")
    assert len(few) == 10

    other = written("other.json", [*own[:16], "tail"])
    status, _, errors = run(capsys, "eval", "--data", other, "--images", set_up / "val", "--weights", best)
    assert status == 2
    assert "other.json: its points are not the network's, by name: the network does not find tail, and" in errors
    assert f"the file does not label {own[16]}" in errors


def test_several_files_in_several_rounds(capsys, set_up, listing, tmp_path):
    arguments = ("--train", listing, listing, "--out", tmp_path / "run", "--sigmas", "published")
    settings = ("steps=1", "rounds=2", "batch=2", "workers=0", "device=cpu")
    status, text, errors = run(capsys, "train", SLIM, *arguments, "--set", *settings)
    assert status == 0
    assert f"{listing} + {listing}" in errors
    assert f"see {tmp_path / 'run' / 'round2'}" in text
    status, text, _ = run(capsys, "train", "--resume", tmp_path / "run")
    assert status == 0
    status, _, errors = run(capsys, "train", "--resume", tmp_path / "run", "--find-lr")
    assert status == 2
    assert "--resume goes on with the run's own settings" in errors


def test_drawing_people_and_refusing_to_mix_them(capsys, tmp_path):
    assert run(capsys, "data", "synth", tmp_path, "--images", "2")[0] == 0
    picture = image.read(tmp_path / "train" / "000000000001.jpg")
    assert picture.shape[2] == 3
    assert picture.std() > 10
    status, _, errors = run(capsys, "data", "synth", tmp_path, "--images", "3", "--seed", "1")
    assert status == 2
    assert str(Path(tmp_path)) in errors
    assert np.array_equal(picture, image.read(tmp_path / "train" / "000000000001.jpg"))
