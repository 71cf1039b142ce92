"""`posewright predict` as a user meets it: one clear line for bad input, and no half-written files."""

import io
import json
import re

import pytest

from posewright import image

SLIM = "simplebaseline-r18-slim-128x96"


def test_predict_writes_a_drawing_for_each_image_and_coco_results(run, set_up, listing, last, tmp_path):
    out = tmp_path / "drawn"
    status, text, _ = run("predict", set_up / "val", "--weights", last, "--annotations", listing, "--out", out)
    assert status == 0
    assert text.splitlines()[-1].startswith("6 images, ")
    assert "boxes: gt" in text
    results = json.loads((out / "results.json").read_text())
    people = json.loads(listing.read_text())["annotations"]
    assert len(results) == sum(a["num_keypoints"] >= 0 for a in people)
    assert {r["image_id"] for r in results} == {1, 2, 3, 4, 5, 6}
    assert {len(r["keypoints"]) for r in results} == {51}
    assert sorted(p.name for p in out.glob("*_pose.jpg")) == [f"{n:012d}_pose.jpg" for n in range(1, 7)]


def test_images_named_by_number_meet_a_detections_file(run, set_up, last, tmp_path):
    """As the MSPN project predicts: images named by their id, boxes from a JSON, high scores drawn."""
    folder = tmp_path / "infer_img"
    folder.mkdir()
    for number in (398905, 90891):
        (folder / f"{number}.jpg").write_bytes((set_up / "val" / "000000000001.jpg").read_bytes())
    boxes = tmp_path / "det.json"
    entry = {"category_id": 1, "image_id": 398905, "bbox": [20.5, 10.0, 80.0, 150.0], "score": 0.99}
    boxes.write_text(json.dumps([entry, entry | {"category_id": 3}, entry | {"bbox": [5, 5, 0, 10]}]))
    out = tmp_path / "res_img"
    arguments = ("--boxes", boxes, "--score-threshold", "0.7", "--out", out)
    status, text, _ = run("predict", folder, "--weights", last, *arguments)
    assert status == 0
    assert "2 images, 1 people, 0 drawn" in text  # nothing untrained scores 0.7
    assert re.search(r"nothing was drawn: the best pose scores 0\.\d\d, and --score-threshold is 0\.7", text)
    (result,) = json.loads((out / "results.json").read_text())
    assert (result["image_id"], result["file_name"]) == (398905, "398905.jpg")
    assert result["bbox"] == entry["bbox"]
    boxes.write_text(json.dumps([entry | {"category_id": 18}]))
    status, text, errors = run("predict", folder, "--weights", last, *arguments)
    assert (status, "none of the 1 detections is of category 1; there are: 18" in errors) == (2, True)
    status, text, errors = run("predict", folder, "--weights", last, *arguments, "--category", "dog")
    assert (status, "2 images, 1 people" in text) == (0, True), errors
    status, text, errors = run("predict", folder, "--weights", last, *arguments, "--category", "unicorn")
    assert (status, "COCO has not this one; give its number" in errors) == (2, True)


def test_whole_image_is_said_plainly(run, set_up, last, tmp_path):
    path = set_up / "val" / "000000000001.jpg"
    status, text, _ = run("predict", path, "--weights", last, "--out", tmp_path)
    assert status == 0
    assert "each image was taken for one person, found by two-pass inference" in text
    assert "`posewright weights pull yolox-nano`, then --detector yolox-nano; or --boxes FILE" in text


def test_a_folder_with_a_bad_image_is_predicted_but_for_that(run, set_up, last, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    whole = (set_up / "val" / "000000000001.jpg").read_bytes()
    (folder / "1.jpg").write_bytes(whole)
    (folder / "2.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "3.jpg").write_bytes(whole)
    status, text, _ = run("predict", folder, "--weights", last, "--out", tmp_path / "out")
    assert status == 1
    assert "skipped: " in text
    assert "2.jpg: the JPEG is cut short" in text
    assert "2 images, 2 people" in text
    assert [r["image_id"] for r in json.loads((tmp_path / "out" / "results.json").read_text())] == [1, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("none.jpg", None, "none.jpg: no such file"), ("text.jpg", b"hello", "text.jpg: not an image that can be read")],
)
def test_bad_images_give_one_line(run, last, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    status, _, errors = run("predict", tmp_path / name, "--weights", last, "--out", tmp_path / "out")
    assert status == 2
    assert message in errors.splitlines()[-1]
    assert not list(tmp_path.glob("out/*.jpg"))


def test_an_unwritable_folder_a_foreign_checkpoint_and_no_weights(run, set_up, last, tmp_path):
    (tmp_path / "file").write_text("")
    picture = set_up / "val" / "000000000001.jpg"
    status, _, errors = run("predict", picture, "--weights", last, "--out", tmp_path / "file" / "out")
    assert status == 2
    assert "cannot write into" in errors
    status, _, errors = run("predict", picture, "--model", "lpn-50-256x192", "--weights", last)
    assert status == 2
    assert SLIM in errors
    assert "lpn-50-256x192" in errors
    status, _, errors = run("predict", picture, "--model", "lpn-50-256x192", "--weights", tmp_path / "no.pt")
    assert status == 2
    assert "no.pt" in errors


def test_box_threshold_is_refused_where_no_boxes_are_scored(run, set_up, listing, capsys):
    """Before anything is loaded."""
    status, _, errors = run("predict", set_up / "val", "--box-threshold", "0.5")
    assert (status, errors) == (
        2,
        "posewright: --box-threshold: no boxes are given; it goes with --detector or --boxes\n",
    )
    status, _, errors = run("predict", set_up / "val", "--annotations", listing, "--box-threshold", "0.5")
    assert "annotated boxes have no scores" in errors
    with pytest.raises(SystemExit):
        run("predict", "--help")
    assert "(default: 0.3 with --detector, none with --boxes)" in " ".join(capsys.readouterr().out.split())


def test_standard_input_patterns_and_sub_folders(run, set_up, last, tmp_path, monkeypatch):
    picture = (set_up / "val" / "000000000001.jpg").read_bytes()
    for name in ("in/a.jpg", "in/sub/a.jpg", "in/b.psd"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture)
    out = tmp_path / "in" / "out"  # drawings of one run are not the images of the next
    for _ in range(2):
        options = ("--recursive", "--keypoint-threshold", "2", "--csv", "--coco", "--out", out)
        status, text, _ = run("predict", tmp_path / "in", "--weights", last, *options)
        assert (status, "2 images, 2 people, 0 drawn" in text) == (0, True)
        assert "1 files of the folders are not images that can be read (1 .psd): " in text
        assert re.search(r"best keypoint scores [\d.]+, and --keypoint-threshold is 2; a lower one shows", text)
    assert {r["file_name"] for r in json.loads((out / "results.json").read_text())} == {"a.jpg", "sub/a.jpg"}
    assert (out / "sub" / "a_pose.jpg").exists()
    coco = json.loads((out / "results_coco.json").read_text())
    assert [sorted(r) for r in coco] == [["category_id", "image_id", "keypoints", "score"]] * 2
    assert (out / "predictions.csv").read_text().splitlines()[1].startswith("a.jpg,1,1,nose,")
    pattern = tmp_path / "in" / "*.jpg"
    status, text, _ = run("predict", pattern, "--weights", last, "--out", tmp_path / "o")
    assert "1 images, " in text
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(picture)))
    status, _, _ = run("predict", "-", "--weights", last, "--out", tmp_path / "piped")
    assert status == 0
    assert (tmp_path / "piped" / "stdin_pose.jpg").exists()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"no image")))
    status, _, errors = run("predict", "-", "--weights", last, "--out", tmp_path / "piped")
    assert (status, "standard input: not an image that can be read" in errors) == (2, True)


def test_a_video_is_predicted_and_what_cannot_be_one_is_refused(run, set_up, listing, last, tmp_path):
    pytest.importorskip("scipy")
    av = pytest.importorskip("av")
    from posewright.predict.video_file import VideoFile

    clip = VideoFile(tmp_path / "clip.mp4", (96, 128), 5)
    for n in range(3):
        clip.add(n / 5, image.read(set_up / "val" / "000000000001.jpg"))
    clip.close()
    arguments = ("--weights", last, "--out", tmp_path / "out", "--smooth", "one-euro", "--detect-every", "2")
    status, text, _ = run("predict", tmp_path / "clip.mp4", *arguments)
    assert status == 0
    assert "3 frames, 0.40 s, " in text
    with av.open(str(tmp_path / "out" / "clip_pose.mp4")) as file:
        assert len(list(file.decode(video=0))) == 3
    status, text, _ = run("predict", set_up / "val", "--fps", "10", *arguments)
    assert (status, "6 frames, 0.50 s, " in text) == (0, True)
    (tmp_path / "empty.mp4").write_bytes(b"")
    status, text, _ = run("predict", tmp_path / "empty.mp4", tmp_path / "*ip.mp4", *arguments)
    assert (status, "empty.mp4: not a video" in text, "3 frames" in text) == (1, True, True)
    assert (
        "empty.mp4: not a video"
        in run("predict", tmp_path / "empty.mp4", tmp_path / "clip.mp4", *arguments, "--quiet")[2]
    )
    for words, message in (
        ((tmp_path / "clip.mp4", "--annotations", listing), "boxes in a video come from --detector"),
        (("98", "--weights", last), "camera 98: not there"),
        ((tmp_path / "gone.mp4",), "gone.mp4: no such file"),
    ):
        status, _, errors = run("predict", *words)
        assert (status, message in errors.splitlines()[-1]) == (2, True)


def test_collections_are_written_in_shards(run, set_up, listing, last, tmp_path):
    pytest.importorskip("pyarrow")
    pytest.importorskip("fsspec")
    words = ("predict", set_up / "val", "--weights", last, "--annotations", listing, "--shard-format", "coco")
    out = tmp_path / "found"
    status, text, _ = run(*words, "--shards", out, "--shard-size", "4")
    assert (status, text.splitlines()[-1].partition(",")[0]) == (0, "6 images")
    content = [json.loads(path.read_text()) for path in sorted(out.glob("part-*.json"))]
    assert [len(shard["images"]) for shard in content] == [4, 2]
    people = json.loads(listing.read_text())["annotations"]
    assert sum(len(shard["annotations"]) for shard in content) == len(people)
    (tmp_path / "broken.jpg").write_text("no image")
    status, text, _ = run("predict", tmp_path / "broken.jpg", "--weights", last, "--shards", tmp_path / "other")
    assert (status, "could not be read: " in text) == (1, True)
    for more, message in (
        (("--ray",), "--ray goes with --shards FOLDER"),
        (("--shards", out, "--csv"), "--csv, --coco and --fps do not go with --shards"),
        (("--shards", out, "--shard-size", "5"), "holds results of a run with other settings (shards)"),
    ):
        status, _, errors = run(*words, *more)
        assert (status, message in errors.splitlines()[-1]) == (2, True), errors


@pytest.mark.parametrize("device", ["cuda:99", "meta2", "gpu"])
def test_a_device_that_is_not_there_gives_one_line(run, set_up, device):
    status, _, errors = run("predict", set_up / "val", "--device", device)
    assert status == 2
    (line,) = errors.splitlines()
    assert f"device '{device}' cannot be used" in line
