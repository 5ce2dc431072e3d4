"""Context that went by reference."""
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "contexts",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
    )
    op.create_index("ix_contexts_expires", "contexts", ["expires"])


def downgrade() -> None:
    op.drop_table("contexts")
