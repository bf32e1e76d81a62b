#!/usr/bin/env python3
"""Draws the way of an event: `python3 docs/images/architecture.py` writes `architecture.svg` beside this file.

Nothing but the standard library, and no clock: the same picture each time. A text that does not fit its place is an error, measured by the widest font that browsers
fall back to, so that it fits in all others. A test compares the picture with what this draws.
"""

from html import escape
from pathlib import Path

PICTURE = Path(__file__).with_name("architecture.svg")
WIDTH, HEIGHT = 900, 700
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
# A card of its own colour, so that it reads the same on a light and on a dark page.
PAPER, EDGE, INK, QUIET, ACCENT, WHITE = "#f6f8fa", "#d0d7de", "#1f2328", "#57606a", "#0a5a8a", "#ffffff"
#: Ground and edge of each kind of box.
KINDS = {
    "outside": ("#eef1f4", "#8c959f"),
    "gate": ("#dbeeff", "#0a69a8"),
    "journal": ("#e4e6fd", "#5057c8"),
    "bronze": ("#f6e3d3", "#a05a24"),
    "silver": ("#e8ebef", "#6a737d"),
    "gold": ("#fbefc6", "#9a7400"),
    "aside": ("#ffffff", "#8c959f"),
}
TITLE, TEXT, SMALL = 16, 13, 12
#: Widths of characters in hundredths of the size, of DejaVu Sans, which is wider than what nearly all readers have.
NARROW, WIDE = "fijlrtI.,:;|'!/() ", "mwMW—→►"
LAWS = (
    "A yes is durable: answered after the sync",
    "Progress is data: in the commit of its rows",
    "Bronze is the truth: the bytes as they came",
    "Silver is a function of the set of Bronze rows",
    "One event, one row, with no time window",
    "Late is not lost: its own day, counted again",
    "Bad is not lost: kept, with the reason",
    "The books balance, from the tables alone",
    "Every queue, body, batch and cache is bounded",
)


def width(text: str, size: int, bold: bool = False) -> float:
    """How wide a text is at most."""
    hundredths = sum(38 if one in NARROW else 95 if one in WIDE else 70 if one.isupper() else 61 for one in text)
    return hundredths * size / 100 * (1.1 if bold else 1)


class Picture:
    """What was drawn so far."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def rectangle(self, x: int, y: int, w: int, h: int, fill: str, edge: str, radius: int = 8, dashed: bool = False) -> None:
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="{radius}" fill="{fill}" stroke="{edge}" stroke-width="1.5"{dashes}/>')

    def text(self, x: int, y: int, text: str, room: int, size: int = TEXT, bold: bool = False, colour: str = INK, anchor: str = "middle") -> None:
        if width(text, size, bold) > room:
            raise ValueError(f"{text!r} is {width(text, size, bold):.0f} wide, and there is room for {room}")
        weight = ' font-weight="700"' if bold else ""
        self.parts.append(f'<text x="{x}" y="{y}" font-size="{size}"{weight} fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>')

    def box(self, x: int, y: int, w: int, h: int, kind: str, title: str, lines: tuple[str, ...]) -> None:
        fill, edge = KINDS[kind]
        self.rectangle(x, y, w, h, fill, edge)
        middle = x + w // 2
        self.text(middle, y + 24, title, w - 12, TITLE, bold=True)
        for number, line in enumerate(lines):
            self.text(middle, y + 45 + 18 * number, line, w - 12)

    def arrow(self, *points: tuple[int, int], colour: str = INK, dashed: bool = False) -> None:
        path = "M" + " L".join(f"{x} {y}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        head = "answer" if colour == ACCENT else "flow"
        self.parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"{dashes} marker-end="url(#{head})"/>')

    def law(self, number: int, x: int, y: int) -> None:
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="11" fill="{ACCENT}" stroke="{PAPER}" stroke-width="2"/>')
        self.parts.append(f'<text x="{x}" y="{y + 4}" font-size="{SMALL}" font-weight="700" fill="{WHITE}" text-anchor="middle">{number}</text>')

    def svg(self) -> str:
        body = "\n".join(self.parts)
        heads = "\n".join(
            f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="{colour}"/></marker>'
            for name, colour in (("flow", INK), ("answer", ACCENT))
        )
        return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="title description" font-family="{FONT}">
<title id="title">The way of an event through Tidegate</title>
<desc id="description">{escape(described())}</desc>
<defs>
{heads}
</defs>
{body}
</svg>
"""


def described() -> str:
    """The picture in words, for who does not see it."""
    laws = "; ".join(f"{number}, {law}" for number, law in enumerate(LAWS, 1))
    return (
        "Applications send events over HTTP to the gate. The gate appends them to the journal, which is a file on this machine or Apache Kafka, and answers when they are synced. "
        "Workers bring them to a lake of Delta tables: Bronze, then Silver, then Gold, with dead letters and the ledger beside them. "
        f"The console, SQL, experiments and other engines read the lake. The laws, by the numbers that stand where they hold: {laws}."
    )


def draw() -> str:
    picture = Picture()
    picture.rectangle(1, 1, WIDTH - 2, HEIGHT - 2, PAPER, EDGE, radius=12)

    # The way in.
    picture.box(20, 40, 210, 118, "outside", "Applications", ("our SDKs keep what has no", "answer; clients of Segment,", "RudderStack; CloudEvents;", "files of history"))
    picture.box(345, 40, 210, 118, "gate", "Gate", ("authenticates, bounds,", "takes bodies apart, judges", "by the tracking plan", "no business logic"))
    picture.box(670, 40, 210, 118, "journal", "Journal", ("durable, ordered",))
    for x, kind, what in ((682, "embedded", "a file here"), (780, "Kafka", "replicated")):
        picture.rectangle(x, 97, 88, 50, WHITE, KINDS["journal"][1], radius=6)
        picture.text(x + 44, 118, kind, 86, bold=True)
        picture.text(x + 44, 136, what, 86, SMALL, colour=QUIET)
    picture.arrow((232, 80), (343, 80))
    picture.text(287, 72, "HTTP, JSON", 100, SMALL, colour=QUIET)
    picture.arrow((557, 80), (668, 80))
    picture.text(612, 72, "append", 100, SMALL, colour=QUIET)
    picture.arrow((668, 122), (557, 122), colour=ACCENT)
    picture.text(612, 140, "synced", 100, SMALL, colour=ACCENT)
    picture.arrow((343, 122), (232, 122), colour=ACCENT)
    picture.text(287, 140, "yes, or wait", 100, SMALL, colour=ACCENT)
    picture.law(1, 612, 101)
    picture.law(9, 345, 40)
    picture.law(7, 555, 40)

    # The lake, and the way back to the left, where it begins.
    picture.rectangle(20, 244, 648, 250, WHITE, KINDS["aside"][1], radius=10, dashed=True)
    picture.text(656, 266, "Lake: Delta tables, in a folder or on S3", 400, SMALL, colour=QUIET, anchor="end")
    picture.arrow((775, 160), (775, 206), (124, 206), (124, 282))
    picture.rectangle(248, 188, 392, 36, WHITE, KINDS["aside"][1], radius=18)
    picture.text(444, 211, "Workers: one, or one a partition of Kafka; or Spark", 384)
    picture.law(2, 640, 188)
    picture.box(36, 284, 176, 100, "bronze", "Bronze", ("every accepted event,", "raw, immutable,", "by day of receipt"))
    picture.box(258, 284, 176, 100, "silver", "Silver", ("clean, typed, unique,", "by the event's own day;", "exposures"))
    picture.box(480, 284, 176, 100, "gold", "Gold", ("aggregates, sessions,", "experiments: SQL,", "kept up to date"))
    picture.arrow((214, 334), (256, 334))
    picture.arrow((436, 334), (478, 334))
    picture.law(3, 36, 284)
    picture.law(4, 235, 312)
    picture.law(5, 258, 284)
    picture.law(6, 457, 312)

    # What stands beside it.
    picture.box(36, 424, 310, 56, "aside", "Dead letters", ("refused or not understood; recovered",))
    picture.box(368, 424, 288, 56, "aside", "Ledger", ("counts and digests of each commit",))
    for x in (124, 302, 401):
        picture.arrow((x, 386), (x, 422), dashed=True)
    picture.law(7, 36, 424)
    picture.law(8, 656, 424)

    # The readers.
    picture.box(712, 244, 168, 250, "outside", "Readers", ())
    readers = (("Console", "rates, lag, books"), ("SQL", "a shell, psql, BI"), ("Experiments", "effects, intervals"), ("Other engines", "Spark, DuckDB, …"))
    for number, (title, what) in enumerate(readers):
        top = 280 + 53 * number
        picture.rectangle(720, top, 152, 46, WHITE, KINDS["outside"][1], radius=6)
        picture.text(796, top + 19, title, 148, TEXT, bold=True)
        picture.text(796, top + 37, what, 148, SMALL, colour=QUIET)
    picture.arrow((670, 334), (710, 334))

    # What the numbers say.
    picture.text(30, 528, "The laws, where they hold", 400, TITLE, bold=True, anchor="start")
    for number, law in enumerate(LAWS, 1):
        column, row = divmod(number - 1, 5)
        x, y = 42 + 430 * column, 556 + 29 * row
        picture.law(number, x, y)
        picture.text(x + 20, y + 5, law, 400, TEXT + 1, anchor="start")
    return picture.svg()


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
