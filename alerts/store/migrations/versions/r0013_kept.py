"""What channels returned for a notice: the thread or message that later notices of the same case answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column; notices of the time before have no thread."""
    op.add_column("outbox", sa.Column("kept", sa.Text))
    kept = sa.text("kept IS NOT NULL")
    op.create_index(
        "outbox_kept", "outbox", ["receiver", "subject", "position"], sqlite_where=kept, postgresql_where=kept
    )
