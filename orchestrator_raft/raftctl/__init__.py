"""The admin's command: a client of the HTTP API and nothing else.

Rules: it starts fast, so this package imports the standard library, click and the rows of ``operations``, and rich only
once there is something to draw on a terminal. Where a sub-command is one operation, it is generated from that row.

``requests`` makes an operation a request, ``client`` sends it, ``views`` makes JSON readable values, ``output`` shows
them; ``commands`` and ``main`` are the command line; ``gather`` and ``status`` the one command that asks every node;
``reference`` the page about all of them.
"""
