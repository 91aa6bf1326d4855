"""What an instructor runs: exercises from solutions, points and feedback from submissions.

    instructor.py      the commands `minidl release` and `minidl grade`
    course/            from solutions to exercises
      cells.py         what each cell of a notebook is for
      release.py       stubs in place of solutions, nothing hidden in them
      hints.py         hints leave the source of a check
      right_answers.py what a right answer sends, recorded without its code
      nbgrader.py      the same exercises for nbgrader
    judge/             what is a submission worth? Its code runs locked in, what it did is counted
                       outside
    inbox/             from what was handed in to points and feedback
      handed_in.py     files, folders and zip files, as a list of submissions
      submission.py    bytes, as the cells of a notebook
      assemble.py      the learner's answers in the instructor's notebook
      score.py         several submissions at once, each result stored
      feedback.py      a page for each student
      summary.py       what the class did not understand
      tables.py        CSV, Gradescope, JUnit, the terminal
      nbgrader_grades.py   submissions and points for nbgrader

Imports point up this list: inbox uses judge and course, and neither of them uses inbox. minidl
itself uses nothing of it, and no learner's notebook imports it.
"""
