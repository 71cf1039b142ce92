"""Data sets in the layouts that their authors published: read as they are, 200 mutations end in a clear line."""

import json
import random
import shutil

import numpy as np
import pytest

from posewright import image
from posewright.data import formats, sources
from posewright.skeletons import AIC14, ANIMALPOSE20, LSP14, MPII16, TIGDOG18

AIC = [
    {
        "image_id": "abc",
        "human_annotations": {"human1": [10, 20, 50, 90], "human2": [0, 0, 0, 0]},
        "keypoint_annotations": {
            "human1": [12, 30, 1, 14, 40, 2] + [0, 0, 3] * 12,
            "human2": [60, 60, 1] + [0, 0, 3] * 13,
        },
    }
]


def test_ai_challenger(tmp_path):
    (path := tmp_path / "aic.json").write_text(json.dumps(AIC))
    assert formats.recognised(path) == "aic"
    found = formats.read(path)
    one, two = found.file.annotations
    assert found.file.images[0].file_name == "abc.jpg"
    assert one.bbox == [10, 20, 40, 70]
    assert one.keypoints[:9] == [12, 30, 2, 14, 40, 1, 0, 0, 0]
    assert two.bbox == [40, 40, 40, 40]  # made of the point, as a box without extent is none
    assert sources.without_images(found).skeleton == AIC14
    AIC[0]["keypoint_annotations"]["human2"][2] = 4
    path.write_text(json.dumps(AIC))
    with pytest.raises(
        ValueError, match=r"aic.json: entry 0 \(abc\), human2: expected 14 points of x, y and 1, 2 or 3"
    ):
        formats.read(path)
    AIC[0]["keypoint_annotations"]["human2"][2] = 1


def test_animal_pose(animal_pose, tmp_path):
    (path := tmp_path / "keypoints.json").write_text(json.dumps(animal_pose, indent=1))
    assert formats.recognised(path) == "animalpose"
    found = formats.read(path)
    (dog,) = found.file.annotations
    assert (dog.image_id, dog.bbox, dog.keypoints[:6]) == (9, [5, 6, 20, 40], [7, 8, 2, 0, 0, 0])
    people = sources.without_images(found)
    assert (people.skeleton, len(people)) == (ANIMALPOSE20, 1)


def test_animal_pose_has_an_order_of_its_own(animal_pose, tmp_path):
    """Its published file names the points otherwise, and in another order, than mmpose's."""
    limbs = [f"{side}_{part}" for part in ("front_elbow", "back_elbow", "front_knee", "back_knee", "front_paw",
                                           "back_paw") for side in ("left", "right")]  # fmt: skip
    published = ["left_eye", "right_eye", "nose", "left_ear", "right_ear", *limbs, "throat", "withers", "tailbase"]
    (dog,), (kind,) = animal_pose["annotations"], animal_pose["categories"]
    dog["keypoints"] = [[10 * n + 1, 5, 1] for n in range(20)]
    kind["keypoints"] = published
    path = tmp_path / "keypoints.json"

    def places() -> dict[str, int]:
        path.write_text(json.dumps(animal_pose))
        keypoints = np.reshape(formats.read(path).file.annotations[0].keypoints, (20, 3))
        return dict(zip(ANIMALPOSE20.points, (keypoints[:, 0] // 10).astype(int).tolist()))

    expected = {"L_Eye": 0, "R_Eye": 1, "Nose": 2, "L_EarBase": 3, "R_EarBase": 4, "L_F_Elbow": 5, "R_B_Paw": 16,
                "Throat": 17, "Withers": 18, "TailBase": 19}  # fmt: skip
    assert places().items() >= expected.items()
    kind["keypoints"] = published[::-1]
    assert places().items() >= {name: 19 - place for name, place in expected.items()}.items()
    del kind["keypoints"]
    assert places().items() >= expected.items()

    kind["keypoints"] = ["left_eye"] * 20
    with pytest.raises(ValueError, match=r"keypoints.json: categories\[0\] \(dog\): keypoints must be left_eye, .*got"):
        places()
    animal_pose["categories"] = [{"id": 3, "name": "cat"}]
    with pytest.raises(ValueError, match=r"annotations\[0\] \(image 9\): no category has the id 1"):
        places()


@pytest.mark.parametrize("extended", [False, True])
def test_leeds_sports_pose(tmp_path, extended):
    io = pytest.importorskip("scipy.io")
    joints = np.arange(14 * 3 * 2.0).reshape(2, 14, 3) + 1
    joints[..., 2] = 0
    joints[1, 3, 2] = 1
    io.savemat(
        tmp_path / "joints.mat", {"joints": joints.transpose(1, 2, 0) if extended else joints.transpose(2, 1, 0)}
    )
    assert formats.recognised(tmp_path) == formats.recognised(tmp_path / "joints.mat") == "lsp"
    people = sources.without_images(formats.read(tmp_path))
    assert people.skeleton == LSP14
    shown = people.visibility.tolist()
    if extended:  # all others are unlabelled, and the first person has none
        assert shown == [[0, 0, 0, 2] + [0] * 10]
        assert people.xy[0, 3].tolist() == [joints[1, 3, 0] - 1, joints[1, 3, 1] - 1]
        assert formats.read(tmp_path).file.images[1].file_name == "images/im00002.jpg"
    else:
        assert shown == [[2] * 14, [2, 2, 2, 1] + [2] * 10]
        assert formats.read(tmp_path).file.images[1].file_name == "images/im0002.jpg"


def test_mpii_as_coco(tmp_path):
    person = {
        "image": "a.jpg",
        "center": [101.0, 51.0],
        "scale": 0.5,
        "joints": [[11, 6]] * 16,
        "joints_vis": [1, 0] * 8,
    }
    (path := tmp_path / "train.json").write_text(json.dumps([person, person]))
    assert formats.recognised(path) == "mpii"
    found = formats.read(path)
    assert len(found.file.images) == 1
    assert found.file.annotations[1].keypoints[:6] == [10, 5, 2, 0, 0, 0]
    assert found.file.annotations[0].bbox == [50, 7.5, 100, 100]
    assert sources.without_images(found).skeleton == MPII16


def mpii_matlab(path):
    """Two people of one image, one without a scale, and an image without anybody."""
    io = pytest.importorskip("scipy.io")

    def structures(fields, rows):
        array = np.zeros((1, len(rows)), [(field, object) for field in fields])
        for n, row in enumerate(rows):
            array[0, n] = tuple(row)
        return array

    points = structures(("x", "y", "id", "is_visible"), [(11.0, 6.0, 0, 1), (21.0, 8.0, 9, np.zeros((0, 0)))])
    posed = structures(("point",), [(points,)])
    centre = structures(("x", "y"), [(101.0, 51.0)])
    fields = ("x1", "y1", "x2", "y2", "annopoints", "scale", "objpos")
    rects = structures(fields, [(1, 2, 3, 4, posed, 0.5, centre), (1, 2, 3, 4, posed, np.zeros((0, 0)), centre)])
    names = [structures(("name",), [(name,)]) for name in ("a.jpg", "b.jpg")]
    annolist = structures(("image", "annorect"), [(names[0], rects), (names[1], np.zeros((0, 0)))])
    io.savemat(path, {"RELEASE": {"annolist": annolist, "img_train": np.ones((1, 2)), "version": "12"}})


def test_mpii_as_published(tmp_path):
    mpii_matlab(path := tmp_path / "mpii_human_pose_v1_u12_1.mat")
    assert formats.recognised(path) == "mpii"
    found = formats.read(path)
    (person,) = found.file.annotations
    assert [i.file_name for i in found.file.images] == ["a.jpg"]
    assert person.keypoints[:3] == [10, 5, 2]
    assert person.keypoints[27:30] == [20, 7, 2]
    assert sum(person.keypoints) == 46
    assert person.bbox == [50, 7.5, 100, 100]  # as HRNet's JSON of the same person has it
    assert found.lost == {"head boxes": 1}
    image.write(tmp_path / "images" / "a.jpg", np.zeros((60, 80, 3), np.uint8))
    people = sources.read_all([path], [""])
    assert (people.skeleton, len(people)) == (MPII16, 1)
    assert people.head_box is not None
    assert people.head_box.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("name", ["aic", "animalpose", "lsp", "mpii", "mpii matlab"])
def test_two_hundred_mutations_end_in_a_clear_line(name, animal_pose, tmp_path):
    name, _, matlab = name.partition(" ")
    path = tmp_path / {"lsp": "joints.mat"}.get(name, "mpii.mat" if matlab else f"{name}.json")
    if name == "lsp":
        pytest.importorskip("scipy.io").savemat(path, {"joints": np.ones((3, 14, 2))})
    if matlab:
        mpii_matlab(path)
    person = {"image": "a.jpg", "center": [101.0, 51.0], "scale": 0.5, "joints": [[11, 6]] * 16, "joints_vis": [1] * 16}
    content = {"aic": AIC, "animalpose": animal_pose, "mpii": [person]}.get(name)
    good = path.read_bytes() if path.exists() else json.dumps(content).encode()
    rng = random.Random(0)
    complaints = 0
    for _ in range(200):
        data = bytearray(good)
        at = rng.randrange(len(data))
        damage = (b"", b"\xff", b"NaN", b'"', b"-1e999", b"[[", b"\0\0\0\0")
        data[at : at + rng.randrange(12)] = rng.choice(damage)
        path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.2 else data)
        message = ""
        try:
            sources.without_images(formats.read(path, name))
        except ValueError as error:
            message = str(error)
        if message:
            complaints += 1
            assert path.name in message
            assert len(message) < 1500
    assert complaints > 50


def tigdog(folder):
    """Two shots of horses, one of them without landmarks, and one of tigers."""
    io = pytest.importorskip("scipy.io")
    root = folder / "behaviorDiscovery2.0"
    for animal, shots in (("horse", [[3, 10, 11], [4, 20, 20]]), ("tiger", [[7, 30, 30]])):
        (root / "ranges" / animal).mkdir(parents=True)
        (root / "landmarks" / animal).mkdir(parents=True)
        io.savemat(root / "ranges" / animal / "ranges.mat", {"ranges": np.array(shots)})
        shot, first, last = shots[0]
        cells = np.empty((last - first + 1, 1), object)
        for n in range(len(cells)):
            xy = np.column_stack([np.arange(19.0) + 1 + n, np.arange(19.0) + 101])
            cells[n, 0] = {"positions": xy, "vis": (np.arange(19) != 2).astype(float)[:, None]}
        io.savemat(root / "landmarks" / animal / f"{shot}.mat", {"landmarks": cells})
    return root


def test_tigdog(tmp_path):
    io = pytest.importorskip("scipy.io")
    root = tigdog(tmp_path)
    assert formats.recognised(root) == "tigdog"
    found = formats.read(root)
    assert [i.file_name for i in found.file.images] == [
        "horse/00000010.jpg", "horse/00000011.jpg", "tiger/00000030.jpg",
    ]  # fmt: skip
    assert found.lost == {"shots of horses without landmarks": 1}
    people = sources.without_images(found)
    assert people.skeleton == TIGDOG18
    assert people.category_id.tolist() == [1, 1, 2]
    assert people.visibility[0].tolist() == [2, 2, 0] + [2] * 15
    assert people.xy[1, 0].tolist() == [1, 100]
    # a tiger's points 15 to 18, 13, 14 and 9 to 12, counted from 1, are a horse's 9 to 18
    assert people.xy[2, 8:, 0].tolist() == [14, 15, 16, 17, 12, 13, 8, 9, 10, 11]
    io.savemat(root / "landmarks/horse/3.mat", {"landmarks": np.ones((2, 1))})
    with pytest.raises(ValueError, match=r"3.mat: frame 0: expected coordinates \[19, 2\] and visibility \[19, 1\]"):
        formats.read(root)


def ccssl(folder, count=3):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(count):
        mesh = np.column_stack([rng.uniform(100, 200, (3299, 2)), np.ones(3299)])
        mesh[1718], mesh[1684] = (150, 120, 0), (-5, 50, 1)  # the left eye is hidden, the right one outside
        np.save(folder / f"{n}_kpts.npy", mesh)
        image.write(folder / f"{n}_img.png", np.full((480, 640, 3), n, np.uint8))
    np.save(folder / "train_idxs.npy", np.array([2, 0]))
    return folder


def test_synthetic_animals_of_ccssl(tmp_path):
    folder = ccssl(tmp_path / "horse_combineds5r5_texture")
    assert formats.recognised(folder) == formats.recognised(folder / "train_idxs.npy") == "ccssl"
    people = sources.read_all([folder], [""])
    assert people.skeleton == TIGDOG18
    assert people.visibility[0, :3].tolist() == [1, 0, 2]
    assert people.xy[0, 0].tolist() == [150, 120]
    assert people.box[0, 0] == 0  # the mesh's extent, within the image
    assert people.box[0, 2] == pytest.approx(199, abs=1)
    split = sources.read_all([folder / "train_idxs.npy"], [""])
    assert [path.name for path in split.paths.values()] == ["2_img.png", "0_img.png"]
    with pytest.raises(ValueError, match=r"expected a folder named horse_\.\.\. or tiger_"):
        formats.read(ccssl(tmp_path / "sheep_texture", 1))
    np.save(folder / "train_idxs.npy", np.array([3]))
    with pytest.raises(ValueError, match=r"train_idxs\.npy: expected numbers of images, each from 0 to 2"):
        formats.read(folder / "train_idxs.npy")
    np.save(folder / "1_kpts.npy", np.zeros((18, 3)))
    with pytest.raises(ValueError, match=r"1_kpts\.npy: expected \[vertices, 3\] of 1719 vertices or more"):
        formats.read(folder)
    (folder / "1_kpts.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"1_kpts\.npy: no such file; expected x, y and visibility"):
        formats.read(folder)


def check(mutated, path, file, count=200):
    """Damage a file of the annotations at a path; how many of the damaged ones were refused."""
    good, rng, refused = file.read_bytes(), random.Random(0), 0
    for _ in range(count):
        file.write_bytes(mutated(good, rng))
        try:
            sources.without_images(formats.read(path))
        except (ValueError, OSError, LookupError) as error:
            said = str(error)
            assert file.name in said or path.name in said
            assert len(said) < 1500
            assert "\n" not in said
            refused += 1
    file.write_bytes(good)
    assert len(sources.without_images(formats.read(path)))
    return refused


SAMPLES = ("aic", "animalpose", "ap10k", "coco", "crowdpose", "horse10", "mpii")


@pytest.mark.shared
@pytest.mark.parametrize("name", SAMPLES)
def test_mutations_of_real_samples(mutated, shared, tmp_path, name):
    file = tmp_path / f"test_{name}.json"
    shutil.copyfile(shared / "data" / "formats" / name / file.name, file)
    assert check(mutated, file, file) > 50


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["csv", "h5", "yaml"])
def test_mutations_of_a_real_deeplabcut_project(mutated, shared, tmp_path, kind):
    pytest.importorskip("h5py")
    root = shared / "data" / "deeplabcut" / "openfield-Pranav-2018-10-30"
    table = tmp_path / "labeled-data" / "m4s1" / f"CollectedData_Pranav.{'csv' if kind == 'yaml' else kind}"
    table.parent.mkdir(parents=True)
    for file in (tmp_path / "config.yaml", table):
        shutil.copyfile(root / file.relative_to(tmp_path), file)
    assert check(mutated, tmp_path / "config.yaml", tmp_path / "config.yaml" if kind == "yaml" else table) > 5


@pytest.mark.parametrize("several", [False, True])
def test_mutations_of_tables_in_hdf5(mutated, tmp_path, several):
    pytest.importorskip("tables")
    pd = pytest.importorskip("pandas")
    animals = ("a", "b") if several else ("",)
    columns = [("me", animal, part, axis) for animal in animals for part in ("snout", "tail") for axis in ("x", "y")]
    names = ["scorer", "individuals", "bodyparts", "coords"]
    index = pd.MultiIndex.from_tuples(columns, names=names)
    frame = pd.DataFrame(np.arange(3.0 * len(columns)).reshape(3, -1), [f"img{n}.png" for n in range(3)], index)
    if not several:
        frame = frame.droplevel("individuals", axis=1)
    frame.to_hdf(path := tmp_path / "CollectedData_me.h5", key="df_with_missing", mode="w")
    assert check(mutated, path, path) > 5


def test_mutations_of_tigdog(mutated, tmp_path):
    root = tigdog(tmp_path)
    for file in ("ranges/horse/ranges.mat", "landmarks/horse/3.mat"):
        assert check(mutated, root, root / file) > 20


def test_mutations_of_mpii_as_published(mutated, tmp_path):
    mpii_matlab(path := tmp_path / "mpii.mat")
    assert check(mutated, path, path) > 20


@pytest.mark.parametrize("name", ["1_kpts.npy", "train_idxs.npy"])
def test_mutations_of_synthetic_animals(mutated, tmp_path, name):
    folder = ccssl(tmp_path / "horse_texture")
    path = folder / "train_idxs.npy" if name == "train_idxs.npy" else folder
    assert check(mutated, path, folder / name, 60 if name.endswith("kpts.npy") else 200) > 5
