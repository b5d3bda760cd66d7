"""How much work a message is, counted and not timed: function calls and server calls of fixed runs of the path.

`recorded.txt` holds what was counted last; the test compares. Whoever changes the path on purpose renews it with
`python -m tests.work`, and says in the commit what became more, and for what.
"""
