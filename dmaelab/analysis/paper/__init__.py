"""The tables of the paper: made from logs, and as the paper prints them.

Read the files in this order. ``published`` (the printed numbers) and ``specs`` (what each table shows) are data. Then
logs become measurements (``measurements``), measurements become rows (``rows``), and rows become text (``notes``,
``tables``).
"""
