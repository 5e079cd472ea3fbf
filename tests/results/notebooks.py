"""Read a table as a notebook displays it."""

from html.parser import HTMLParser


class _Cells(HTMLParser):
    """Collects tags, attributes and the text of each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.styles: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.styles |= {str(value) for name, value in attrs if name == "style"}
        if tag in ("tr", "caption"):
            self.rows.append([])
        if tag in ("th", "td", "caption"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.rows[-1][-1] += data


def displayed(html: str) -> list[list[str]]:
    """Return the text of each cell; the first row is the caption.

    The table has no colour of its own, which would be wrong in a dark or in a light notebook, and
    no element but those of a table.
    """
    page = _Cells()
    page.feed(html)
    page.close()
    assert page.tags == {"table", "caption", "tbody", "tr", "th", "td"}
    assert not any(word in style for style in page.styles for word in ("color", "background", "#"))
    return page.rows
