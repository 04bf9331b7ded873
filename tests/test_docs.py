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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_to_sections_find_them(page):
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text())
    targets = [(page.parent / path if path else page, section) for path, section in links]
    assert [section for target, section in targets if section not in sections(target)] == []


def sections(page: Path) -> set[str]:
    """As mkdocs and GitHub address them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


CITATION = re.compile(r"\b([a-z_]+), eqs?\. ((?:[A-Z]?\d+[ab]?(?:, | to )?)+)")


def test_every_equation_that_code_cites_is_there():
    cited = {
        (page, number)
        for source in (REPOSITORY / "cace_qeq").rglob("*.py")
        for page, numbers in CITATION.findall(source.read_text())
        for number in re.findall(r"[A-Z]?\d+[ab]?", numbers)
        if (REPOSITORY / "docs" / f"{page}.md").exists()
    }
    assert len(cited) > 30
    there = {(page.stem, tag) for page in PAGES for tag in re.findall(r"\\tag\{(\w+)\}", page.read_text())}
    assert sorted(cited - there) == []


@pytest.mark.parametrize("page", ["docs/howto/charges.md", "docs/howto/python.md"])
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
