"""What tests of tables share."""

import pytest

from fairpress.auditing.cells.relation import Relation


@pytest.fixture
def file_queries(monkeypatch):
    """The queries that read a CSV file, in order, as DuckDB gets them."""
    found: list[str] = []
    execute = Relation._execute

    def remembered(self, query, fetch):
        if "read_csv" in (narrowed := self._narrowed(query)):
            found.append(narrowed)
        return execute(self, query, fetch)

    monkeypatch.setattr(Relation, "_execute", remembered)
    return found
