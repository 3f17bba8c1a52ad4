"""The tables of the paper, made of logs, and the figures that the paper prints in them.

Read the files in this order: ``published`` (the printed figures) and ``specs`` (what each table is) are data. Then logs
become measurements (``measurements``), measurements become rows (``rows``), and rows become text (``notes``,
``tables``).
"""
