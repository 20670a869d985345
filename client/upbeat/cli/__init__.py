"""The command line: what a person or a script does with an upbeat server.

Every command is one call, or one watch, through ``connection.py``; what comes
back is shown by ``screen.py`` as a table for people or as JSON for programs.
Standard output carries the answer and nothing else; words about it (progress,
warnings, failures) go to standard error. Whatever a task, an agent or a server
says is shown through ``formats.visible`` or as JSON, never as markup: a task
cannot write to the terminal of whoever looks at it.

Failures become one of the exit codes of ``failure.py``; no command shows a
traceback. Packages add commands through the entry-point group
``upbeat.commands`` (``extensions.py``).
"""
