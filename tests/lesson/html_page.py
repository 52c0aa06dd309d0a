"""What tests of a page share: its elements, and a text that tries to take the page over."""

from __future__ import annotations

from html.parser import HTMLParser

ATTACK = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\"> & <b>"
# Elements that have no end.
VOID = {"br", "col", "img", "input", "link", "meta"}


class Page(HTMLParser):
    """A page's elements: every tag with its attributes, the text of its code lines, and of its scripts.

    Each element must be closed in its turn.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.lines: dict[str, str] = {}
        self.scripts: list[str] = []
        self._open: list[str] = []
        # The line of code that it is in, and how many elements are open there.
        self._line: tuple[str, int] | None = None
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        attribute_values = dict(attributes)
        self.tags.append((tag, attribute_values))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")
        elif self._line is None and (attribute_values.get("class") or "").startswith("line"):
            self._line = attribute_values["id"], len(self._open)
            self.lines[attribute_values["id"]] = ""

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self._open.pop() == tag
        if self._line is not None and len(self._open) < self._line[1]:
            self._line = None

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self._line is not None:
            self.lines[self._line[0]] += data
