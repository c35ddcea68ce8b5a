"""Finding what students handed in, in the layouts that course systems give."""

from __future__ import annotations

import io
import zipfile

import pytest

from grading.submissions import Entry, find_submissions, read_submission

CODE = b"from harness.many_neurons import check\n"


def write(path, data=CODE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/"), data)
    return buffer.getvalue()


def read_all(folder, assignment="many-neurons"):
    entries = find_submissions(folder)
    return {entry.name: read_submission(entry, assignment) for entry in entries}


def test_flat_files_go_by_their_stem(tmp_path):
    write(tmp_path / "bob.py")
    write(tmp_path / "alice.py")
    write(tmp_path / "notes.txt")
    write(tmp_path / ".hidden.py")
    found = read_all(tmp_path)
    assert list(found) == ["alice", "bob"]
    assert all(submission.source for submission in found.values())


def test_a_folder_a_student_holds_one_file(tmp_path):
    write(tmp_path / "alice" / "work" / "solution.py")
    write(tmp_path / "alice" / ".ipynb_checkpoints" / "solution.py")
    write(tmp_path / "alice" / "__pycache__" / "x.py")
    assert read_all(tmp_path)["alice"].source


def test_nbgraders_layout_takes_this_assignment_only(tmp_path):
    write(tmp_path / "alice" / "one-neuron" / "one-neuron.ipynb")
    write(tmp_path / "alice" / "many-neurons" / "work.py")
    submission = read_all(tmp_path)["alice"]
    assert submission.source
    assert submission.source.cells[0].name == "work.py"


def test_zips_are_unpacked_flat_and_inside_a_folder(tmp_path):
    write(tmp_path / "alice.zip", zipped(hw__work=b"", **{"hw__work.py": CODE}))
    write(tmp_path / "bob" / "upload.zip", zipped(**{"work.py": CODE, "__MACOSX__._work.py": b""}))
    found = read_all(tmp_path)
    assert found["alice"].source and found["bob"].source


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"alice/a.py": CODE, "alice/b.ipynb": b"{}"}, "2 files where one is expected"),
        ({"alice/readme.txt": b"hi"}, "no .py or .ipynb"),
        ({"alice.py": CODE, "alice.ipynb": CODE}, "both stand for alice"),
        ({"alice.zip": b"not a zip"}, "cannot be unpacked"),
        ({"alice.zip": zipped(**{"readme.txt": b""})}, "no .py or .ipynb"),
    ],
)
def test_an_ambiguity_or_nothing_is_told_with_the_name(tmp_path, files, reason):
    for name, data in files.items():
        write(tmp_path / name, data)
    submission = read_all(tmp_path)["alice"]
    assert submission.source is None
    assert reason in submission.reason


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    secret = write(tmp_path / "secret.py")
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "alice.py").symlink_to(secret)
    write(tmp_path / "class" / "bob" / "real.py")
    (tmp_path / "class" / "bob" / "link.py").symlink_to(secret)
    found = read_all(tmp_path / "class")
    assert "not a plain file" in found["alice"].reason
    assert found["bob"].source


def test_a_zip_bomb_is_refused_without_unpacking_it_all(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.py", b"#" * (64 * 2**20))
    write(tmp_path / "alice.zip", buffer.getvalue())
    assert "larger than" in read_all(tmp_path)["alice"].reason


def test_the_digest_follows_names_and_bytes(tmp_path):
    one = read_submission(Entry("a", (str(write(tmp_path / "one" / "a.py")),)), "many-neurons")
    same = read_submission(Entry("b", (str(write(tmp_path / "two" / "a.py")),)), "many-neurons")
    other = read_submission(
        Entry("a", (str(write(tmp_path / "three" / "a.py", CODE + b"#")),)), "many-neurons"
    )
    assert one.digest == same.digest != other.digest
    assert len(one.digest) == 64
