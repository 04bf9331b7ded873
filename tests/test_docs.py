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


CITATION = re.compile(r"(?:\b([a-z_]+), )?\beqs?\. ((?:[A-Z]?\d+[ab]?(?:, | to )?)+)")


def test_every_equation_that_code_cites_is_there():
    """Those of other works have no page of ours before them, and no letter."""
    tags = {page.stem: re.findall(r"\\tag\{(\w+)\}", page.read_text()) for page in PAGES}
    everywhere = {tag for numbers in tags.values() for tag in numbers}
    sources = [path for folder in ("cace_qeq", "benchmarks", "tests") for path in (REPOSITORY / folder).rglob("*.py")]
    cited = [citation for path in sources for citation in CITATION.findall(path.read_text())]
    by_page = {(page, tag) for page, numbers in cited if page in tags for tag in equations(numbers)}
    by_letter = {tag for page, numbers in cited if page not in tags for tag in equations(numbers) if tag[0].isalpha()}
    assert len(by_page) > 30
    assert len(by_letter) > 5
    assert sorted((page, tag) for page, tag in by_page if tag not in tags[page]) == []
    assert sorted(by_letter - everywhere) == []


def equations(text: str) -> list[str]:
    """All of "E5, E6" and of "14 to 16"."""
    found = re.findall(r"[A-Z]?\d+[ab]?", text)
    for first, last in re.findall(r"([A-Z]?\d+) to ([A-Z]?\d+)", text):
        letter = first.rstrip("0123456789")
        numbers = range(int(first.removeprefix(letter)), int(last.removeprefix(letter)))
        found += [f"{letter}{number}" for number in numbers]
    return found


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
