"""The parts of cases: how claims join and split, stages, stories, silences, acts, and the forms that people read.

`alerts.cases` keeps the cases of a node with these parts.
"""
