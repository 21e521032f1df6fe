"""Tables that are broken where they are too wide: between words, by columns, never in a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table

SHORT = 12
"""Numbers of so many characters with their sign or unit are not broken between words."""


class Fitted(Table):
    """A table whose first `left` columns are words and the others numbers.

    Where it is too wide its cells are broken between words; where that is not enough it is shown as
    several, which repeat the first columns.
    """

    def __init__(self, title: str, columns: Sequence[str], left: int, caption: str) -> None:
        super().__init__(
            title=title, caption=caption or None, title_justify="left", caption_justify="left"
        )
        self.left = left
        for place, heading in enumerate(columns):
            self.add_column(heading, justify="left" if place < left else "right", overflow="fold")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        if _room(self.columns, 1, width) >= sum(_widest(_texts(one)) for one in self.columns):
            yield from super().__rich_console__(console, options)
            return
        pad = 0 if not _fits(self.columns, 1, width) and _fits(self.columns, 0, width) else 1
        parts = _parts(self.columns[: self.left], self.columns[self.left :], pad, width)
        for number, columns in enumerate(parts, start=1):
            yield self._part(columns, pad, width, first=number == 1, last=number == len(parts))

    def _part(
        self, columns: Sequence[Column], pad: int, width: int, *, first: bool, last: bool
    ) -> Table:
        """Return a table of some columns, each as wide as its words at least."""
        made = Table(
            title=self.title if first else None,
            caption=self.caption if last else None,
            title_justify="left",
            caption_justify="left",
            padding=(0, pad),
        )
        widths = _widths(columns, _room(columns, pad, width))
        for column, wide in zip(columns, widths, strict=True):
            made.add_column(
                column.header, justify=column.justify, overflow="fold", width=max(wide, 1)
            )
        cells = [list(column.cells) for column in columns]
        for place, row in enumerate(self.rows):
            texts = (of_column[place] for of_column in cells)
            made.add_row(*texts, style=row.style, end_section=row.end_section)
        return made


def _parts(
    words: Sequence[Column], numbers: Sequence[Column], pad: int, width: int
) -> list[list[Column]]:
    """Return the columns in as few parts, alike in length, as have room each."""
    parts = [[*words, *numbers]]
    for count in range(1, len(numbers) + 1):
        each = -(-len(numbers) // count)
        starts = range(0, len(numbers), each)
        parts = [[*words, *numbers[begin : begin + each]] for begin in starts]
        if all(_fits(part, pad, width) for part in parts):
            break
    return parts


def _fits(columns: Sequence[Column], pad: int, width: int) -> bool:
    """Tell whether all words have room."""
    return sum(_widest(_words(one)) for one in columns) <= _room(columns, pad, width)


def _room(columns: Sequence[Column], pad: int, width: int) -> int:
    """Return what borders and `pad` spaces on either side leave of a width."""
    return width - (2 * pad + 1) * len(columns) - 1


def _widths(columns: Sequence[Column], room: int) -> list[int]:
    """Return how wide each column is: as its longest word; what is left goes to cells, then to
    headings, always to the narrowest that lacks some. Where there is less, the widest have less."""
    widths = [_widest(_words(one)) for one in columns]
    cells = [_widest(_texts(one)[1:]) for one in columns]
    for wanted in (cells, [_widest(_texts(one)) for one in columns]):
        while sum(widths) < room:
            lacking = [place for place, width in enumerate(widths) if width < wanted[place]]
            if not lacking:
                break
            widths[min(lacking, key=widths.__getitem__)] += 1
    for _ in range(sum(widths) - room):
        widths[widths.index(max(widths))] -= 1
    return widths


def _texts(column: Column) -> list[str]:
    return [str(text) for text in (column.header, *column.cells)]


def _words(column: Column) -> list[str]:
    heading, *cells = _texts(column)
    if column.no_wrap or (column.justify == "right" and _widest(cells) <= SHORT):
        return [*heading.split(), *cells]
    return [word for text in (heading, *cells) for word in text.split()]


def _widest(texts: Iterable[str]) -> int:
    return max((len(line) for text in texts for line in text.splitlines()), default=0)
