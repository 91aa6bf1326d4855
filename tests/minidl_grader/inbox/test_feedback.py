"""Reports are right and legible, run nothing, load nothing and reveal nothing hidden."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from minidl_grader import instructor
from minidl_grader.inbox import feedback, summary, tables

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def demand(
    key="values", passed=True, wanted="1", counted="1", where="3 ranks, 6 elements", says=None
):
    return {
        "demand": key,
        "says": says or f"the {key} are right",
        "passed": passed,
        "wanted": wanted,
        "counted": counted,
        "where": where,
        "points": 2.0,
        "earned": 2.0 * passed,
    }


def task(name="90-shift", state="passed", earned=6.0, points=6.0, demands=(), **more):
    return {
        "task": name,
        "title": name,
        "points": points,
        "earned": earned,
        "state": state,
        "demands": list(demands),
        "message": "",
        "picture": "",
        "challenge": None,
    } | more


def result(key="ada", tasks=None, **more):
    return {
        "key": key,
        "place": f"inbox/{key}.ipynb",
        "exercise": "90_sample",
        "learner": key.title(),
        "seed": 7,
        "isolation": ["own user", "no network"],
        "tasks": [task()] if tasks is None else tasks,
        "notes": [],
        "problem": "",
        "notebook": "",
        "checks": {},
        "seconds": {"judge": 1.5},
    } | more


def hostile():
    """A result in which every text that may come from a submission is an attack."""
    bad = demand(passed=False, wanted=EVIL, counted=EVIL, where=EVIL, says=EVIL)
    return result(
        "mallory",
        [
            task(
                state="partly",
                earned=3.0,
                demands=[bad],
                message=EVIL,
                title=EVIL,
                picture=f"<svg>{EVIL}</svg>",
                challenge={"seconds": 1e-6, EVIL: EVIL},
            )
        ],
        learner=EVIL,
        notes=[EVIL],
        problem=EVIL,
        notebook=EVIL,
        isolation=[EVIL],
        exercise=EVIL,
    )


class Tags(HTMLParser):
    """All tags of a page, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.open += [tag] if tag not in ("meta", "img") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "page",
    [
        lambda: feedback.feedback_page(hostile()),
        lambda: summary.summary_page([hostile(), hostile()]),
    ],
)
def test_nothing_of_a_submission_becomes_markup(page):
    tags = Tags(page())
    assert not tags.open and {tag for tag, _ in tags.found} <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "p",
        "b",
        "ul",
        "li",
        "section",
        "div",
        "pre",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "caption",
        "figure",
        "img",
        "figcaption",
    }
    assert all(not name.startswith("on") for _, attributes in tags.found for name in attributes)
    assert all(
        attributes["src"].startswith("data:image/svg+xml;base64,")
        for tag, attributes in tags.found
        if tag == "img"
    )


@pytest.mark.parametrize(
    "page", [lambda: feedback.feedback_page(result()), lambda: summary.summary_page([result()])]
)
def test_a_page_asks_nothing_of_the_network_and_follows_the_theme(page):
    text = page()
    assert (
        not re.search(r"https?:|//|url\(|@import|<script|<link", text)
        and "default-src 'none'" in text
    )
    assert "color-scheme: light dark" in text and "background: Canvas" in text


def test_feedback_tells_wanted_counted_where_and_the_isolation():
    failed = demand(
        "bytes", False, "168", "336", "2 ranks, 84 elements", "each rank sends 168 bytes"
    )
    text = feedback.feedback_page(
        result(
            tasks=[task(state="partly", earned=3.0, demands=[demand(), failed], picture="<svg/>")],
            notes=["Edited checks were ignored: cell 7."],
        )
    )
    for words in (
        "3 of 6 points",
        "each rank sends 168 bytes",
        "<td>168</td><td>336</td><td>2 ranks, 84 elements</td>",
        "Edited checks were ignored: cell 7.",
        "own user; no network",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "&#10003; yes",
        "&#10007; no",
        "Seed of your variant: 7",
    ):
        assert words in text


def test_not_done_is_said_without_a_wall():
    text = feedback.feedback_page(result(tasks=[task(state="not done", earned=0.0)]))
    assert "Not done yet." in text and "<pre>" not in text and "demanded" not in text


def test_csv_has_a_column_per_task_and_no_formula():
    results = [
        result("ada"),
        result("mallory", learner="=cmd|' /C calc'!A0", problem="-1", exercise="", tasks=[]),
        result("bo", notes=['Cell, with "quotes"']),
    ]
    rows = list(csv.reader(io.StringIO(tables.csv_text(results))))
    assert rows[0] == ["submission", "learner", "exercise", "points", "of", "90-shift", "remark"]
    assert rows[1] == ["ada", "Ada", "90_sample", "6.0", "6.0", "6.0", ""]
    assert (
        rows[2][1] == "'=cmd|' /C calc'!A0"
        and rows[2][6] == "'-1"
        and rows[2][5] == ""
        and rows[3][6] == 'Cell, with "quotes"'
    )


def test_gradescope_gets_a_test_per_task():
    given = json.loads(
        json.dumps(
            tables.gradescope(
                result(
                    tasks=[
                        task(),
                        task("90-twice", "wrong", 0.0, 4.0, [demand(passed=False, counted="2")]),
                    ]
                )
            )
        )
    )
    assert (
        given["score"] == 6 == sum(test["score"] for test in given["tests"])
        and sum(test["max_score"] for test in given["tests"]) == 10
    )
    assert [test["status"] for test in given["tests"]] == ["passed", "failed"] and given[
        "execution_time"
    ] == 2
    assert (
        given["tests"][1]["output"]
        == "no   the values are right: wanted 1, counted 2 (3 ranks, 6 elements)"
    )
    settings = {"visible", "hidden", "after_due_date", "after_published"}
    assert {
        given["visibility"],
        given["stdout_visibility"],
        *(test["visibility"] for test in given["tests"]),
    } <= settings
    assert {given["output_format"], *(test["output_format"] for test in given["tests"])} <= {
        "text",
        "html",
        "simple_format",
        "md",
        "ansi",
    }


def test_junit_has_a_test_per_demand_and_stays_xml_whatever_a_message_holds():
    bad = result(
        "bo",
        [
            task(
                state="partly",
                demands=[demand(), demand("bytes", False)],
                message="\x00\x1b[31m\ud800 <&> \uffff",
            ),
            task("90-twice", "not done", 0.0),
        ],
    )
    root = ElementTree.fromstring(
        tables.junit([result("ada", [task(demands=[demand()])]), bad, hostile()]).encode("utf-8")
    )
    assert [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in root] == [
        ("ada", "1", "0"),
        ("bo", "3", "2"),
        ("mallory", "1", "1"),
    ]
    assert "<&>" in root[1].find(".//failure").get("message")


def test_the_table_is_aligned_and_steers_no_terminal():
    text = tables.terminal(
        [
            result("ada"),
            result(
                "bo",
                learner="\x1b[2J\x07Bo\n",
                notes=["A note that is much longer than the line. " * 5],
            ),
        ],
        width=80,
    )
    lines = text.splitlines()
    assert lines[0].split() == [
        "submission",
        "learner",
        "exercise",
        "points",
        "of",
        "shift",
    ] and lines[1].index("90_sample") == lines[2].index("90_sample")
    assert "\x1b" not in text and len(lines) == 3 and max(map(len, lines)) <= 80


def test_each_exercise_has_a_table_of_its_own_on_the_terminal():
    one, two = tables.terminal(
        [result("ada"), result("bo", [task("91-turn")], exercise="91_other"), result("cy")]
    ).split("\n\n")
    assert (
        len(one.splitlines()) == 3
        and one.splitlines()[0].endswith("shift")
        and two.splitlines()[0].endswith("turn")
    )


def class_of(many):
    whole = demand("bytes", False, "8", "24", "3 ranks, 6 elements", "each rank sends 8 bytes")
    return [
        result(
            f"s{i}",
            [
                task(
                    state="partly" if i % 3 == 0 else "passed",
                    earned=3.0 if i % 3 == 0 else 6.0,
                    demands=[
                        demand(),
                        whole if i % 3 == 0 else demand("bytes", says=whole["says"]),
                    ],
                )
            ],
        )
        for i in range(many)
    ]


def test_the_summary_says_what_the_class_did_not_understand():
    text = summary.summary_text(
        class_of(9) + [result("last", [task(state="not done", earned=0.0)])]
    )
    assert text.startswith("10 submissions, median 6 of 6 points, mean 4.5.")
    assert (
        "90-shift: 6 passed, 3 partly, 1 not done" in text
        and "  3 of 10 move whole tensors" in text
    )
    assert "###########.....   6 of 9    each rank sends 8 bytes" in text and re.search(
        r"50 to 60 %  #+ 3\n", text
    )
    page = summary.summary_page(class_of(9))
    assert "3 of 9 move whole tensors." in page and "6 of 9 pass" in page


@pytest.mark.parametrize(
    "wanted, counted, where, words",
    [
        ("168", "336", "2 ranks, 84 elements", "send more bytes than needed"),
        ("at most 1,000", "4,000", "4 ranks, 5 elements", "move whole tensors"),
        (
            "rank 0: 8, rank 1: 0",
            "rank 0: 4, rank 1: 0",
            "4 ranks, 2 elements",
            "send fewer bytes than needed",
        ),
        ("8", "8", "", "send another number of bytes"),
        ("8", "20", "5 ranks, 5 elements", "move whole tensors"),
    ],
)
def test_bytes_tell_how_an_answer_is_wrong(wanted, counted, where, words):
    assert summary.mistake(demand("bytes", False, wanted, counted, where)) == words


def test_the_summary_flags_one_name_under_two_submissions_and_names_problems():
    text = summary.summary_text(
        [
            result("a", learner="Ada"),
            result("b", learner="ada"),
            result("c", learner=""),
            result("d", problem="The file is empty.", learner=""),
        ]
    )
    assert (
        "The same name stands in a and b: Ada (90_sample)." in text
        and "1 could not be graded: d." in text
        and "1 without a name" in text
    )
    assert summary.summary_text([]).startswith("No submission was found.")


def test_the_fastest_of_an_open_challenge_are_listed():
    times = [
        result(key, [task("90-race", challenge={"seconds": seconds, "bound": 1e-6})])
        for key, seconds in (("bo", 3e-6), ("ada", 2e-6))
    ]
    assert re.search(r"90-race: the fastest\n +2 us  Ada\n +3 us  Bo", summary.summary_text(times))


def test_every_report_is_written(tmp_path):
    instructor.write_reports([result("ada"), hostile()], tmp_path)
    written = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert written == {
        "grades.csv",
        "junit.xml",
        "summary.txt",
        "summary.html",
        "feedback/ada.html",
        "feedback/mallory.html",
        "gradescope/ada/results.json",
        "gradescope/mallory/results.json",
    }
