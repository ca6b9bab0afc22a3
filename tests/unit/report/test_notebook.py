"""Results in a notebook: what is shown is there, and is text where it is text."""

from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from noise2map_core.report.notebook import Shown


@dataclass(frozen=True)
class Result(Shown):
    output: Path

    def files(self) -> Mapping[str, Path]:
        return {"picture": self.output / "quick look.png", "report": self.output / "report.html"}

    def summary(self) -> list[str]:
        return ["1 ha <b>changed</b>", "map  https://x.org/a?X-Amz-Signature=secret"]


class Read(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_result_shows_its_picture_its_lines_and_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = Result(tmp_path / "out")
    assert "img" not in [tag for tag, _ in Read(result._repr_html_()).tags]
    result.output.mkdir()
    Image.new("RGB", (4, 4), "red").save(result.output / "quick look.png")
    page = Read(result._repr_html_())
    (picture,) = [told for tag, told in page.tags if tag == "img"]
    assert str(picture["src"]).startswith("data:image/png;base64,")
    links = [told["href"] for tag, told in page.tags if tag == "a"]
    assert links == ["out/quick look.png", "out/report.html"]
    assert "1 ha <b>changed</b>" in page.text and "b" not in [tag for tag, _ in page.tags]
    assert "secret" not in page.text
