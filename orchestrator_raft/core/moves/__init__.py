"""Moves of servers and other operations that people ask for, as plans: pure.

``model`` holds what a plan is made of, ``check`` the preconditions that many share, ``one`` and ``many`` the planners,
``table`` the rows. How a plan is carried out, resumed and undone is in ``core/recovery/operation``.
"""
