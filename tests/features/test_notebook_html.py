"""Small HTML for notebooks: whatever comes from data is text, and the reader's own colours are kept."""

from __future__ import annotations

from html.parser import HTMLParser

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import histories

from features.history import LeadHistory
from features.ingest.quarantine import QUARANTINE_SCHEMA, Quarantine
from features.notebook_html import html_bar, html_card, html_strong, html_table

ANYTHING = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1)
EVIL = "<script>alert('x')</script>"


class Read(HTMLParser):
    """The tags that a browser sees, and the text between them."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.cells = [], []
        self.feed(html)

    def handle_starttag(self, tag, _attrs):
        self.tags.append(tag)
        self.cells += [""] if tag in {"td", "th"} else []

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


@given(st.lists(st.tuples(ANYTHING, ANYTHING), max_size=3))
def test_text_from_data_stays_text(rows):
    visible = Read(html_table(("a", "<b>"), rows))
    assert visible.cells == ["a", "<b>", *(cell for row in rows for cell in row)]
    assert set(visible.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}


def test_a_caption_is_escaped_and_a_part_is_not():
    html = html_card(EVIL, EVIL, html_table(("a",), []))
    assert "script" not in Read(html).tags
    assert "table" in Read(html).tags


def test_no_colour_of_text_or_paper_is_set():
    """A notebook in the dark keeps its own; only bars have colours, readable on both papers."""
    html = html_card("a", "b", html_table(("c", "d"), [("e", "1")]))
    assert "color:inherit" in html
    assert "background:transparent" in html
    assert "#" not in html


@pytest.mark.parametrize("rows", [[("a", "1"), ("b", "-2.5 to 3")], [("a", ""), ("b", html_strong("+4"))]])
def test_figures_stand_to_the_right(rows):
    html = html_table(("name", "value"), rows)
    assert html.count("text-align:right") == len(rows) + 1
    assert html.count("text-align:left") == len(rows) + 1


def test_bars_start_in_the_middle_and_are_hidden_from_screen_readers():
    assert "margin-left:70px;width:35px" in html_bar(1, 2)
    assert "margin-left:35px;width:35px" in html_bar(-1, 2)
    assert "width:70px" in html_bar(5, 2)
    assert "width:0px" in html_bar(0, 0)
    assert "aria-hidden" in html_bar(1, 2)


@given(histories())
def test_a_history_says_how_much_it_holds_on_every_engine(history):
    cells = Read(history._repr_html_()).cells
    assert cells[cells.index("leads") + 1] == f"{history.leads.height:,}"
    assert cells[cells.index("touchpoints") + 1] == f"{history.touchpoints.height:,}"
    pandas = history.map_frames(pl.DataFrame.to_pandas)
    assert Read(pandas._repr_html_()).cells[: len(cells)].count("touchpoints") == 1
    assert f"{history.leads.height:,} leads" in repr(pandas)


def test_a_history_names_its_days_its_stages_and_its_columns():
    leads = pl.DataFrame({"lead_id": ["a", "b"], "created_at": [0, 86_400], EVIL: ["x", "y"]})
    moves = pl.DataFrame(
        {
            "lead_id": ["a", "b", "b"],
            "occurred_at": [86_400] * 3,
            "known_at": [86_400] * 3,
            "stage": ["sql", "mql", "sql"],
        }
    )
    whole = LeadHistory(leads, pl.DataFrame(schema={"kind": pl.String}), moves, 2 * 86_400)
    visible = Read(whole._repr_html_())
    assert "script" not in visible.tags
    at = visible.cells.index("leads")
    assert visible.cells[at + 1 : at + 5] == ["2", "1970-01-01", "1970-01-02", EVIL]
    assert "sql 2, mql 1" in visible.cells


def test_a_quarantine_counts_its_reasons_with_an_example_each():
    rows = [
        ("leads", "/crm/leads.csv", 3, "lead_id", EVIL, "doubled"),
        ("leads", "/crm/leads.csv", 9, "lead_id", "z", "doubled"),
        ("touchpoints", "/crm/t.csv", 4, None, None, "no kind"),
    ]
    visible = Read(Quarantine(pl.DataFrame(rows, schema=QUARANTINE_SCHEMA, orient="row"), 3)._repr_html_())
    assert visible.cells[4:8] == ["leads", "doubled", "2", f"leads.csv, row 3: lead_id {EVIL!r}"]
    assert visible.cells[8:] == ["touchpoints", "no kind", "1", "t.csv, row 4: row None"]
