"""The tables of the paper: made of logs, beside the figures that the paper printed."""
