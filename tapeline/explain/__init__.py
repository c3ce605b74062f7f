"""`tapeline explain ID`: the chain from the bar to the fill, and why it went that way.

Read in this order: find (which row an id means), rows (the SQL that fetches the chain), chain (puts it together), text
(for people), command (who is asked). Only command does I/O; the others are functions of what they are given.
"""
