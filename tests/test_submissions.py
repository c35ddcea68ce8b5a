"""Finding what students handed in, in the layouts that course systems give."""

from __future__ import annotations

import errno
import io
import os
import socket
import stat
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.parsing.choosing import source_of
from grading.parsing.source import FILE_LIMIT
from grading.submissions import reading as submissions
from grading.submissions.opening import opened
from grading.submissions.reading import (
    Entry,
    digest_of,
    find_submissions,
    holds_only,
    read_submission,
)

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
    return {entry.name: read_submission(entry, assignment, source_of) for entry in entries}


def file_of(submission):
    """The name and the code of the one file of a submission."""
    (cell,) = submission.source.cells
    return cell.name, cell.text.encode()


def test_flat_files_go_by_their_stem(tmp_path):
    write(tmp_path / "bob.py")
    write(tmp_path / "alice.py")
    write(tmp_path / "notes.txt")
    write(tmp_path / "README.md")
    write(tmp_path / ".hidden.py")
    found = read_all(tmp_path)
    assert {name: bool(found[name].source) for name in found} == {
        "alice": True, "bob": True, "notes": False,
    }  # fmt: skip


def test_a_folder_a_student_holds_one_file(tmp_path):
    write(tmp_path / "alice" / "work" / "solution.py")
    write(tmp_path / "alice" / ".ipynb_checkpoints" / "solution.py")
    write(tmp_path / "alice" / "__pycache__" / "x.py")
    assert read_all(tmp_path)["alice"].source


def test_nbgraders_layout_takes_this_assignment_only(tmp_path):
    write(tmp_path / "alice" / "one-neuron" / "one-neuron.ipynb")
    write(tmp_path / "alice" / "many-neurons" / "work.py")
    submission = read_all(tmp_path)["alice"]
    assert file_of(submission) == ("work.py", CODE)


def test_zips_are_unpacked_flat_and_inside_a_folder(tmp_path):
    write(tmp_path / "alice.zip", zipped(hw__work=b"", **{"hw__work.py": CODE}))
    write(tmp_path / "bob" / "upload.zip", zipped(**{"work.py": CODE, "__MACOSX__._work.py": b""}))
    found = read_all(tmp_path)
    assert file_of(found["alice"]) == file_of(found["bob"]) == ("work.py", CODE)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"alice/a.py": CODE, "alice/b.ipynb": b"{}"}, "2 files where one is expected"),
        ({"alice/readme.txt": b"hi"}, "no .py or .ipynb"),
        ({"alice.py": CODE, "alice.ipynb": CODE}, "expected: alice.ipynb, alice.py"),
        ({"alice.zip": b"not a zip"}, "cannot be unpacked"),
        ({"alice.zip": zipped(**{"readme.txt": b""})}, "no .py or .ipynb"),
        ({"alice.zip": zipped(**{"a.py": CODE, "b/a.py": b"x = 1"})}, "expected: a.py, b/a.py"),
        ({"alice.zip": zipped(**{"in.zip": zipped(**{"a.py": CODE})})}, "which is not unpacked"),
        (
            {"alice/a.py": CODE, "alice/b.zip": zipped(**{"b.py": b"1"})},
            "expected: a.py, b.zip/b.py",
        ),
        ({"alice/one-neuron/a.py": CODE}, "Only one-neuron was handed in"),
        ({"alice/many-neurons": CODE}, "many-neurons is not a folder"),
        ({"alice/a.py": b"#" * (FILE_LIMIT + 1)}, "a.py is larger than 48 MiB"),
        ({"/".join(["alice", *"abcdefghijklmnopqrstuvwxyz0123456789", "a.py"]): b""}, "32 deep"),
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
    assert "alice.py is a link, which is not followed" in found["alice"].reason
    assert found["bob"].source


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes")
def test_what_is_no_plain_file_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "alice.py")
    (tmp_path / "bob").mkdir()
    os.mkfifo(tmp_path / "bob" / "work.py")
    write(tmp_path / "carol" / "work.py")
    os.mkfifo(tmp_path / "carol" / "other.py")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "dora.py"))
    found = read_all(tmp_path)
    assert "alice.py is not a plain file" in found["alice"].reason
    assert "work.py is not a plain file" in found["bob"].reason
    assert found["carol"].source
    assert "dora.py is not a plain file" in found["dora"].reason


def test_a_students_folder_that_is_a_link_is_not_followed(tmp_path):
    write(tmp_path / "elsewhere" / "work.py")
    (tmp_path / "class" / "carol").mkdir(parents=True)
    (tmp_path / "class" / "alice").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "class" / "bob").symlink_to("bob")
    (tmp_path / "class" / "carol" / "many-neurons").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "class" / "dora" / "notes.txt")
    (tmp_path / "class" / "dora" / "code").symlink_to(tmp_path / "elsewhere")
    found = read_all(tmp_path / "class")
    for name, link in {
        "alice": "alice",
        "bob": "bob",
        "carol": "many-neurons",
        "dora": "code",
    }.items():
        assert f"{link} is a link, which is not followed" in found[name].reason


def raised(folder):
    """The kind of what keeps each submission from being read, where that is the machine's."""
    found = {}
    for entry in find_submissions(folder):
        try:
            read_submission(entry, "many-neurons", source_of)
        except OSError as error:
            found[entry.name] = type(error)
    return found


@pytest.mark.permissions
def test_what_may_not_be_read_is_no_students_mistake(tmp_path):
    write(tmp_path / "alice.py").chmod(0)
    write(tmp_path / "bob" / "inner" / "work.py").parent.chmod(0)
    write(tmp_path / "carol" / "many-neurons" / "work.py").parent.parent.chmod(0o444)
    write(tmp_path / "dora.py")
    assert raised(tmp_path) == dict.fromkeys(("alice", "bob", "carol"), PermissionError)
    for folder in (tmp_path / "bob" / "inner", tmp_path / "carol"):
        folder.chmod(0o700)


def test_what_vanishes_while_it_is_read_is_no_students_mistake_and_a_link_is(tmp_path, monkeypatch):
    write(tmp_path / "alice.py")
    write(tmp_path / "bob" / "work.py")
    write(tmp_path / "carol.py")
    os_open = os.open

    def open_late(path, *args):
        if path.parent.name == "bob" or path.name == "alice.py":
            path.unlink()
        if path.name == "carol.py":
            path.unlink()
            path.symlink_to("/etc/hostname")
        return os_open(path, *args)

    monkeypatch.setattr("grading.submissions.reading.os.open", open_late)
    (carol,) = (each for each in find_submissions(tmp_path) if each.name == "carol")
    said = read_submission(carol, "many-neurons", source_of)
    assert "carol.py cannot be read" in said.reason
    assert raised(tmp_path) == dict.fromkeys(("alice", "bob"), FileNotFoundError)


def test_a_disk_that_fails_is_no_students_mistake(tmp_path, monkeypatch):
    write(tmp_path / "alice.py")

    def failing(*_args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("grading.submissions.reading.os.open", failing)
    with pytest.raises(OSError, match="Input/output"):
        read_all(tmp_path)


def test_a_folder_with_very_much_in_it_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "SEEN_LIMIT", 20)
    monkeypatch.setattr(submissions, "FILES_LIMIT", 5)
    monkeypatch.setattr(submissions, "TOTAL_LIMIT", 1000)
    write(tmp_path / "pictures" / "work.py")
    for number in range(25):
        write(tmp_path / "pictures" / "data" / f"{number}.png")
        if number < 10:
            write(tmp_path / "modules" / f"{number}.py")
    write(tmp_path / "large" / "one.py", b"#" * 600)
    write(tmp_path / "large" / "two.py", b"#" * 600)
    found = read_all(tmp_path)
    assert "more than 20 files" in found["pictures"].reason
    assert "far more code" in found["modules"].reason
    assert "far more code" in found["large"].reason


def test_a_folder_of_pictures_beside_the_code_is_fine(tmp_path):
    for number in range(300):
        write(tmp_path / "alice" / "data" / f"{number}.png")
    write(tmp_path / "alice" / "work.py")
    assert read_all(tmp_path)["alice"].source


def test_names_of_students_that_are_no_text_are_shown_escaped(tmp_path):
    write(tmp_path / os.fsdecode(b"zo\xeb.py"))
    (name,) = read_all(tmp_path)
    assert name == "zo\\udceb"


def test_submissions_of_another_assignment_are_told_apart(tmp_path):
    write(tmp_path / "alice" / "one-neuron" / "a.py")
    write(tmp_path / "bob" / "one-neuron" / "a.py")
    write(tmp_path / "bob" / "many-neurons" / "a.py")
    write(tmp_path / "carol" / "one-neuron" / "a.py")
    write(tmp_path / "carol" / "work.py")
    write(tmp_path / "dora.py")
    held = {entry.name: holds_only(entry) for entry in find_submissions(tmp_path)}
    assert held == {
        "alice": {"one-neuron"},
        "bob": {"one-neuron", "many-neurons"},
        "carol": set(),
        "dora": set(),
    }
    assert file_of(read_all(tmp_path)["carol"]) == ("work.py", CODE)


class TestZips:
    def reason(self, tmp_path, data):
        write(tmp_path / "alice.zip", data)
        submission = read_all(tmp_path)["alice"]
        assert submission.source is None
        return submission.reason

    def written(self, *members, **options):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", **options) as archive:
            for info, data in members:
                archive.writestr(info, data)
        return buffer.getvalue()

    def test_a_bomb_is_refused_without_unpacking_it_all(self, tmp_path):
        bomb = self.written(("bomb.py", b"#" * (64 * 2**20)), compression=zipfile.ZIP_DEFLATED)
        assert "larger than 48 MiB" in self.reason(tmp_path, bomb)

    def test_very_many_members_are_never_listed(self, tmp_path, monkeypatch):
        many = self.written(*((f"{number}.txt", b"") for number in range(10_001)))
        monkeypatch.delattr(zipfile, "ZipFile")
        assert "more than 10000 files" in self.reason(tmp_path, many)

    def test_a_member_without_a_name_is_none(self, tmp_path):
        data = self.written(("a.py", b"x = 1\n"), ("b.py", b"y = 1\n")).replace(b"b.py", b"\0.py")
        write(tmp_path / "alice.zip", data)
        assert read_all(tmp_path)["alice"].source.cells[0].text == "x = 1\n"
        with opened(tmp_path / "alice.zip") as (folder, _):
            assert [each.name for each in folder.iterdir()] == ["a.py"]

    def test_a_link_inside_is_not_followed(self, tmp_path):
        link = zipfile.ZipInfo("work.py")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        said = self.reason(tmp_path, self.written((link, b"/etc/passwd")))
        assert "work.py in alice.zip is a link, which is not followed" in said

    def test_a_name_that_comes_twice(self, tmp_path):
        with pytest.warns(UserWarning, match="Duplicate"):
            twice = self.written(("work.py", CODE), ("work.py", b"x = 1"))
        assert "holds work.py twice" in self.reason(tmp_path, twice)

    def test_a_password(self, tmp_path):
        data = bytearray(self.written(("work.py", CODE)))
        data[data.index(b"PK\x01\x02") + 8] |= 1
        assert "locked with a password" in self.reason(tmp_path, bytes(data))

    def test_an_unusual_method(self, tmp_path):
        data = self.written(("work.py", CODE), compression=zipfile.ZIP_LZMA)
        assert "packed in an unusual way" in self.reason(tmp_path, data)

    def test_a_name_that_is_not_utf_8(self, tmp_path):
        data = self.written(("wörk.py", CODE)).replace("ö".encode(), b"\xff\xfe")
        assert "a name that is not UTF-8" in self.reason(tmp_path, data)

    def test_a_name_that_leads_elsewhere_is_only_a_name(self, tmp_path):
        write(tmp_path / "in" / "alice.zip", self.written(("../../evil.py", CODE)))
        write(tmp_path / "in" / "bob.zip", self.written(("/etc/cron.d/evil.py", CODE)))
        write(tmp_path / "in" / "carol.zip", self.written(("hw\\work.py", CODE)))
        before = sorted(tmp_path.rglob("*"))
        found = read_all(tmp_path / "in")
        assert [file_of(each)[0] for each in found.values()] == [
            "evil.py", "evil.py", "work.py",
        ]  # fmt: skip
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_very_long_name_is_shortened_for_people(self, tmp_path):
        write(tmp_path / "alice.zip", self.written(("x" * 60_000 + ".py", CODE)))
        name, _ = file_of(read_all(tmp_path)["alice"])
        assert len(name) == 100 and name.endswith("x.py")

    @given(st.data())
    def test_any_damage_gives_code_or_a_reason(self, tmp_path_factory, data):
        names = st.sampled_from(["a.py", "b/a.py", "n.ipynb", "in.zip", "x.txt", "../é.py"])
        members = data.draw(st.dictionaries(names, st.binary(max_size=40), max_size=3))
        method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
        content = bytearray(self.written(*members.items(), compression=method))
        for _ in range(data.draw(st.integers(0, 4))):
            at = data.draw(st.integers(0, len(content)))
            gone = data.draw(st.sampled_from([0, 1, 4, 30]))
            content[at : at + gone] = data.draw(st.binary(max_size=4))
        path = write(tmp_path_factory.mktemp("zips") / "alice.zip", bytes(content))
        entry = Entry("alice", (str(path),))
        submission = read_submission(entry, "many-neurons", source_of)
        assert bool(submission.reason) == (submission.source is None)
        assert submission.digest == digest_of(entry, "many-neurons")


def test_the_digest_follows_names_and_bytes(tmp_path):
    paths = [write(tmp_path / name / "a.py") for name in ("one", "two")]
    paths.append(write(tmp_path / "three" / "a.py", CODE + b"#"))
    one, same, other = (digest_of(Entry("a", (str(path),)), "many-neurons") for path in paths)
    assert one == same != other
    assert len(one) == 64


def test_the_digest_tells_files_apart_that_have_swapped_their_names(tmp_path):
    for name, (first, second) in {"one": (b"1", b"2"), "two": (b"2", b"1")}.items():
        write(tmp_path / name / "a.py", first)
        write(tmp_path / name / "b.py", second)
    write(tmp_path / "three" / "b.py", b"1")
    write(tmp_path / "three" / "c.py", b"2")
    digests = [digest_of(each, "many-neurons") for each in find_submissions(tmp_path)]
    assert len({*digests}) == 3
    only = [write(tmp_path / "only" / name) for name in ("a.py", "b.py")]
    assert len({digest_of(Entry("x", (str(path),)), "many-neurons") for path in only}) == 2


def test_the_digest_follows_the_reason_too(tmp_path):
    write(tmp_path / "both.py")
    write(tmp_path / "both.zip")
    (tmp_path / "link.py").symlink_to(tmp_path / "both.py")
    write(tmp_path / "large.py", b"#" * (FILE_LIMIT + 1))
    (tmp_path / "none").mkdir()
    found = read_all(tmp_path)
    assert all(submission.reason for submission in found.values())
    assert len({submission.digest for submission in found.values()}) == 4
