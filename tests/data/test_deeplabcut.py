"""DeepLabCut's projects and tables: as DeepLabCut writes them, and so that DeepLabCut and pandas read them."""

import pickle

import numpy as np
import pytest

from posewright.data import formats, sources
from posewright.data.formats import deeplabcut

CONFIG = """
Task: mice
multianimalproject: {several}
individuals: [mouse1, mouse2]
uniquebodyparts: [corner]
multianimalbodyparts: [snout, tail]
bodyparts: {parts}
skeleton: [[snout, tail], [snout, nothing]]
"""
SINGLE = """scorer,Ann,Ann,Ann,Ann
bodyparts,snout,snout,tail,tail
coords,x,y,x,y
labeled-data/a/img10.png,1.5,2,3,4
labeled-data/a/img2.png,,,30,40
"""
SEVERAL = """scorer,,,Ann,Ann,Ann,Ann,Ann,Ann,Ann,Ann,Ann,Ann
individuals,,,mouse1,mouse1,mouse1,mouse1,mouse2,mouse2,mouse2,mouse2,single,single
bodyparts,,,snout,snout,tail,tail,snout,snout,tail,tail,corner,corner
coords,,,x,y,x,y,x,y,x,y,x,y
labeled-data,a,img1.png,1,2,3,4,5,6,,,9,9
labeled-data,a,img2.png,,,,,7,8,9,10,,
"""


def project(folder, table, several=False, name="CollectedData_Ann.csv"):
    """A project of one table."""
    (video := folder / "labeled-data" / "a").mkdir(parents=True)
    (video / name).write_text(table)
    parts = "MULTI!" if several else "[snout, tail]"
    (folder / "config.yaml").write_text(CONFIG.format(several=str(several).lower(), parts=parts))
    return folder


def test_a_project_of_one_animal(tmp_path):
    pytest.importorskip("yaml")
    folder = project(tmp_path / "mice", SINGLE)
    assert formats.recognised(folder) == formats.recognised(folder / "config.yaml") == "deeplabcut"
    found = formats.read(folder)
    first, second = found.file.annotations
    assert [i.file_name for i in found.file.images] == ["labeled-data/a/img10.png", "labeled-data/a/img2.png"]
    assert first.keypoints == [1.5, 2, 2, 3, 4, 2]
    assert second.keypoints == [0, 0, 0, 30, 40, 2]
    assert first.bbox == [1.5 - 20, 2 - 20, 41.5, 42]
    assert found.filled == {"boxes (the points' extent and 20 px)": 2}
    people = sources.without_images(found)
    assert people.skeleton.bones == (("snout", "tail"),)
    assert people.filled["boxes (the points' extent and 20 px)"] == 2


def test_a_project_of_several_animals(tmp_path):
    pytest.importorskip("yaml")
    found = formats.read(project(tmp_path / "mice", SEVERAL, several=True))
    assert [(a.image_id, a.keypoints) for a in found.file.annotations] == [
        (1, [1, 2, 2, 3, 4, 2]), (1, [5, 6, 2, 0, 0, 0]), (2, [7, 8, 2, 9, 10, 2]),
    ]  # fmt: skip
    assert found.lost == {"points of parts that belong to no animal": 1}
    assert sources.without_images(found).skipped == found.lost


def test_a_table_alone_has_its_images_beside_it(tmp_path):
    (tmp_path / "CollectedData_Ann.csv").write_text(SINGLE)
    for name in ("img10.png", "img2.png"):
        (tmp_path / name).touch()
    people = sources.read_all([tmp_path / "CollectedData_Ann.csv"], [""])
    assert people.skeleton.points == ("snout", "tail")
    assert people[0].path == tmp_path / "img10.png"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("30,40", "30,forty", r"CollectedData_Ann.csv: line 5, tail: expected a finite number, got 'forty'"),
        ("30,40", "30", r"CollectedData_Ann.csv: line 5: expected 5 cells, as in line 1, got 4"),
        ("30,40", "30,inf", r"line 5, tail: expected a finite number, got 'inf'"),
        ("coords,x,y,x,y", "coords,x,z,x,y", r"line 1: expected columns named by .* got \('Ann', 'snout', 'z'\)"),
        ("coords", "things", r"line 1: expected rows of names: scorer, maybe individuals, bodyparts, coords"),
    ],
)
def test_malformed_tables_name_file_and_line(tmp_path, old, new, message):
    pytest.importorskip("yaml")
    with pytest.raises(ValueError, match=message):
        formats.read(project(tmp_path / "mice", SINGLE.replace(old, new)))


@pytest.mark.parametrize("config", ["", "[", "bodyparts: 7", "a: &a [*a, *a]\nbodyparts: [1]"])
def test_malformed_configurations_are_named(tmp_path, config):
    pytest.importorskip("yaml")
    folder = project(tmp_path / "mice", SINGLE)
    (folder / "config.yaml").write_text(config)
    with pytest.raises(ValueError, match=r"config.yaml: expected a DeepLabCut configuration with a list of bodyparts"):
        formats.read(folder)


def test_tables_are_what_pandas_and_deeplabcut_read(tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    results = [
        {"image_id": 1, "keypoints": [1, 2, 0.5, 3, 4, 0.25], "score": 0.1},
        {"image_id": 1, "keypoints": [5, 6, 1, 7, 8, 1], "score": 0.9},
    ]
    table = deeplabcut.predictions(results, {1: "labeled-data/a/1.png", 2: "labeled-data/a/2.png"}, ("snout", "tail"))
    deeplabcut.write_table(table, tmp_path / "found.csv")
    frame = pd.read_hdf(tmp_path / "found.h5")
    assert list(frame.columns.names) == ["scorer", "individuals", "bodyparts", "coords"]
    assert frame.index.tolist()[1] == ("labeled-data", "a", "2.png")
    best = frame["posewright"]["individual1"]
    assert best["snout"].iloc[0].tolist() == [5, 6, 1]
    assert frame.iloc[1].isna().all()
    text = pd.read_csv(tmp_path / "found.csv", header=[0, 1, 2, 3], index_col=[0, 1, 2])
    np.testing.assert_array_equal(text.to_numpy(), frame.to_numpy())


def test_hdf5_is_read_as_its_csv_in_both_of_pandas_formats(tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    (tmp_path / "one.csv").write_text(SINGLE)
    frame = pd.read_csv(tmp_path / "one.csv", header=[0, 1, 2], index_col=0)
    want = deeplabcut.read_table(tmp_path / "one.csv")
    for kind in ("fixed", "table"):
        frame.to_hdf(tmp_path / f"{kind}.h5", key="df_with_missing", mode="w", format=kind)
        table = deeplabcut.read_table(tmp_path / f"{kind}.h5")
        assert table[:2] == want[:2]
        np.testing.assert_array_equal(table.values, want.values)
    (tmp_path / "no.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match=r"no.h5: expected a table that pandas has written"):
        deeplabcut.read_table(tmp_path / "no.h5")


def test_names_of_columns_are_read_without_running_them(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        group.attrs["non_index_axes"] = np.bytes_(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(ValueError, match=r"bad.h5: expected a table .*: names of columns hold os.system"):
        deeplabcut.read_table(tmp_path / "bad.h5")


def test_names_of_columns_that_double_are_refused_at_once(tmp_path):
    h5py = pytest.importorskip("h5py")
    part = ("x",)
    for _ in range(60):
        part = (part, part)  # a kilobyte in the file; its text would take 2**60
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        group.attrs["non_index_axes"] = np.bytes_(pickle.dumps([(1, [("Ann", part)])], protocol=0))
    with pytest.raises(ValueError, match=r"bad.h5: expected a table .*: a column's name holds a tuple"):
        deeplabcut.read_table(tmp_path / "bad.h5")


@pytest.mark.shared
def test_a_real_project(shared, tmp_path):
    folder = shared / "data/deeplabcut/openfield-Pranav-2018-10-30"
    people = sources.read_all([folder], [""])
    assert (len(people), len(people.image_id)) == (116, 116)
    assert people.skeleton.mirror == (("leftear", "rightear"),)
    video = folder / "labeled-data/m4s1"
    text, data = (deeplabcut.read_table(video / f"CollectedData_Pranav{s}") for s in (".csv", ".h5"))
    assert text[:2] == data[:2]
    np.testing.assert_array_equal(text.values, data.values)
    formats.write(formats.read(folder), tmp_path / "copy", "deeplabcut")
    for suffix in (".csv", ".h5"):
        again = deeplabcut.read_table(tmp_path / f"copy/labeled-data/m4s1/CollectedData_posewright{suffix}")
        np.testing.assert_array_equal(again.values, text.values)
