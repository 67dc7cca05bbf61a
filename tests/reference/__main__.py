"""Writes the documents; says which are others now."""

import sys

from tests.reference import documents


def main() -> None:
    for path, text in documents.all_of_them().items():
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.name}: {'as it was' if before == text else 'written anew'}\n")


main()
