"""The form in which every keyed structure gives its state away and takes it back."""

from typing import Any

# Nested dictionaries of arrays, numbers, texts and lists of texts: what a checkpoint can hold.
# `Any`, because the readers check shapes and types when they restore.
State = dict[str, Any]
