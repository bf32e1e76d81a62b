"""The pictures that scripts draw are what the scripts draw now."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs/images"
SVG = "{http://www.w3.org/2000/svg}"

sys.path.insert(0, str(IMAGES))
import architecture  # noqa: E402


def test_the_picture_of_the_architecture_is_what_its_script_draws():
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.draw(), "python3 docs/images/architecture.py draws it anew"


def test_it_can_be_read_without_being_seen():
    picture = ElementTree.fromstring(architecture.draw())
    labels = {element.get("id"): element.text for element in picture if element.tag in (f"{SVG}title", f"{SVG}desc")}
    assert picture.get("role") == "img" and picture.get("aria-labelledby").split() == list(labels) and all(labels.values())


def test_its_laws_are_those_of_the_readme_in_their_order():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    laws = re.findall(r"^\| \*\*(.+?)\.?\*\*", readme[readme.index("## The laws") :], re.MULTILINE)
    assert len(laws) == len(architecture.LAWS) == 9
    for law, drawn in zip(laws, architecture.LAWS, strict=True):
        # The last one has no room for all of its nouns.
        assert re.split(r"[:,]", drawn)[0] in law or drawn.startswith("Every queue"), (law, drawn)


def test_a_text_without_room_is_an_error():
    picture = architecture.Picture()
    picture.text(0, 0, "short", 40)
    try:
        picture.text(0, 0, "not as short as that", 40)
    except ValueError as error:
        assert "there is room for 40" in str(error)
    else:
        raise AssertionError("it was drawn")
