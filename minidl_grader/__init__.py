"""What an instructor runs: exercises out of solutions, submissions in, points and feedback. No learner's notebook imports it."""
