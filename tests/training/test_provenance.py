"""Which commit a result is of."""

from pathlib import Path

import pytest

from cace_qeq.training.provenance import commit_of, git


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for path in ("package/code.py", "benchmarks/results/one.json", "docs/figures/one.png"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("before")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "one")
    return tmp_path


def test_what_benchmarks_write_is_no_change(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    for path in ("benchmarks/results/one.json", "docs/figures/one.png", "untracked.txt"):
        (checkout / path).write_text("after")
    assert commit_of(checkout / "package", "code.py") == head


@pytest.mark.parametrize("path", ["package/code.py", "docs/guide.md"])
def test_other_changes_are_told(checkout, path):
    (checkout / path).write_text("after")
    git(checkout, "add", path)
    assert commit_of(checkout / "package", "code.py") == f"{git(checkout, 'rev-parse', 'HEAD')}-dirty"


def test_an_installed_package_has_no_commit(checkout, tmp_path_factory):
    (checkout / "package" / "installed.py").write_text("")
    assert commit_of(checkout / "package", "installed.py") is None
    assert commit_of(tmp_path_factory.mktemp("elsewhere"), "code.py") is None
