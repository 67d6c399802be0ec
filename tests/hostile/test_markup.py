"""Answers that try to run or load something in the reader's browser, in every HTML that a notebook shows."""

from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from llm_streaming.notebook.live_output import escaped, markdown_renderer, table

VECTORS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//x.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img/src=x/onerror=alert(1)>",
    "<img src=x onerror=alert(1)//",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext></table><img src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<iframe src=javascript:alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=javascript:alert(1)>",
    "<embed src=//x.example/x>",
    "<link rel=stylesheet href=//x.example/x.css>",
    "<style>@import '//x.example/x.css';</style>",
    "<meta http-equiv=refresh content='0;url=//x.example'>",
    "<base href=//x.example/>",
    "<form action=//x.example><button>go</button></form>",
    "<details open ontoggle=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "</pre><script>alert(1)</script>",
    "</td></tr></table><script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\x00<script>alert(1)</script>",
    "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:msgbox(1))",
    "<javascript:alert(1)>",
    "![x](http://x.example/said)",
    "![x](javascript:alert(1))",
    "[![x](http://x.example/said)](http://x.example)",
    "[x]: javascript:alert(1)\n\n[x]",
    '[x](http://x.example "onmouseover=alert(1)")',
    '[x](http://x.example"onmouseover="alert(1))',
    '```"><script>alert(1)</script>\nx\n```',
    "`<script>alert(1)</script>`",
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
]
RENDERERS = {
    "text": escaped,
    "table": lambda text: table([text], [[text, text]]),
    "markdown": markdown_renderer(),
}
HARMLESS = {"a", "blockquote", "br", "code", "em", "h1", "h2", "hr", "li", "ol", "p", "pre", "s", "strong", "ul"}
HARMLESS |= {"table", "tbody", "td", "th", "thead", "tr"}
ATTRIBUTES = {"align", "class", "href", "scope", "start", "style", "title", "valign", "width"}


class Dangers(HTMLParser):
    """Collects the tags, attributes and addresses of a page that could run or load something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[object] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in HARMLESS:
            self.found.append(tag)
        for name, value in attrs:
            scheme = urlsplit(value or "").scheme if name == "href" else ""
            if name not in ATTRIBUTES or scheme not in ("", "http", "https") or "url(" in (value or ""):
                self.found.append((name, value))

    def handle_comment(self, data: str) -> None:
        self.found.append(data)

    def handle_decl(self, decl: str) -> None:
        self.found.append(decl)

    def unknown_decl(self, data: str) -> None:
        self.found.append(data)


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("vector", VECTORS)
def test_nothing_in_an_answer_runs_or_loads(renderer: str, vector: str) -> None:
    assert Dangers(RENDERERS[renderer](vector)).found == []


def test_the_check_itself_finds_dangers() -> None:
    pages = [vector for vector in VECTORS if vector.startswith("<") and vector.endswith(">") and ":alert" not in vector]
    assert [page for page in pages if not Dangers(page).found] == []
    assert Dangers('<a href="JaVa\nscript:alert(1)">x</a>').found == [("href", "JaVa\nscript:alert(1)")]
