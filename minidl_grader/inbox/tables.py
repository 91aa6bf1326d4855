"""In which forms do grades leave minidl?

    grades.csv                   a line per submission, a column per task: for a spreadsheet or a learning platform
    gradescope/ada/results.json  as Gradescope's autograders write it
    junit.xml                    a test per demand, for what reads test reports
    on the terminal              the same, aligned

Names come from submissions. In a spreadsheet a cell that begins with = would be a formula, so it gets a quote.
"""

import csv
import io
import json
import xml.etree.ElementTree as ElementTree

from minidl_grader.course.cells import write_aside
from minidl_grader.inbox.score import earned

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rows(results):
    """(columns, rows) of all results; a column per task, with its points."""
    tasks = list(dict.fromkeys(task["task"] for result in results for task in result["tasks"]))
    columns = ["submission", "learner", "exercise", "points", "of", *tasks, "remark"]
    made = []
    for result in results:
        points, most = earned(result)
        own = {task["task"]: task["earned"] for task in result["tasks"]}
        made.append(
            [
                result["key"],
                result["learner"],
                result["exercise"],
                points,
                most,
                *(own.get(task, "") for task in tasks),
                remark(result),
            ]
        )
    return columns, made


def remark(result):
    """What somebody who looks at grades must know of a result, in a sentence or two."""
    return " ".join(
        [result["problem"]] * bool(result["problem"])
        + [note for note in result["notes"] if not note.startswith("Tags")]
    )


def terminal(results, width=110):
    """Aligned tables for the terminal, one for each exercise."""
    by_exercise = {}
    for result in results:
        by_exercise.setdefault(result["exercise"], []).append(result)
    return "\n\n".join(aligned(group, width) for group in by_exercise.values())


def aligned(results, width):
    """One table: task columns without the exercise's number."""
    columns, lines = rows(results)
    cut = [
        [f"{value:g}" if isinstance(value, float) else plain(value) for value in line]
        for line in lines
    ]
    heads = [column.split("-", 1)[-1][:14] for column in columns[:-1]]
    widths = [max([len(head), *(len(line[i]) for line in cut)]) for i, head in enumerate(heads)]
    side = lambda i: str.rjust if i >= 3 else str.ljust
    made = [
        "  ".join(side(i)(text, widths[i]) for i, text in enumerate(line[:-1]))
        + ("  " + line[-1] if line[-1] else "")
        for line in [[*heads, ""], *cut]
    ]
    return "\n".join(
        line.rstrip() if len(line) <= width else line[: width - 4].rstrip() + " ..."
        for line in made
    )


def plain(value):
    """A text of one line, without what steers a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))


def csv_text(results):
    """grades.csv as text."""
    columns, lines = rows(results)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for line in lines:
        writer.writerow(
            [
                f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
                for value in line
            ]
        )
    return file.getvalue()


def gradescope(result):
    """Gradescope's results.json of one submission, as a dict: a test per task."""
    points, _ = earned(result)
    tests = [
        {
            "name": task["title"],
            "number": task["task"],
            "score": task["earned"],
            "max_score": task["points"],
            "status": "passed" if task["state"] == "passed" else "failed",
            "output": words(task),
            "output_format": "text",
            "visibility": "visible",
        }
        for task in result["tasks"]
    ]
    return {
        "score": points,
        "execution_time": round(sum(result["seconds"].values())),
        "output": about(result),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
        "extra_data": {
            "learner": result["learner"],
            "exercise": result["exercise"],
            "seed": result["seed"],
            "isolation": result["isolation"],
        },
    }


def about(result):
    """All that is said of a submission as a whole."""
    lines = [result["problem"], result["notebook"], *result["notes"]]
    return "\n".join(line for line in lines if line) or "Nothing to remark."


def words(task):
    """A task's demands, a line each."""
    lines = [task["message"]] if task["message"] else []
    lines += [
        f"{'yes' if demand['passed'] else 'no '}  {demand['says']}" + figures(demand)
        for demand in task["demands"]
    ]
    return "\n".join(lines) or task["state"]


def figures(demand):
    """ ": wanted 3, counted 6 (4 ranks, 84 elements)"; "" where a passed demand has nothing to show."""
    if demand["passed"] and demand.get("wanted", "") == demand.get("counted", ""):
        return ""
    place = f" ({demand['where']})" if demand.get("where") else ""
    return f": wanted {demand.get('wanted', '')}, counted {demand.get('counted', '')}{place}"


def junit(results):
    """All results as JUnit XML: a suite per submission, a test per demand of each task."""
    root = ElementTree.Element("testsuites", name="minidl")
    for result in results:
        suite = ElementTree.SubElement(
            root, "testsuite", name=result["key"], time=f"{sum(result['seconds'].values()):.3f}"
        )
        failed = total = 0
        for task in result["tasks"]:
            for demand in task["demands"] or [
                {
                    "says": "done",
                    "passed": task["state"] == "passed",
                    "wanted": "",
                    "counted": task["state"],
                }
            ]:
                case = ElementTree.SubElement(
                    suite, "testcase", classname=task["task"], name=legal(demand["says"])
                )
                total, failed = total + 1, failed + (not demand["passed"])
                if not demand["passed"]:
                    ElementTree.SubElement(
                        case,
                        "failure",
                        message=legal((task["message"] or figures(demand)).strip(": ")),
                    )
        suite.set("tests", str(total))
        suite.set("failures", str(failed))
        ElementTree.SubElement(suite, "system-out").text = legal(about(result))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def legal(text):
    """The text without characters that XML does not allow."""
    return "".join(
        letter
        if letter in "\t\n"
        or " " <= letter <= "\ud7ff"
        or "\ue000" <= letter <= "\ufffd"
        or letter > "\uffff"
        else "?"
        for letter in str(text)
    )


def write_all(results, out):
    """Write every form below `out`."""
    write_aside(out / "grades.csv", csv_text(results))
    write_aside(out / "junit.xml", junit(results))
    for result in results:
        write_aside(
            out / "gradescope" / result["key"] / "results.json",
            json.dumps(gradescope(result), indent=1),
        )
