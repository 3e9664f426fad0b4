"""The project's English: fewer than one sentence in a hundred has an idiom of tests/support/idioms.txt."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.support.prose import RECORDED, Sentence, file_sentences, idioms, sentences, stilted

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 0.01
LISTED = 60  # sentences that a failure shows


def test_idioms_are_below_one_sentence_in_a_hundred() -> None:
    written = list(sentences(ROOT))
    assert len(written) > 5_000
    marked = stilted(written, idioms())
    folders = Counter("/".join(sentence.path.split("/")[:2]) for sentence in marked).most_common()
    lines = [f"{sentence.path}:{sentence.line}: {sentence.text}" for sentence in marked[:LISTED]]
    share = f"{len(marked)} of {len(written)} sentences: {', '.join(f'{name} {n}' for name, n in folders)}"
    assert len(marked) < LIMIT * len(written), "\n".join([share, *lines])


TREE = {
    "a.py": '''"""The first sentence of this module has exactly nine words.

The second one here is short.
"""
# A comment that fills two lines of the file
# is one sentence of enough words.
x = f"A text with {1} and {2} values has a word for each."
''',
    "b.md": """# Title

A paragraph of two lines is read as one sentence
although it is broken. Too short.

- An item of a list is a sentence of its own.

| cell | A cell of a table is a sentence, too, with words. |

```sh
echo A code block is left out whatever words it may hold
```
""",
    "c.yaml": """title: A value with many words in it is a sentence.
n: 1
# A comment above a key is a sentence of its own.
""",
    "d.js": """// A comment on two lines
// is joined to one sentence of words.
f("A text in quotes is a sentence with enough words");
""",
    "e.c": "/* A comment of C that goes over\n * two lines is one sentence. */\n",
    "f.txt": "A file with another suffix is not read by the test at all.\n",
    "tests/data/g.md": "Recorded data is left out because no author wrote it as prose.\n",
}


def test_sentences_come_from_tracked_files_with_their_lines(tmp_path: Path) -> None:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "--all"], cwd=tmp_path, check=True)
    (tmp_path / "untracked.md").write_text(
        "A file that git does not track is not read by the test.\n", encoding="utf-8"
    )
    assert [(one.path, one.line, one.text) for one in sentences(tmp_path)] == [
        ("a.py", 1, "The first sentence of this module has exactly nine words."),
        ("a.py", 5, "A comment that fills two lines of the file is one sentence of enough words."),
        ("a.py", 7, "A text with X and X values has a word for each."),
        ("b.md", 3, "A paragraph of two lines is read as one sentence although it is broken."),
        ("b.md", 6, "An item of a list is a sentence of its own."),
        ("b.md", 8, "A cell of a table is a sentence, too, with words."),
        ("c.yaml", 1, "A value with many words in it is a sentence."),
        ("c.yaml", 3, "A comment above a key is a sentence of its own."),
        ("d.js", 1, "A comment on two lines is joined to one sentence of words."),
        ("d.js", 3, "A text in quotes is a sentence with enough words"),
        ("e.c", 1, "A comment of C that goes over two lines is one sentence."),
    ]


@pytest.mark.parametrize("name", ["a.py", "b.md", "c.yaml", "d.js", "e.c"])
def test_an_idiom_is_seen_in_every_kind_of_file(name: str) -> None:
    text = TREE[name].replace("sentence", "sentence anew")
    assert not stilted(list(file_sentences(name, TREE[name])), idioms())
    assert stilted(list(file_sentences(name, text)), idioms())


def test_idioms_are_whole_words_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# comment\ngo(es)? on\n\nanew\n", encoding="utf-8")
    texts = ["It Goes On.", "A cargo on board.", "Written ANEW.", "comment", "renewed"]
    written = [Sentence("x", number, text) for number, text in enumerate(texts)]
    assert [sentence.line for sentence in stilted(written, idioms(tmp_path / "list"))] == [0, 2]


def test_what_counts_as_recorded_exists() -> None:
    assert [folder for folder in RECORDED if not (ROOT / folder).is_dir()] == []
