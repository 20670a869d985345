"""Recorded ballots of real models, cast again through real consensus tasks.

``python -m tests.bench.ballots PATH`` (``make ballots DATA=PATH``) reads a CSV file (also .gz, or a folder
with one) with a row for each question: ``answer``, further facts, and a column for each model with the
letter it chose, empty where it chose none. One agent stands for each model and says what is recorded;
a server holds a vote of five for each question.

Each rule is run three times: all are asked, which is what the others are held against; with early decision
one after the other; and with early decision all at once, by agents that take 20 to 50 ms each. A panel has
as many members as there are voters, so the electorate of a question is the same each time, and the winner
has to be as well. The winners of votes with equal weights are held against a plain count too.

What is graded are the ballots on a tenth of the questions. Those are in no score.
"""
