"""The documentation's links lead somewhere and its self-contained examples run."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted([*(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", ["docs/howto/charges.md"])
def test_examples_run(page):
    for block in re.findall(r"^```python\n(.*?)^```", (REPOSITORY / page).read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(block, page, "exec"), {})


@pytest.mark.parametrize("name", ["quickstart", "tests"])
def test_readme_marks_its_two_commands(name):
    """Continuous integration runs the block under each marker; it has to be one line."""
    blocks = re.findall(rf"^<!-- command: {name} -->\n```bash\n(.*?)^```", readme(), re.DOTALL | re.MULTILINE)
    assert [block.count("\n") for block in blocks] == [1]


def readme() -> str:
    return (REPOSITORY / "README.md").read_text()
