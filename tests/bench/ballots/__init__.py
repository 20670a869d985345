"""Recorded ballots of real models, cast again through real consensus tasks.

``python -m tests.bench.ballots PATH`` (``make ballots DATA=PATH``) reads a CSV file (also .gz, or a folder
with one) with a row for each question: ``answer``, further facts, and a column for each model with the
letter it chose, empty where it chose none. One agent stands for each model and says what is recorded;
a server holds a vote of five for each question.

Each rule is run three times: all are asked, which is what the others are held against; with early decision
one after the other; and with early decision all at once, by agents that take 20 to 50 ms each. A panel has
as many members as there are voters, so the electorate of a question is the same each time, and the winner
has to be as well. With equal weights each winner is also held against plain counts by hand, one for each
way in which those who were not asked could have been: where ties are broken by who was asked first, that
is the check, because who has which seat differs from run to run.

What is graded is what every model answers to a tenth of the questions, before any vote. Those are in no
score.
"""
